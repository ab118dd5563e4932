"""Runs tasks on the machines of an Apache Beam runner.

    engine = BeamEngine("flink", "--flink_master=cluster:8081")
    sizes = engine.distribute(os.path.getsize, ["/shared/a", "/shared/b"], "/shared")

Beam hands out the tasks, starts and ends workers, and repeats what fails, as far as the
runner does. What tasks need and give goes through files in a folder that all machines
see: runners limit the size of a pipeline, and few of them can give anything back.
"""

import contextlib
import dataclasses
import functools
import io
import logging
import os
import pickle
import re
import shlex
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from deployment import beam_worker
from deployment.config_flags import SettingError, setting

if TYPE_CHECKING:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

Task = TypeVar("Task")
Result = TypeVar("Result")
# Names of Beam's runners by ours. The first one is made here, as Beam's own choice
# under the name DirectRunner may download another program.
RUNNERS = {
    "direct": None,
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}
_DIRECT = "direct"
# The last line of a traceback, or the message alone, as Beam completes it.
_TASK_ERROR = re.compile(
    r"^(?:([\w.]*(?:Error|Exception)): )?(.*) \[while running '", re.MULTILINE
)
_EXPECTED = (OSError, ValueError)
_EXPECTED_NAMES = {
    *("ValueError", "SettingError"),
    *("OSError", "FileNotFoundError", "PermissionError", "FileExistsError"),
}
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclasses.dataclass(frozen=True)
class RunnerConfig:
    """Where to run; the fields that are flags."""

    runner: str | None = setting(
        None,
        "Apache Beam runner to spread the work with. If unset, this machine does it "
        "without Beam. Needs the package: pip install -e '.[beam]'.",
        choices=list(RUNNERS),
    )
    runner_options: str | None = setting(
        None,
        "Options of Beam and of its runner, separated by spaces, such as "
        "'--flink_master=cluster:8081 --parallelism=8'.",
    )

    def open_engine(self, workers: int | None = 1) -> "BeamEngine | None":
        """Returns the engine, or None without a runner; see `BeamEngine`."""
        if self.runner is None and self.runner_options:
            raise SettingError(
                f"{{{{runner_options}}}}={self.runner_options!r} needs {{{{runner}}}}: "
                "choose one."
            )
        if self.runner is None:
            return None
        return BeamEngine(self.runner, self.runner_options or "", workers)


class BeamEngine:
    """A runner with its options."""

    def __init__(self, runner: str, options: str = "", workers: int | None = 1):
        """Checks the options; starts nothing.

        Args:
          runner: a key of `RUNNERS`.
          options: see `RunnerConfig`.
          workers: number of processes of the direct runner, unless the options say it;
            None for one per core.

        Raises:
          ValueError: if the package is missing, or an option is wrong.
        """
        self._runner = runner
        self._arguments = _split(options)
        with _quiet(runner):
            _import_beam(runner)
        if runner == _DIRECT:
            self._arguments = [*_choose_processes(workers), *self._arguments]
        self._parse()

    def distribute(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], folder: str
    ) -> list[Result]:
        """Calls a function with each task, on the workers; returns the results.

        Args:
          function: can be imported on the workers, or is a `functools.partial` of one
            that can. It may be called again for a task, even at the same time, so it
            must leave nothing half done.
          tasks: one argument each; they and the results are pickled into files.
          folder: where these files are put meanwhile; workers see it by this path.

        Raises:
          OSError: if a task raises ValueError or OSError for good, with its message; if
            a process of the direct runner dies.
        """
        folder = os.path.join(os.path.abspath(folder), f"tasks-{uuid.uuid4().hex}")
        os.makedirs(folder)
        try:
            paths = [os.path.join(folder, str(i)) for i in range(len(tasks))]
            for path, task in zip(paths, tasks, strict=True):
                _save(f"{path}.task", task)
            self._run(functools.partial(_run_task, function), paths)
            return [_load(f"{path}.result") for path in paths]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, function: Callable[[str], None], paths: Sequence[str]) -> None:
        import apache_beam as beam

        with (
            _quiet(self._runner),
            _importable(),
            beam_worker.WorkerProcesses() as processes,
        ):
            try:
                options = self._parse()
                runner = self._make_runner(options, processes.get_command())
                with beam.Pipeline(runner, options) as pipeline:
                    _ = (
                        pipeline
                        | "List tasks" >> beam.Create(paths)
                        | "Spread tasks" >> beam.Reshuffle()
                        | "Run tasks" >> beam.Map(function)
                    )
            except Exception as error:
                explained = self._explain(error)
                if explained is None:
                    raise
                raise explained from error

    def _explain(self, error: Exception) -> OSError | None:
        """Returns what to raise for the user; None if the error is a bug."""
        # A task that ran in another process is in the text only, with its traceback.
        found = _TASK_ERROR.findall(str(error))
        if found:
            kind, message = found[-1]
            if kind:
                is_expected = kind.rpartition(".")[2] in _EXPECTED_NAMES
            else:
                is_expected = isinstance(error, _EXPECTED)
            return OSError(message) if is_expected else None
        if self._runner == _DIRECT:
            return None
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return OSError(
            f"The runner {self._runner} failed ({reason.rstrip('.')}): see what it "
            "printed, and check --runner_options."
        )

    def _make_runner(
        self, options: "PipelineOptions", worker_command: str
    ) -> "apache_beam.runners.PipelineRunner | str":
        if self._runner != _DIRECT:
            return RUNNERS[self._runner]
        from apache_beam.options.pipeline_options import DirectOptions
        from apache_beam.portability.api import beam_provision_api_pb2
        from apache_beam.runners.portability.fn_api_runner import fn_runner
        from apache_beam.runners.portability.portable_runner import JobServiceHandle
        from apache_beam.transforms.environments import SubprocessSDKEnvironment

        # What worker processes know of the options.
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        environment = None
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode == "multi_processing":
            direct.direct_running_mode = "in_memory"  # Which leaves the environment.
            environment = SubprocessSDKEnvironment.from_command_string(worker_command)
        return fn_runner.FnApiRunner(
            default_environment=environment,
            provision_info=fn_runner.ExtendedProvisionInfo(provision),
        )

    def _parse(self) -> "PipelineOptions":
        """Returns Beam's options; raises ValueError if one is wrong."""
        from apache_beam.options.pipeline_options import PipelineOptions

        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint), _quiet(self._runner):
                options = PipelineOptions(self._arguments)
                known = options.get_all_options()
                given = options.get_all_options(retain_unknown_options=True)
        except SystemExit as error:
            reason = complaint.getvalue().strip().rpartition("error: ")[2]
            raise SettingError(
                f"{{{{runner_options}}}} has an option that Beam refuses ({reason}): "
                "correct it."
            ) from error
        unknown = sorted(given.keys() - known.keys())
        # Others have options that only their own programs know.
        if self._runner == _DIRECT and unknown:
            raise SettingError(
                f"{{{{runner_options}}}} has --{unknown[0]}, which the direct runner "
                "lacks: correct it, or choose another {{runner}}."
            )
        return options


