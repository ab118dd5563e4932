"""Compares training runs, as curves and as a table."""
