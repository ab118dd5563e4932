"""The run card, `run.json` in a training folder: what a run was, and its results.

Training writes it. Evaluation, export and prediction read it, so that the folder is all
that they need:

    card = run_card.find("run/best")
    spec = card.spec
"""

import dataclasses
import os
from typing import Any, NotRequired, Required, TypedDict

import checked_json
from checked_json import (
    Count,
    Decay,
    Finite,
    ImageSize,
    Int64,
    Name,
    Names,
    NonNegative,
    NumClasses,
    Seconds,
    Text,
    Texts,
)
from deployment import files
from deployment.models.spec import ModelSpec
from tf_slim_compat import tf

FILE_NAME = "run.json"
FORMAT_VERSION = 1

# Settings that a run cannot change when it resumes, with the flags that set them. None
# on either side is unknown, and contradicts nothing.
_FIXED = {
    "task": "--task",
    "model_name": "--model_name",
    "labels_offset": "--labels_offset",
    "num_classes": "--dataset_name and --dataset_dir",
    "image_size": "--train_image_size",
    "use_grayscale": "--use_grayscale",
    "preprocessing_name": "--preprocessing_name",
    "quantize": "--quantize_delay",
    "quantize_per_channel": "--quantize_per_channel",
    "class_names": "--dataset_dir",
    "data_fingerprint": "--dataset_dir",
}
_FOLDERS_BELOW = ("best", "export", "saved_model")
_MAX_DEPTH_BELOW = 4


class Session(TypedDict, total=False):
    """A time that training was started, see `with_session`; may have other keys."""

    started: Text | None
    from_step: Required[Count]
    images_per_step: Required[Count]
    to_step: Count | None
    secs: Seconds | None


class Best(TypedDict):
    """The best checkpoint of a run so far: its value of the metric, and its step."""

    metric: Name
    higher_is_better: NotRequired[bool]
    value: Finite
    step: Count


class AutoBatch(TypedDict):
    """What --batch_size=auto chose: images per batch, and the learning rate."""

    images: Count
    learning_rate: Finite


