"""The records that describe file types of models and export formats."""

import dataclasses
import importlib
import logging
from collections.abc import Callable, Collection, Iterable
from types import ModuleType
from typing import NamedTuple

import numpy as np

from deployment.formats.freezing import FrozenModel
from deployment.models import checksums
from deployment.models.spec import ModelSpec
from deployment.predict.predictor import Predictor
from deployment.tasks.comparison import Comparison

_Z = 1.959964  # Of the two-sided 95 % confidence interval.
_NOT_FINITE = "a score is not a finite number"
_ROUNDING = 1e-9  # Of differences of fractions.


class Verdict(NamedTuple):
    """The result of comparing an exported model with its checkpoint.

    Attributes:
      failure: what exceeds the tolerance; None if nothing does.
      doubt: what may exceed it, on too few images to tell; None if nothing does.
    """

    failure: str | None = None
    doubt: str | None = None


@dataclasses.dataclass(frozen=True)
class MaxDifference:
    """The tolerance of a format that computes as exactly as the checkpoint.

    Attributes:
      difference: largest difference of a score from the checkpoint's.
      num_images: number of images that are enough to find one.
    """

    difference: float = 1e-4
    num_images: int = 32

    def judge(self, comparison: Comparison) -> Verdict:
        """Returns the verdict on an exported model."""
        if comparison.difference <= self.difference:
            return Verdict()
        if not np.isfinite(comparison.difference):
            return Verdict(_NOT_FINITE)
        return Verdict(
            f"scores differ by up to {comparison.difference:.1e}, more than "
            f"{self.difference:.0e}"
        )


@dataclasses.dataclass(frozen=True)
class SameAnswers:
    """The tolerance of a format that approximates: its answers, not its scores, count.

    Two things are judged: the fraction of images with the same answer as the checkpoint
    (see `Comparison.agreement`), and the loss of score (accuracy, exact match, R²) on
    the images with labels. Each is an estimate from a sample. A limit is exceeded for
    certain if the whole 95 % confidence interval is beyond it, which is a failure; it
    may be exceeded if only the estimate is, which is a doubt.

    The interval of the agreement is Wilson's (1927, "Probable inference, the law of
    succession, and statistical inference"), which remains valid for few images and for
    fractions near 1, where the normal approximation has no width. The loss is the mean
    of one difference per image, and its interval that of the normal approximation,
    widened by half an image on either side for continuity.

    Attributes:
      agreement: smallest fraction of images with the same answer.
      loss: largest loss of score.
      num_images: number of images at which the intervals are narrow enough.
    """

    agreement: float = 0.9
    loss: float = 0.02
    num_images: int = 256

    def judge(self, comparison: Comparison) -> Verdict:
        """Returns the verdict on an exported model."""
        if not np.isfinite(comparison.difference):
            return Verdict(_NOT_FINITE)
        failures, doubts = [], []
        low, high = compute_wilson_interval(comparison.agreement, comparison.num_images)
        if comparison.agreement < self.agreement:
            (failures if high < self.agreement else doubts).append(
                f"the answer is the same for {comparison.agreement:.1%} of "
                f"{comparison.num_images} images ({low:.1%} to {high:.1%} with 95 % "
                f"confidence), less than {self.agreement:.0%}"
            )
        if comparison.score is not None:
            loss = comparison.expected_score - comparison.score
            margin = _Z * comparison.loss_error + 0.5 / comparison.num_labeled
            if loss > self.loss + _ROUNDING:
                (failures if loss - margin > self.loss else doubts).append(
                    f"it scores {comparison.score:.1%}, {loss:.1%} ± {margin:.1%} less "
                    f"than the checkpoint on {comparison.num_labeled} labeled images, "
                    f"more than {self.loss:.0%}"
                )
        return Verdict(" and ".join(failures) or None, " and ".join(doubts) or None)


