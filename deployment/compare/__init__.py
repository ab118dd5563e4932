"""Runs side by side: curves and tables."""