class Results(TypedDict, total=False):
    """The results of a run so far; may have other keys."""

    step: Count | None
    loss: Finite | None
    stopped_because: Text | None
    best: Best | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a training run was, and its results.

    Attributes:
      format_version: version of the file format.
      task: the task's name.
      model_name: the network's name.
      num_classes: the network's outputs.
      labels_offset: output i stands for label i + labels_offset.
      class_names: names of the dataset's labels (or of its targets), from label 0 on;
        None if unknown.
      image_size: height and width of the training images, in pixels.
      use_grayscale: whether images have one channel.
      preprocessing_name: the preprocessing's name.
      moving_average_decay: decay of the weights' moving averages; None if there are
        none.
      weight_decay: weight of the L2 loss on the weights.
      quantize, quantize_per_channel, task_state, user_modules: see `ModelSpec`.
      dataset_name: the dataset's name.
      dataset_dir: the dataset's folder, an absolute path.
      dataset_split_name: the split that was trained on.
      eval_split_name: the split that was evaluated during training; None if none was.
      num_samples: images per epoch.
      data_fingerprint: changes when the data changes; None if unknown.
      auto_batch: what --batch_size=auto chose; None if the batch size was given.
      seed: random seed; None if every session had another one.
      deterministic: whether two runs with one seed give identical weights.
      precision: that of the computations; None, as of older runs, is float32.
      flags: every flag of the training script, by name.
      command: the command that trains such a run without a recipe; None if unknown.
      versions: versions of the software, by name.
      sessions: every time that training was started, in order.
      results: results so far.
      extra: unknown entries of the file, such as newer versions may add; kept.
    """

    format_version: Count = FORMAT_VERSION
    task: Name = "classification"
    model_name: Name
    num_classes: NumClasses
    labels_offset: Int64 = 0
    class_names: Names | None = None
    image_size: ImageSize
    use_grayscale: bool = False
    preprocessing_name: Name
    moving_average_decay: Decay | None = None
    quantize: bool = False
    quantize_per_channel: bool = False
    weight_decay: NonNegative | None = None
    task_state: dict[str, Any] = dataclasses.field(default_factory=dict)
    user_modules: Texts = ()
    dataset_name: Name | None = None
    dataset_dir: Text | None = None
    dataset_split_name: Name | None = None
    eval_split_name: Name | None = None
    num_samples: Count | None = None
    data_fingerprint: Text | None = None
    auto_batch: AutoBatch | None = None
    seed: Int64 | None = None
    deterministic: bool = False
    precision: Name | None = None
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)
    command: Text | None = None
    versions: dict[str, Any] = dataclasses.field(default_factory=dict)
    sessions: tuple[Session, ...] = ()
    results: Results = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, train_dir: str) -> "RunCard | None":
        """Loads the card of a training folder; None if there is none.

        Raises:
          ValueError: if it is damaged.
        """
        path = os.path.join(train_dir, FILE_NAME)
        try:
            record = files.read_json(path)
            return None if record is None else _parse(record)
        except ValueError as error:  # Includes wrong encodings and wrong JSON.
            raise ValueError(
                f"The run card {path!r} is damaged ({error}): repair it, or delete it "
                "and give its settings as flags."
            ) from error

    def save(self, train_dir: str) -> None:
        """Writes the card atomically; creates the folder if there is none.

        Raises:
          OSError: if it cannot be written.
        """
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        record |= record.pop("extra")
        files.make_folder(train_dir)
        path = os.path.join(train_dir, FILE_NAME)
        files.write_text(path, files.to_json(record, indent=1) + "\n")

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """Names of the network's outputs, one each; None if unknown."""
        if self.class_names is None:
            return None
        labels = range(self.labels_offset, self.labels_offset + self.num_classes)
        known = range(len(self.class_names))
        return tuple(
            self.class_names[i] if i in known else f"label {i}" for i in labels
        )

    @property
    def spec(self) -> ModelSpec:
        """The specification of the model that the run trains."""
        shared = {field.name for field in dataclasses.fields(ModelSpec)}
        shared.remove("num_outputs")
        values = {name: getattr(self, name) for name in shared}
        return ModelSpec(num_outputs=self.num_classes, **values)

    def with_spec(self, spec: ModelSpec) -> "RunCard":
        """Returns the card with another model; its names are the outputs' own."""
        return dataclasses.replace(self, **_describe_spec(spec))

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> "RunCard":
        """Returns the card of a model of which no training run is known."""
        return cls(**_describe_spec(spec))


def _describe_spec(spec: ModelSpec) -> dict[str, Any]:
    """Returns a specification as attributes of a card, without a label offset."""
    values = dataclasses.asdict(spec)
    values["num_classes"] = values.pop("num_outputs")
    values["class_names"] = values.pop("output_names")
    return {**values, "labels_offset": 0}


def find(checkpoint_path: str) -> RunCard | None:
    """Finds the card of the run that a checkpoint or an exported file belongs to.

    Args:
      checkpoint_path: a training folder, a checkpoint in it (its prefix or one of
        its files), or anything in its `best` and `export` folders; or a file of
        export_model.py with a card next to it.

    Returns:
      A `RunCard`; None if there is none.

    Raises:
      ValueError: if the card is damaged.
    """
    train_dir = find_train_dir(checkpoint_path)
    return RunCard.load(train_dir) if train_dir is not None else None


def find_train_dir(checkpoint_path: str) -> str | None:
    """Returns the folder whose card `find` loads; None if there is none."""
    if not checkpoint_path:
        return None
    is_folder = tf.gfile.IsDirectory(checkpoint_path)
    folder = checkpoint_path if is_folder else os.path.dirname(checkpoint_path)
    if "://" not in folder:
        folder = os.path.abspath(folder)
    folder, below = folder.rstrip("/") or "/", []
    for _ in range(_MAX_DEPTH_BELOW):
        is_own = not below or below[-1] in _FOLDERS_BELOW
        if is_own and tf.gfile.Exists(os.path.join(folder, FILE_NAME)):
            return folder
        folder, name = os.path.split(folder)
        below.append(name)
    return None


def images_seen(card: RunCard, step: int) -> int:
    """Returns the position in the stream of training images at a step.

    Sessions that began at `step` or later do not count: they ended before they saved,
    or what they saved is not used.
    """
    sessions = [s for s in card.sessions if s["from_step"] < step]
    ends = [session["from_step"] for session in sessions[1:]] + [step]
    return sum(
        (end - session["from_step"]) * session["images_per_step"]
        for session, end in zip(sessions, ends, strict=False)
    )


