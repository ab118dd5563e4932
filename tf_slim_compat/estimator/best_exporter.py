"""Keeps the best exports when training is restarted.

The released `BestExporter` exports the first evaluation after every restart, however
bad it is, and takes it for the best from then on.
"""

import functools
import types
from collections.abc import Mapping
from typing import Any

from tf_slim_compat import tf


def list_results(event_files: str) -> list[dict[str, float]]:
    """Returns the metrics of the evaluations in event files, the oldest first.

    Args:
      event_files: glob pattern of the files.
    """
    found = []
    for path in tf.gfile.Glob(event_files):
        for event in tf.train.summary_iterator(path):
            values = event.summary.value
            metrics = {
                v.tag: v.simple_value for v in values if v.HasField("simple_value")
            }
            if metrics:
                found.append((event.wall_time, metrics))
    return [metrics for _, metrics in sorted(found, key=lambda result: result[0])]


def _get_best_result(self: Any, event_files: str) -> Mapping[str, float] | None:
    """Returns the best metrics of the evaluations before the newest; None if none."""
    best = None
    for metrics in list_results(event_files)[:-1]:
        if best is None or self._compare_fn(best, metrics):
            best = metrics
    return best


def mend(exporter: types.ModuleType) -> None:
    """Makes `BestExporter` compare with the evaluations before a restart.

    Args:
      exporter: `tensorflow_estimator.python.estimator.exporter`.
    """
    original = exporter.BestExporter.export

    @functools.wraps(original)
    def export(
        self: Any, estimator: Any, export_path: str, *args: Any, **kwargs: Any
    ) -> bytes | None:
        if self._model_dir != estimator.model_dir and self._event_file_pattern:
            folders = tf.gfile.Glob(f"{export_path}/[0-9]*")
            self._has_exported = bool(folders)
        return original(self, estimator, export_path, *args, **kwargs)

    exporter.BestExporter.export = export
    exporter.BestExporter._get_best_eval_result = _get_best_result
