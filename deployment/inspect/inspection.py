"""What is in a checkpoint: variables, statistics, values, the run it is of.

Nothing here imports TensorFlow: `checkpoint_reader` reads the files itself.
"""

import dataclasses
import json
import math
import os

import numpy as np

from deployment.models import variable_kinds
from deployment.text import (
    format_bytes,
    format_count,
    format_millions,
    format_shape,
    format_table,
    shorten,
)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What the values of a variable are like; NaN where there is no finite value.

    Attributes:
      mean, std, min, max: of the finite values.
      zeros: share of zeros among all values, 0 to 1.
      non_finite: the number of NaNs and infinities.
    """

    mean: float
    std: float
    min: float
    max: float
    zeros: float
    non_finite: int


def compute_statistics(chunks):
    """The `Statistics` of values that come in parts (arrays of numbers or bools)."""
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
        # Two parts make one mean and one spread (Chan et al. 1979).
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


def describe_checkpoint(reader, with_statistics=False):
    """Generates the lines of a table of all variables, and of totals.

    Args:
      reader: of `checkpoint_reader.open_checkpoint`.
      with_statistics: whether to read all values, and add what they are like.

    Raises:
      ValueError: if values are damaged.
    """
    header = ["variable", "type", "shape", "values", "size"]
    right = {3, 4}
    if with_statistics:
        header += ["mean", "std", "min", "max", "zeros", "not finite"]
        right |= set(range(5, 11))
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
    yield format_table(header, rows, right)
    yield ""
    yield from describe_totals(reader)


def _format_statistics(reader, variable):
    if variable.dtype in ("string", "resource", "variant", "unknown"):
        return [""] * 6
    found = compute_statistics(reader.chunks(variable.name))
    return [
        *(f"{value:.4g}" for value in (found.mean, found.std, found.min, found.max)),
        f"{100 * found.zeros:.1f} %",
        f"{found.non_finite:,}" if found.non_finite else "",
    ]


def describe_totals(reader):
    """Generates lines: the format, and how much of what there is."""
    variables = reader.variables.values()
    yield (
        f"{reader.path}: format {reader.format}, "
        f"{format_count(len(variables), 'variable')}, "
        f"{sum(v.size for v in variables):,} values, "
        f"{format_bytes(sum(v.num_bytes for v in variables))}"
    )
    for kind, meaning in variable_kinds.KINDS.items():
        those = [
            v
            for v in variables
            if variable_kinds.get_kind(v.name, reader.variables) == kind
        ]
        if those and kind != "step":
            yield (
                f"  {meaning}: {format_count(len(those), 'variable')}, "
                f"{format_millions(sum(v.size for v in those))} values, "
                f"{format_bytes(sum(v.num_bytes for v in those))}"
            )


def describe_values(reader, name):
    """The values of one variable as text, long ones whole.

    Raises:
      ValueError: if there is no such variable; the message names the nearest.
    """
    values = reader.read(name)
    variable = reader.variables[name]
    with np.printoptions(threshold=np.inf, linewidth=100, precision=7):
        return f"{name}, {variable.dtype} {format_shape(variable.shape)}:\n{values}"


def describe_card(card):
    """Generates lines with the main facts of a run card, given as its JSON object."""
    yield (
        f"Run: {card.get('model_name')}, {card.get('num_classes')} classes, "
        f"{card.get('image_size')} pixels, preprocessing "
        f"{card.get('preprocessing_name')}"
    )
    yield (
        f"  data: {card.get('dataset_name')} {card.get('dataset_split_name')}, "
        f"{card.get('num_samples') or 0:,} images, {card.get('dataset_dir')}"
    )
    if card.get("class_names"):
        yield f"  classes: {shorten(card['class_names'], 10)}"
    if card.get("moving_average_decay"):
        yield f"  moving averages of the weights: decay {card['moving_average_decay']}"
    secs = sum(session.get("secs") or 0 for session in card.get("sessions") or ())
    results = card.get("results") or {}
    if results.get("step") is not None:
        loss = results.get("loss")
        yield (
            f"  trained to step {results['step']:,} in {secs:,.0f} secs"
            + (f", loss {loss:.4g}" if isinstance(loss, int | float) else "")
            + (
                f" ({results['stopped_because']})"
                if "stopped_because" in results
                else ""
            )
        )
    best = results.get("best")
    if best:
        yield f"  best {best['metric']}: {best['value']:.4g} at step {best['step']:,}"


def find_card(path):
    """The run card (`run.json`) of the run that a checkpoint or folder belongs to.

    Args:
      path: a training folder, a checkpoint in it, or a folder in it such as `best`.

    Returns:
      The card as a dict, None if there is none.

    Raises:
      ValueError: if it is damaged.
    """
    folder = os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path))
    for candidate in (folder, os.path.dirname(folder)):
        card_path = os.path.join(candidate, "run.json")
        try:
            with open(card_path, encoding="utf-8") as file:
                card = json.load(file)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ValueError(f"{card_path!r} is damaged: {error}.") from error
        return card if isinstance(card, dict) else None
    return None
