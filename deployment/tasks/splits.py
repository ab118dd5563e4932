"""Stratified validation splits for several labels per image."""

from types import ModuleType

import numpy as np


def choose_iteratively(values: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Chooses images to hold out so that each label keeps its frequency.

    Iterative stratification (Sechidis et al. 2011, "On the stratification of
    multi-label data"). Images without labels are stratified as well. Of two images or
    more, at least one is held out and one is not.

    Args:
      values: float32 [n, num_labels], 0 or 1.
      fraction: fraction of the images to hold out, in [0, 1).
      seed: the choice is a function of it.

    Returns:
      bool [n], True for images to hold out.

    Raises:
      ValueError: if the package iterative-stratification is not installed.
    """
    num_images = len(values)
    is_held_out = np.zeros(num_images, bool)
    if not fraction or num_images < 2:
        return is_held_out
    has_none = ~values.any(axis=1, keepdims=True)
    count = min(max(round(num_images * fraction), 1), num_images - 1)
    splitter = _import_stratifiers().MultilabelStratifiedShuffleSplit(
        n_splits=1, test_size=count, random_state=seed
    )
    labels = np.hstack([values > 0, has_none]).astype(np.int64)
    ((_, held_out),) = splitter.split(np.zeros(num_images), labels)
    is_held_out[held_out] = True
    if is_held_out.all() or not is_held_out.any():
        is_held_out[0] = not is_held_out[0]
    return is_held_out


def _import_stratifiers() -> ModuleType:
    try:  # Here, because it imports scikit-learn: a second.
        from iterstrat import ml_stratifiers
    except ImportError as error:
        raise ValueError(
            "Splitting images with several labels needs a package that is not "
            "installed: pip install iterative-stratification; or give the splits in a "
            "column named split."
        ) from error
    return ml_stratifiers
