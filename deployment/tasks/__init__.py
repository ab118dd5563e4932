"""Tasks: what a network's outputs mean, are trained on and are judged by."""
