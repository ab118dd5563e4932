"""Writes converted weights as a checkpoint with the run card of their model."""

import os
from typing import Any

from absl import logging

from deployment import text
from deployment.models import checkpoint_writing, run_card
from deployment.models.run_card import RunCard


def write(converted: Any, model_name: str, output_path: str) -> None:
    """Writes a checkpoint, and `run.json` beside it unless the logits are left out.

    Args:
      converted: a `nets.keras_weights.conversion.Converted`.
      model_name: the network's name.
      output_path: the prefix of the checkpoint.

    Raises:
      ValueError: the checkpoint exists, or its folder is that of another model.
      OSError: it cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(output_path))
    if os.path.exists(os.path.join(folder, run_card.FILE_NAME)):
        raise ValueError(
            f"The folder {folder!r} belongs to another model, which its "
            f"{run_card.FILE_NAME} describes: choose another --output_path."
        )
    checkpoint_writing.write_arrays(converted.values, output_path)
    num_bytes = sum(array.nbytes for array in converted.values.values())
    logging.info(
        "Wrote %s: %s (%s) of %s.",
        output_path,
        text.format_count(len(converted.values), "variable"),
        text.format_bytes(num_bytes),
        model_name,
    )
    if converted.fresh:
        logging.info(
            "Keras lacks the auxiliary logits: %d variables have random values, which "
            "only training uses.",
            len(converted.fresh),
        )
    if converted.difference:
        logging.warning("The architectures differ: %s.", converted.difference)
    if converted.num_classes:
        _make_card(converted, model_name).save(folder)
        return
    logging.info(
        "The file has no logits. To fine-tune: python train_image_classifier.py "
        "--model_name=%s --preprocessing_name=%s --checkpoint_path=%s "
        "--checkpoint_exclude_scopes=%s --train_dir=... --dataset_name=... "
        "--dataset_dir=...",
        model_name,
        converted.preprocessing,
        output_path,
        converted.head,
    )


def _make_card(converted: Any, model_name: str) -> RunCard:
    return RunCard(
        model_name=model_name,
        num_classes=converted.num_classes,
        labels_offset=converted.labels_offset,
        image_size=converted.image_size,
        preprocessing_name=converted.preprocessing,
    )
