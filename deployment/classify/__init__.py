"""Classifiers that take pictures, whatever kind of file the model is."""
