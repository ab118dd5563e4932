"""The built-in augmentations, by kind; `preprocessing.augmentations` lists them."""
