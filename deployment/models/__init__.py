"""What a trained model is: its specification, checkpoints, run card and history."""