def _run_task(function: Callable[[Task], Result], path: str) -> None:
    """Runs a task on a worker.

    Raises:
      OSError: if the machine does not see the folder.
    """
    if not os.path.exists(f"{path}.task"):
        raise OSError(
            f"The machine {socket.gethostname()!r} does not see the folder "
            f"{os.path.dirname(path)!r}: use folders that all machines have under the "
            "same path, such as those of a network drive."
        )
    _save(f"{path}.result", function(_load(f"{path}.task")))


def _save(path: str, value: Any) -> None:
    """Replaces a file in one step."""
    partial = f"{path}.{uuid.uuid4().hex}"
    with open(partial, "wb") as file:
        pickle.dump(value, file)
    os.replace(partial, path)


def _load(path: str) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


def _split(options: str) -> list[str]:
    try:
        arguments = shlex.split(options)
    except ValueError as error:
        raise SettingError(
            f"{{{{runner_options}}}}={options!r} cannot be split ({error}): separate "
            "options by spaces and quote as in a shell."
        ) from error
    for argument in arguments:
        if not argument.startswith("--"):
            raise SettingError(
                f"{{{{runner_options}}}} has {argument!r}, which is no option: write "
                "options as --name=value, separated by spaces."
            )
    return arguments


def _import_beam(runner: str) -> None:
    """Raises ValueError if Beam, or what the runner needs of it, is missing."""
    extra = "gcp" if runner == "dataflow" else "beam"
    try:
        import apache_beam  # noqa: F401

        if runner == "dataflow":
            from apache_beam.runners.dataflow.internal import apiclient  # noqa: F401
    except ImportError as error:
        package = {"beam": "-e '.[beam]'", "gcp": "'apache-beam[gcp]'"}[extra]
        raise ValueError(
            f"--runner={runner} needs a package that cannot be imported ({error}): "
            f"pip install {package}."
        ) from error


def _choose_processes(workers: int | None) -> list[str]:
    """Returns options of the direct runner; later ones win."""
    count = workers or len(os.sched_getaffinity(0))
    if count == 1:
        return []
    return [f"--direct_num_workers={count}", "--direct_running_mode=multi_processing"]


@contextlib.contextmanager
def _quiet(runner: str) -> Iterator[None]:
    """Keeps back what the direct runner logs, such as errors with their tracebacks.

    Other runners log where the job can be watched.
    """
    before = logging.root.manager.disable
    if runner == _DIRECT and not logging.getLogger("absl").isEnabledFor(logging.DEBUG):
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Lets processes that are started here import this project, wherever it lies."""
    before = os.environ.get("PYTHONPATH")
    # Where packages are installed, they are found anyway.
    own = None if _ROOT.endswith("-packages") else _ROOT
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [own, before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
