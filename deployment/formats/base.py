"""The records that describe file types of models and export formats."""

import dataclasses
import importlib
from collections.abc import Callable, Collection, Iterable
from types import ModuleType

import numpy as np

from deployment.formats.freezing import FrozenModel
from deployment.models.spec import ModelSpec
from deployment.predict.predictor import Predictor
from deployment.tasks.base import Comparison


@dataclasses.dataclass(frozen=True)
class MaxDifference:
    """The tolerance of a format that computes in floating point.

    Attributes:
      difference: largest difference of a score from the checkpoint's.
    """

    difference: float = 1e-4

    def find_failure(self, comparison: Comparison, num_images: int) -> str | None:
        """Returns what exceeds the tolerance; None if nothing does."""
        del num_images
        if comparison.difference <= self.difference:
            return None
        return (
            f"scores differ by up to {comparison.difference:.1e}, more than "
            f"{self.difference:.0e}"
        )


@dataclasses.dataclass(frozen=True)
class MaxLoss:
    """The tolerance of a format that approximates. One image may always change.

    Attributes:
      score: largest loss of `Comparison.score`, on images with labels.
      change: largest fraction of images whose answer changes, without labels.
    """

    score: float = 0.02
    change: float = 0.1

    def find_failure(self, comparison: Comparison, num_images: int) -> str | None:
        """Returns what exceeds the tolerance; None if nothing does."""
        if not np.isfinite(comparison.difference):
            return "a score is not a number"
        if comparison.score is None:
            change = 1 - comparison.agreement
            if change > max(self.change, 1 / num_images) + 1e-9:
                return (
                    f"the answer changes for {change:.1%} of the images, more than "
                    f"{self.change:.0%}"
                )
            return None
        loss = comparison.expected_score - comparison.score
        if loss > max(self.score, 1 / comparison.num_labeled) + 1e-9:
            return (
                f"it scores {comparison.score:.1%}, {loss:.1%} less than the "
                f"checkpoint, more than {self.score:.0%}"
            )
        return None


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What some formats need besides the model.

    Attributes:
      preprocessing_fn: prepares one image as evaluation does: called as
        `fn(image, height, width)` with a uint8 [height, width, channels] image,
        returns float32 [height, width, channels].
      calibration_images: float32 [n, height, width, channels], preprocessed real
        images; None if there are none.
    """

    preprocessing_fn: Callable
    calibration_images: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
      name: as in `--formats`.
      file_name: name of the file or folder in the export folder.
      write: called as `write(model, path, options)` with a `FrozenModel`, a path that
        does not exist yet, in the same folder, and `ExportOptions`. It writes the
        model's `spec` into the file if the format has a place for it.
      tolerance: decides whether the exported model is as good as its checkpoint.
      packages: names of optional packages that writing and checking need.
      signatures: signatures of the file to check; None for a file without signatures.
      needs_calibration: whether `ExportOptions.calibration_images` are required.
    """

    name: str
    file_name: str
    write: Callable[[FrozenModel, str, ExportOptions], None]
    tolerance: MaxDifference | MaxLoss = MaxDifference()
    packages: tuple[str, ...] = ()
    signatures: tuple[str | None, ...] = (None,)
    needs_calibration: bool = False


@dataclasses.dataclass(frozen=True)
class FileType:
    """A type of model file: how it is recognized, opened and written.

    Attributes:
      name: such as 'ONNX file'.
      recognize: called as `recognize(path, head)` with the path and the first 256
        bytes of the file (none of a folder or a path that does not exist); returns
        the path to open, or None if the model is of another type.
      open_predictor: called as `open_predictor(path, output, signature, spec)`, see
        `formats.open_predictor`; None for a checkpoint, which needs its network.
      endings: usual endings of file names.
      formats: the export formats that write such files.
    """

    name: str
    recognize: Callable[[str, bytes], str | None]
    open_predictor: (
        Callable[[str, str | None, str | None, ModelSpec | None], Predictor] | None
    )
    endings: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()


def import_package(name: str, packages: tuple[str, ...], purpose: str) -> ModuleType:
    """Imports an optional package.

    Args:
      name: the package.
      packages: all packages of the extra, for the error message.
      purpose: what needs it, such as 'The format onnx'.

    Raises:
      ValueError: if it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{purpose} needs the package {name!r}, which cannot be imported "
            f"({error}): pip install {' '.join(packages)}."
        ) from error


def choose_output(wanted: str | None, names: Collection[str], path: str) -> str:
    """Returns the name of the output with the scores: the wanted one, or the only one.

    Raises:
      ValueError: if there is no such output, or several.
    """
    if wanted is None and len(names) == 1:
        (wanted,) = names
    if wanted not in names:
        what = f"has no output {wanted!r}" if wanted else "has no single output"
        raise ValueError(
            f"{path!r} {what}: choose with --output_node one of "
            f"{', '.join(sorted(names))}."
        )
    return wanted


def with_names(spec: ModelSpec | None, names: Iterable[str]) -> ModelSpec:
    """Returns the specification of a model that contains no more than output names.

    Args:
      spec: what else is known of the model; None if nothing is.
      names: name of each output.
    """
    names = tuple(names)
    spec = spec or ModelSpec(model_name=None, num_outputs=len(names))
    return spec.replace(num_outputs=len(names), output_names=names)
