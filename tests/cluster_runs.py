"""Commands that train on several machines, run on this one with a small dataset."""

import os
import pathlib
import subprocess
import threading
from collections.abc import Mapping, Sequence

import conversions
from conftest import ROOT

# Far above what any run takes: ends what hangs.
HANG_SECS = 900


def convert_pets(folder: pathlib.Path) -> pathlib.Path:
    """Writes a dataset of sixteen images; returns its folder."""
    conversions.convert(conversions.draw_pets(folder / "pets"), shards=2)
    return folder / "data"


def list_flags(
    data_dir: pathlib.Path, train_dir: pathlib.Path, steps: int
) -> list[str]:
    """Returns flags of train_image_classifier.py for a short run."""
    return [
        f"--train_dir={train_dir}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        "--recipe=classic",
        "--model_name=softmax_regression",
        "--train_image_size=32",
        "--batch_size=2",
        f"--max_number_of_steps={steps}",
        "--log_every_n_steps=1",
        "--save_summaries_secs=0",
        "--learning_rate_decay_type=fixed",
    ]


class Command:
    """A command that runs, whose output is read line by line.

    Args:
      command: program and arguments.
      environment: variables, besides those of this process.
      folder: the working directory.

    Attributes:
      pid: the process.
      output: what has been read.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: pathlib.Path = ROOT,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid, self.output = self._process.pid, ""
        self._alarm = threading.Timer(HANG_SECS, self._process.kill)
        self._alarm.daemon = True
        self._alarm.start()

    def read_until(self, text: str) -> None:
        """Reads lines until one has the text."""
        for line in self._process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(f"There is no {text!r} in:\n{self.output}")

    def signal(self, signum: int) -> None:
        """Sends a signal."""
        self._process.send_signal(signum)

    def finish(self) -> int:
        """Reads the rest; returns the exit status."""
        self.output += self._process.stdout.read()
        self._alarm.cancel()
        return self._process.wait()
