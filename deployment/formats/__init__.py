"""Model file formats: how each is written, recognized and opened."""
