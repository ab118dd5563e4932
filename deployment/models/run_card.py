"""The run card, `run.json` in a training folder: what a run was, and came to.

Training writes it. Evaluation, export and classification read it, so that the
folder is all they need to be told:

    card = run_card.find("run/best")
    settings = run_card.reconcile(card, given_flags, ["model_name", "image_size"])
"""

import dataclasses
import json
import os
import typing

from deployment import files
from tf_slim_compat import tf

FILE_NAME = "run.json"
FORMAT_VERSION = 1

# What a run cannot change on its way, with the flags that decide it. Where either
# side does not know (None), there is nothing to contradict.
_FIXED = {
    "model_name": "--model_name",
    "labels_offset": "--labels_offset",
    "num_classes": "--dataset_name and --dataset_dir",
    "image_size": "--train_image_size",
    "use_grayscale": "--use_grayscale",
    "preprocessing_name": "--preprocessing_name",
    "class_names": "--dataset_dir",
    "data_fingerprint": "--dataset_dir",
}
_FOLDERS_BELOW = ("best", "export", "saved_model")
_MAX_DEPTH_BELOW = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a training run was, and came to.

    Attributes:
      model_name: the network.
      num_classes: the network's outputs.
      labels_offset: output i stands for the label i + labels_offset.
      class_names: the names of the dataset's labels, from label 0 on; None if
        unknown.
      image_size: height and width of the images in training, in pixels.
      use_grayscale: whether images have one channel.
      preprocessing_name: what images go through.
      moving_average_decay: decay of the weights' moving averages; None: none kept.
      weight_decay: weight of the L2 loss on the weights.
      dataset_name: the dataset; `dataset_dir` its folder, an absolute path.
      dataset_split_name: the split that was trained on.
      eval_split_name: the split that was evaluated beside it; None: none.
      num_samples: images in one epoch.
      data_fingerprint: changes with the data; None if unknown.
      seed: of all randomness; None: another one in each session.
      deterministic: whether two runs give the same bits.
      flags: every flag of the training script, by name.
      versions: versions of what it ran with, by name.
      sessions: a dict for each time that training was started: `started` (time),
        `from_step`, `images_per_step`, and `to_step` and `secs` once they are
        known. They follow one another; see `with_session`.
      results: what came of it so far: `step`, `loss`, `stopped_because`, `best`.
      format_version: of the file.
      extra: what the file holds beside this, as newer versions may add; kept.
    """

    format_version: int = FORMAT_VERSION
    model_name: str
    num_classes: int
    labels_offset: int = 0
    class_names: tuple | None = None
    image_size: int
    use_grayscale: bool = False
    preprocessing_name: str
    moving_average_decay: float | None = None
    weight_decay: float | None = None
    dataset_name: str | None = None
    dataset_dir: str | None = None
    dataset_split_name: str | None = None
    eval_split_name: str | None = None
    num_samples: int | None = None
    data_fingerprint: str | None = None
    seed: int | None = None
    deterministic: bool = False
    flags: dict = dataclasses.field(default_factory=dict)
    versions: dict = dataclasses.field(default_factory=dict)
    sessions: tuple = ()
    results: dict = dataclasses.field(default_factory=dict)
    extra: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, train_dir):
        """The card in a training folder, None if there is none.

        Raises:
          ValueError: if it is damaged.
        """
        path = os.path.join(train_dir, FILE_NAME)
        try:
            text = files.read_text(path)
            return None if text is None else _parse(json.loads(text))
        except ValueError as error:  # Wrong encodings and wrong JSON are such too.
            raise ValueError(
                f"The run card {path!r} is damaged ({error}): repair it, or delete it "
                "and give its settings as flags."
            ) from error

    def save(self, train_dir):
        """Writes the card, whole or not at all; makes the folder if there is none.

        Raises:
          OSError: if it cannot be written.
        """
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        record |= record.pop("extra")
        files.make_folder(train_dir)
        path = os.path.join(train_dir, FILE_NAME)
        files.write_text(path, files.to_json(record, indent=1) + "\n")

    @property
    def output_names(self):
        """The names of the network's outputs, a tuple of num_classes; None: unknown."""
        if self.class_names is None:
            return None
        labels = range(self.labels_offset, self.labels_offset + self.num_classes)
        known = range(len(self.class_names))
        return tuple(
            self.class_names[i] if i in known else f"label {i}" for i in labels
        )


def find(checkpoint_path):
    """The card of the run that a checkpoint is of.

    Args:
      checkpoint_path: a training folder, a checkpoint in it (its prefix or one of
        its files), or anything in its `best` and `export` folders; or a file that
        export_model.py wrote with a card beside it.

    Returns:
      A `RunCard`; None if there is none.

    Raises:
      ValueError: if the card is damaged.
    """
    train_dir = find_train_dir(checkpoint_path)
    return RunCard.load(train_dir) if train_dir is not None else None


def find_train_dir(checkpoint_path):
    """The folder whose card `find` takes; None if there is none."""
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


def images_seen(card, step):
    """The position in the stream of training images at a step.

    Sessions that began at `step` or later have left nothing behind: they were
    ended before they saved, or what they saved is not used.
    """
    sessions = [s for s in card.sessions if s["from_step"] < step]
    ends = [session["from_step"] for session in sessions[1:]] + [step]
    return sum(
        (end - session["from_step"]) * session["images_per_step"]
        for session, end in zip(sessions, ends, strict=False)
    )