def with_session(
    card: RunCard, from_step: int, images_per_step: int, started: str | None = None
) -> RunCard:
    """Returns the card with one more session, which continues from `from_step`.

    Sessions that began there or later are dropped: their steps are lost.

    Args:
      card: a `RunCard`.
      from_step: global step of the checkpoint that it resumes; 0 if none.
      images_per_step: images per step of all clones and replicas.
      started: the time as text; None is now.
    """
    earlier = [dict(s) for s in card.sessions if s["from_step"] < from_step]
    if earlier:
        earlier[-1]["to_step"] = from_step
    session = {
        "started": started or files.utc_now(),
        "from_step": from_step,
        "images_per_step": images_per_step,
    }
    return dataclasses.replace(card, sessions=(*earlier, session))


def with_session_end(card: RunCard, to_step: int, secs: float) -> RunCard:
    """Returns the card with the end, or the progress, of the last session."""
    last = {**card.sessions[-1], "to_step": to_step, "secs": round(secs, 3)}
    return dataclasses.replace(card, sessions=(*card.sessions[:-1], last))


def with_results(card: RunCard, **results: Any) -> RunCard:
    """Returns the card with results added or replaced."""
    return dataclasses.replace(card, results={**card.results, **results})


def continue_card(old_card: RunCard, new_card: RunCard) -> RunCard:
    """Returns `new_card` with the history of the run that it continues."""
    return dataclasses.replace(
        new_card,
        task_state={**new_card.task_state, **old_card.task_state},
        sessions=old_card.sessions,
        results=old_card.results,
        extra={**old_card.extra, **new_card.extra},
    )


def check_resume(
    old_card: RunCard, new_card: RunCard, force: bool = False
) -> list[str]:
    """Compares the settings of a run with those that it is resumed with.

    Args:
      old_card: the card in the training folder.
      new_card: the card of the current settings.
      force: whether to accept contradictions.

    Returns:
      The differences, for the log, such as 'learning_rate: 0.01 before, 0.05 now'.

    Raises:
      ValueError: if a setting differs that a run cannot change.
    """
    old, new = _settings(old_card), _settings(new_card)
    is_known = {name: None not in (old[name], new[name]) for name in _FIXED}
    fixed = [name for name in _FIXED if is_known[name] and old[name] != new[name]]
    if fixed and not force:
        raise ValueError(_explain_contradiction(fixed[0], old, new))
    return [
        f"{name}: {old[name]!r} before, {new[name]!r} now"
        for name in old
        if name in new and old[name] != new[name]
    ]


def _explain_contradiction(name, old, new):
    if name == "data_fingerprint":
        what = f"other data than {new['dataset_dir']!r} holds now"
    elif name == "class_names":
        what = f"other classes: {_compare_names(old[name], new[name])}"
    else:
        what = f"{name} {old[name]!r}, but it is {new[name]!r} now"
    return (
        f"The run in --train_dir was trained with {what}: restore {_FIXED[name]}, give "
        "another --train_dir, or add --ignore_run_card to continue anyway."
    )


def _compare_names(old, new):
    for i, (before, now) in enumerate(zip(old, new, strict=False)):
        if before != now:
            return f"label {i} was {before!r} and is {now!r} now"
    return f"{len(old)} before, {len(new)} now"


def _settings(card):
    """Returns the settings of a run by name: attributes, other flags and versions."""
    own = {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
    past = {"format_version", "flags", "command", "versions", "sessions", "results"}
    past |= {"extra", "task_state"}
    settings = {
        **{name: value for name, value in card.flags.items() if name not in own},
        **{name: value for name, value in own.items() if name not in past},
        **{f"version of {name}": value for name, value in card.versions.items()},
    }
    settings.pop("ignore_run_card", None)
    return files.to_plain(settings)


def _parse(record: Any) -> RunCard:
    """Returns the card in a JSON value; ValueError says what is wrong with it."""
    card = checked_json.check(record, RunCard)
    own = RunCard.__dataclass_fields__  # Checking leaves out other keys; they are kept.
    return dataclasses.replace(
        card,
        sessions=tuple(record.get("sessions", ())),
        results=record.get("results", {}),
        extra={name: value for name, value in record.items() if name not in own},
    )
