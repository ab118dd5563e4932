"""Reports on a checkpoint: its variables, their statistics and values, its run."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from deployment.models import variable_kinds
from deployment.models.checkpoint import Checkpoint, Variable
from deployment.models.run_card import RunCard
from deployment.text import (
    format_bytes,
    format_count,
    format_shape,
    format_table,
    shorten,
)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Statistics of the values of a variable.

    Attributes:
      mean, std, min, max: of the finite values; NaN if there are none.
      zeros: fraction of zeros among all values, from 0 to 1.
      non_finite: number of NaNs and infinities.
    """

    mean: float
    std: float
    min: float
    max: float
    zeros: float
    non_finite: int


def compute_statistics(chunks: Iterable[np.ndarray]) -> Statistics:
    """Returns the statistics of values that come in parts.

    Args:
      chunks: arrays of numbers or bools; complex numbers count by their magnitude.
    """
    count = zeros = total = 0
    mean = spread = 0.0
    low, high = math.inf, -math.inf
    for chunk in chunks:
        total += chunk.size
        zeros += chunk.size - np.count_nonzero(chunk)
        if chunk.dtype.kind == "c":
            chunk = np.abs(chunk)
        values = chunk.astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        # Chan et al. (1979), "Updating formulae and a pairwise algorithm for computing
        # sample variances".
        part_mean = values.mean()
        gap, both = part_mean - mean, count + values.size
        spread += (
            (values - part_mean) ** 2
        ).sum() + gap**2 * count * values.size / both
        mean += gap * values.size / both
        count = both
        low, high = min(low, values.min()), max(high, values.max())
    if not count:
        nan = math.nan
        return Statistics(nan, nan, nan, nan, zeros / max(total, 1), total)
    return Statistics(
        mean, math.sqrt(spread / count), low, high, zeros / total, total - count
    )


def describe_checkpoint(
    reader: Checkpoint, with_statistics: bool = False
) -> Iterator[str]:
    """Generates a table of all variables, and the totals.

    Args:
      reader: the checkpoint.
      with_statistics: whether to read all values and add their statistics.

    Raises:
      ValueError: if values are damaged.
    """
    header = ["variable", "type", "shape", "values", "size"]
    if with_statistics:
        header += ["mean", "std", "min", "max", "zeros", "not finite"]
    rows = []
    for variable in reader.variables.values():
        row = [
            variable.name,
            variable.dtype,
            format_shape(variable.shape),
            f"{variable.size:,}",
            format_bytes(variable.num_bytes),
        ]
        if with_statistics:
            row += _format_statistics(reader, variable)
        rows.append(row)
    yield format_table(header, rows, right=range(3, len(header)))
    yield ""
    yield from describe_totals(reader)


def _format_statistics(reader: Checkpoint, variable: Variable) -> list[str]:
    if variable.dtype in ("string", "resource", "variant"):
        return [""] * 6
    found = compute_statistics(reader.chunks(variable.name))
    return [
        *(f"{value:.4g}" for value in (found.mean, found.std, found.min, found.max)),
        f"{100 * found.zeros:.1f} %",
        f"{found.non_finite:,}" if found.non_finite else "",
    ]


def describe_totals(reader: Checkpoint) -> Iterator[str]:
    """Generates the format and totals of a checkpoint, in all and for each kind."""
    variables = list(reader.variables.values())
    yield f"{reader.path}: format {reader.format}, {_add_up(variables)}"
    for kind, meaning in variable_kinds.KINDS.items():
        those = [
            v
            for v in variables
            if variable_kinds.get_kind(v.name, reader.variables) == kind
        ]
        if those and kind != "step":
            yield f"  {meaning}: {_add_up(those)}"


def _add_up(variables: list[Variable]) -> str:
    return (
        f"{format_count(len(variables), 'variable')}, "
        f"{sum(v.size for v in variables):,} values, "
        f"{format_bytes(sum(v.num_bytes for v in variables))}"
    )


def describe_values(reader: Checkpoint, name: str) -> str:
    """Returns all values of one variable as text.

    Raises:
      ValueError: if there is no such variable, or its values are damaged.
    """
    values = reader.read(name)
    variable = reader.variables[name]
    with np.printoptions(threshold=np.inf, linewidth=100, precision=7):
        return f"{name}, {variable.dtype} {format_shape(variable.shape)}:\n{values}"


def describe_card(card: RunCard) -> Iterator[str]:
    """Generates the main facts of a run."""
    yield (
        f"Run: {card.task}, {card.model_name}, {card.num_classes} outputs, image size "
        f"{card.image_size}, preprocessing {card.preprocessing_name}"
    )
    if card.dataset_name:
        images = "" if card.num_samples is None else f"{card.num_samples:,} images, "
        yield (
            f"  data: {card.dataset_name} {card.dataset_split_name}, "
            f"{images}{card.dataset_dir}"
        )
    if card.output_names:
        yield f"  outputs: {shorten(card.output_names, 10)}"
    if card.moving_average_decay:
        yield f"  moving averages of the weights: decay {card.moving_average_decay}"
    results = card.results
    if results.get("step") is not None:
        yield f"  {_describe_training(card)}"
    best = results.get("best")
    if best:
        yield f"  best {best['metric']}: {best['value']:.4g} at step {best['step']:,}"


def _describe_training(card: RunCard) -> str:
    results = card.results
    secs = sum(session.get("secs") or 0 for session in card.sessions)
    loss, reason = results.get("loss"), results.get("stopped_because")
    return (
        f"trained to step {results['step']:,} in {secs:,.0f} s"
        + (f", loss {loss:.4g}" if loss is not None else "")
        + (f" ({reason})" if reason else "")
    )
