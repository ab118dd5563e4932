"""Weights of Keras Applications for the networks that both have."""
