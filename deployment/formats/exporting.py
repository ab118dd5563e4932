"""Writes a frozen model in any of the export formats."""

import os
from collections.abc import Sequence

from absl import logging

from deployment import files, formats
from deployment.config_flags import SettingError
from deployment.formats import freezing
from deployment.formats.base import ExportOptions
from deployment.models import checksums

LABELS_NAME = "labels.txt"
CALIBRATION_IMAGES = 100  # By default; more changed nothing in measurements.
_FORMATS_OF_THE_BEST = ("frozen", "saved_model")


def export_checkpoint(
    config: freezing.ExportConfig, checkpoint_path: str, output_dir: str
) -> str:
    """Writes frozen graph, SavedModel and labels, replacing the folder atomically.

    Args:
      config: the model.
      checkpoint_path: a checkpoint, or a folder, of which the newest is used.
      output_dir: the folder; an older export in it is replaced.

    Returns:
      The folder.

    Raises:
      ValueError: if there is no checkpoint, or it does not fit the network.
      OSError: if the folder cannot be written.
    """
    model = freezing.freeze(config, checkpoint_path)
    with files.replacing(output_dir.rstrip("/")) as partial:
        options = ExportOptions(config.preprocessing_fn)
        export(model, partial, _FORMATS_OF_THE_BEST, options)
    return output_dir


def export(
    model: freezing.FrozenModel,
    output_dir: str,
    names: Sequence[str],
    options: ExportOptions,
) -> dict[str, str]:
    """Writes a model in some formats, each atomically, and the names of its outputs.

    Args:
      model: the model.
      output_dir: the folder; it is created if there is none.
      names: names of formats.
      options: the preprocessing, and images to calibrate with.

    Returns:
      Format name to path.

    Raises:
      ValueError: if a format is unknown, lacks a package or calibration images, or
        cannot represent the network.
      OSError: if the folder cannot be written.
    """
    formats.check_formats(names, options.calibration_method)
    chosen = [formats.get_format(name) for name in names]
    if model.spec.quantize and options.calibration_method:
        raise SettingError(
            f"{{{{calibration_method}}}}={options.calibration_method} finds ranges for "
            "models that were trained in float, but this one was trained with "
            "quantization and has its own: leave it out."
        )
    images = options.calibration_images
    for format_ in chosen:
        if format_.needs_calibration and (images is None or not len(images)):
            raise ValueError(
                f"{format_.name} needs images to calibrate with: give --dataset_dir or "
                f"--image_dir, and --calibration_images={CALIBRATION_IMAGES}."
            )
    files.make_folder(output_dir)
    file_names = [format_.file_name for format_ in chosen]
    checksums.forget(output_dir, [*file_names, LABELS_NAME])
    paths = {}
    for format_ in chosen:
        path = os.path.join(output_dir, format_.file_name)
        with files.replacing(path) as partial:
            format_.write(model, partial, options)
        paths[format_.name] = path
        logging.info("Wrote %s.", files.final_path(path))
    lines = (f"{i}:{name}\n" for i, name in enumerate(model.spec.names))
    files.write_text(os.path.join(output_dir, LABELS_NAME), "".join(lines))
    checksums.write(output_dir, [*file_names, LABELS_NAME])
    return paths
