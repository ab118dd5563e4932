"""What train_image_classifier.py does with a network and batches."""
