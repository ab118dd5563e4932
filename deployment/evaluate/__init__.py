"""What eval_image_classifier.py measures, and how it tells it."""