def with_session(card, from_step, images_per_step, started=None):
    """The card with one more session, which goes on from `from_step`.

    What sessions before it did beyond that step is lost: those that began there or
    later are left out.

    Args:
      card: a `RunCard`.
      from_step: the global step of the checkpoint that it begins with; 0 if none.
      images_per_step: images that all clones and replicas take in a step.
      started: the time, as text; None: now.
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


def with_session_end(card, to_step, secs):
    """The card with the end of the last session, or how far it is."""
    last = {**card.sessions[-1], "to_step": to_step, "secs": round(secs, 3)}
    return dataclasses.replace(card, sessions=(*card.sessions[:-1], last))


def with_results(card, **results):
    """The card with these results beside, or in the place of, those it has."""
    return dataclasses.replace(card, results={**card.results, **results})


def continue_card(old_card, new_card):
    """`new_card` with the past of the run that it continues."""
    return dataclasses.replace(
        new_card,
        sessions=old_card.sessions,
        results=old_card.results,
        extra={**old_card.extra, **new_card.extra},
    )


def reconcile(card, given, names, force=False, free=()):
    """Settings for a run's checkpoint: the card's, unless flags say the same.

    Args:
      card: a `RunCard`.
      given: a dict of the flags on the command line, by name; see
        `entry.get_given_flags`.
      names: the flags wanted; a dict from flags to attributes of the card where
        these have other names, such as {"eval_image_size": "image_size"}.
      force: whether flags win that contradict the card.
      free: those of `names` that may differ: a given flag wins.

    Returns:
      A dict from the flags of `names` to values.

    Raises:
      ValueError: if a flag contradicts the card.
    """
    attributes = names if isinstance(names, dict) else {name: name for name in names}
    values = {}
    for name, attribute in attributes.items():
        values[name] = theirs = getattr(card, attribute)
        if name not in given:
            continue
        if not (force or name in free or _is_same(name, given[name], theirs)):
            raise ValueError(
                f"--{name} is {given[name]!r}, but the run was trained with {theirs!r} "
                f"({attribute} in {FILE_NAME}): leave the flag out, or add "
                "--ignore_run_card to have your way."
            )
        values[name] = given[name]
    return values


def check_resume(old_card, new_card, force=False):
    """Compares the settings of a run with those that it should be continued with.

    Args:
      old_card: the `RunCard` in the training folder.
      new_card: the `RunCard` of the settings now.
      force: whether to go on in spite of contradictions.

    Returns:
      A list of what differs, for the log, such as
      'learning_rate: 0.01 before, 0.05 now'.

    Raises:
      ValueError: if they contradict each other in what a run cannot change.
    """
    old, new = _settings(old_card), _settings(new_card)
    fixed = [
        name
        for name in _FIXED
        if None not in (old[name], new[name]) and old[name] != new[name]
    ]
    if fixed and not force:
        raise ValueError(_explain_contradiction(fixed[0], old, new))
    return [
        f"{name}: {old[name]!r} before, {new[name]!r} now"
        for name in old
        if name in new and old[name] != new[name]
    ]


def _explain_contradiction(name, old, new):
    if name == "data_fingerprint":
        what = f"other data than what is in {new['dataset_dir']!r} now"
    elif name == "class_names":
        what = f"other classes: {_compare_names(old[name], new[name])}"
    else:
        what = f"{name} {old[name]!r}, but it is {new[name]!r} now"
    return (
        f"The run in --train_dir was trained with {what}: restore {_FIXED[name]}, give "
        "another --train_dir, or add --ignore_run_card to go on all the same."
    )


def _compare_names(old, new):
    for i, (before, now) in enumerate(zip(old, new, strict=False)):
        if before != now:
            return f"label {i} was {before!r}, and is {now!r} now"
    return f"{len(old)} of them before, {len(new)} now"


def _settings(card):
    """The settings of a run by name: its attributes, other flags and versions."""
    own = {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
    past = {"format_version", "flags", "versions", "sessions", "results", "extra"}
    settings = {
        **{name: value for name, value in card.flags.items() if name not in own},
        **{name: value for name, value in own.items() if name not in past},
        **{f"version of {name}": value for name, value in card.versions.items()},
    }
    settings.pop("ignore_run_card", None)
    return files.to_plain(settings)


def _parse(record):
    """The card in a JSON value; ValueError says what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    types = typing.get_type_hints(RunCard)
    values = {}
    for field in dataclasses.fields(RunCard):
        is_required = field.default is field.default_factory is dataclasses.MISSING
        if field.name not in record:
            if is_required:
                raise ValueError(f"{field.name} is missing")
            continue
        value = record[field.name]
        value = tuple(value) if isinstance(value, list) else value
        expected = types[field.name]
        if isinstance(value, int) and isinstance(0.5, expected):
            value = float(value)
        if not isinstance(value, expected):
            raise ValueError(f"{field.name} is {value!r}")
        values[field.name] = value
    for session in values.get("sessions", ()):
        numbers = isinstance(session, dict) and [
            session.get("from_step"),
            session.get("images_per_step"),
        ]
        if not numbers or not all(isinstance(n, int) for n in numbers):
            raise ValueError("a session lacks from_step or images_per_step")
    extra = {name: value for name, value in record.items() if name not in types}
    return RunCard(**{**values, "extra": extra})


def _is_same(name, ours, theirs):
    if name.endswith("_dir") and ours and theirs:
        return os.path.realpath(ours) == os.path.realpath(theirs)
    return ours == theirs or (not ours and not theirs)
