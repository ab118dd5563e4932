"""Classification of image files: on this machine, or in parts on many."""