def compute_wilson_interval(fraction: float, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a fraction seen in `count` cases."""
    shrink = 1 + _Z**2 / count
    center = (fraction + _Z**2 / (2 * count)) / shrink
    variance = fraction * (1 - fraction) / count + _Z**2 / (4 * count**2)
    margin = _Z * np.sqrt(variance) / shrink
    return max(0.0, float(center - margin)), min(1.0, float(center + margin))


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What some formats need besides the model.

    Attributes:
      preprocessing_fn: prepares one image as evaluation does: called as
        `fn(image, height, width)` with a uint8 [height, width, channels] image,
        returns float32 [height, width, channels].
      calibration_images: float32 [n, height, width, channels], preprocessed real
        images; None if there are none.
      calibration_method: how ranges are found, one of a format's methods; None for
        its first.
    """

    preprocessing_fn: Callable
    calibration_images: np.ndarray | None = None
    calibration_method: str | None = None

    def choose_method(self, methods: Iterable[str]) -> str:
        """Returns the method to calibrate with, of those of a format."""
        return self.calibration_method or next(iter(methods))


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
      runs_in_tensorflow: whether TensorFlow runs the file. Other kernels may round a
        value to the other one of two integers, so the answers of a model with fake
        quantization count there, not its scores.
      packages: names of optional packages that writing and checking need.
      signatures: signatures of the file to check; None for a file without signatures.
      calibration_methods: how it can find ranges of values on real images, the
        default first; nothing for a format that needs none.
    """

    name: str
    file_name: str
    write: Callable[[FrozenModel, str, ExportOptions], None]
    tolerance: MaxDifference | SameAnswers = MaxDifference()
    runs_in_tensorflow: bool = False
    packages: tuple[str, ...] = ()
    signatures: tuple[str | None, ...] = (None,)
    calibration_methods: tuple[str, ...] = ()

    @property
    def needs_calibration(self) -> bool:
        """Whether `ExportOptions.calibration_images` are required."""
        return bool(self.calibration_methods)

    def get_tolerance(self, spec: ModelSpec) -> MaxDifference | SameAnswers:
        """Returns the tolerance for a model."""
        if spec.quantize and not self.runs_in_tensorflow:
            return SameAnswers()
        return self.tolerance


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
      is_guarded: whether `open_predictor` has a fifth parameter, `trust`, without which
        it refuses files that would do more than compute.
    """

    name: str
    recognize: Callable[[str, bytes], str | None]
    open_predictor: (
        Callable[[str, str | None, str | None, ModelSpec | None], Predictor] | None
    )
    endings: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    is_guarded: bool = False

    def open(
        self,
        path: str,
        output: str | None = None,
        signature: str | None = None,
        spec: ModelSpec | None = None,
        trust: bool = False,
    ) -> Predictor:
        """Opens a file; see `formats.open_predictor`.

        Raises:
          ValueError: if it was changed since its export, cannot be loaded, or would do
            more than compute without being trusted.
        """
        if self.open_predictor is None:
            raise ValueError(f"{path!r} is a {self.name}: it needs its network.")
        checksums.verify(path)
        extra = {"trust": trust} if self.is_guarded else {}
        return self.open_predictor(path, output, signature, spec, **extra)


def import_package(name: str, packages: tuple[str, ...], purpose: str) -> ModuleType:
    """Imports an optional package, which may not change who writes the log.

    Args:
      name: the package.
      packages: all packages of the extra, for the error message.
      purpose: what needs it, such as 'The format onnx'.

    Raises:
      ValueError: if it cannot be imported.
    """
    handlers = logging.root.handlers[:]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{purpose} needs the package {name!r}, which cannot be imported "
            f"({error}): pip install {' '.join(packages)}."
        ) from error
    finally:
        logging.root.handlers[:] = handlers  # OpenVINO removes that of absl.


def choose_output(wanted: str | None, names: Collection[str], path: str) -> str:
    """Returns the name of the output with the scores: the wanted one, or the only one.

    Raises:
      ValueError: if there is no such output, or several.
    """
    if wanted is None and len(names) == 1:
        (wanted,) = names
    if not names:
        raise ValueError(f"{path!r} has no output: nothing in it depends on an input.")
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
