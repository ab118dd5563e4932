"""The ranges that fake quantization has learned, from a checkpoint."""

import re
from collections.abc import Iterator

import numpy as np

from deployment import text
from deployment.models.checkpoint import Checkpoint

_RANGE = re.compile(r"(?P<layer>.+)/(?P<kind>\w*_quant(_\d+)?)/max")
_WEIGHTS = "weights_quant"
_STEPS = {_WEIGHTS: 254}  # Between the ends of a range of 8 bits; of others 255.


def describe_ranges(checkpoint: Checkpoint) -> Iterator[str]:
    """Generates a table of ranges, a line each; nothing for a network in float.

    Weights with a range for each channel have the widest one shown, with the ratio of
    the widest to the narrowest: where it is large, one range for all channels would
    cost most.
    """
    found = filter(None, map(_RANGE.fullmatch, sorted(checkpoint.variables)))
    rows = []
    for match in found:
        name = match[0].removesuffix("/max")
        low, high = checkpoint.read(f"{name}/min"), checkpoint.read(f"{name}/max")
        widths = np.atleast_1d(high - low).astype(np.float64)
        widest = widths.argmax()
        ratio = ""
        if np.ndim(high):
            ratio = f"{widths.max() / max(widths.min(), 1e-12):.1f}"
        step = widths[widest] / _STEPS.get(match["kind"], 255)
        rows.append(
            (
                match["layer"],
                match["kind"],
                f"{np.atleast_1d(low)[widest]:.4g}",
                f"{np.atleast_1d(high)[widest]:.4g}",
                f"{step:.3g}",
                ratio,
            )
        )
    if rows:
        header = ("layer", "quantized", "min", "max", "step", "channels differ by")
        yield "Ranges of 8 bits:"
        yield text.format_table(header, rows, right=(2, 3, 4, 5))
