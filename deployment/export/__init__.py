"""Graphs and files that are shipped, and the proof that they compute the same."""
