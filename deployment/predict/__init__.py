"""Predictors: trained models that take batches of images."""
