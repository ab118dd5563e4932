"""Tests, and the harness `python -m tests.fuzz`.

A package, since some installed packages bring a package `tests` of their own.
"""
