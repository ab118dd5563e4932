"""Evaluates checkpoints and reports the results."""
