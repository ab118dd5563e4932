"""Published weights as the start of training: fetched, checked and converted once."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from deployment import files
from deployment.config_flags import setting
from deployment.models import checkpoint, checkpoint_writing
from deployment.models.checkpoint import Checkpoint

_CHECKPOINT = "model.ckpt"


@dataclasses.dataclass(frozen=True)
class PretrainedConfig:
    """Which published weights to start from; see the flags below."""

    pretrained: str | None = setting(
        None,
        "Published weights to start from: true for those of --model_name, or a name "
        "that inspect_model.py --list_pretrained lists, such as mobilenet_v2/keras. "
        "They are downloaded once. Logits for other classes are left out.",
    )
    pretrained_dir: str | None = setting(
        None,
        "Folder with files that --pretrained would download, to work without network.",
    )


def settle(
    flag_values: flags.FlagValues, num_classes: int, downloads: Any, published: Any
) -> None:
    """Sets --checkpoint_path and what goes with it for --pretrained.

    Args:
      flag_values: the parsed flags.
      num_classes: the classes of the dataset.
      downloads: the module `datasets.downloads`.
      published: the module `nets.published`.

    Raises:
      ValueError: there are no such weights, or they are damaged.
      OSError: they cannot be fetched.
    """
    name = flag_values.pretrained
    if not name or name.lower() == "false":
        return
    if flag_values.checkpoint_path:
        raise ValueError(
            f"--pretrained={name} and --checkpoint_path={flag_values.checkpoint_path} "
            "both give weights to start from: leave one out."
        )
    choices = published.choose(flag_values.model_name, name)
    if checkpoint.list_steps(flag_values.train_dir):
        chosen = choices[0]  # The run goes on from its own checkpoint.
    else:
        chosen, prefix = _fetch_first(
            choices, flag_values.pretrained_dir, downloads, published
        )
        flag_values.checkpoint_path = prefix
        _exclude_logits(flag_values, num_classes, Checkpoint(prefix))
    if not flag_values.preprocessing_name:
        flag_values.preprocessing_name = chosen.preprocessing


def _fetch_first(
    choices: Sequence[Any], folder: str | None, downloads: Any, published: Any
) -> tuple[Any, str]:
    """Returns the first weights that can be had, and the prefix of the checkpoint."""
    reasons = []
    for weights in choices:
        try:
            prefix = _fetch(weights, folder, downloads, published)
        except OSError as error:
            reasons.append(str(error))
            logging.info("%s", error)
            continue
        logging.info("Starting from the weights %s, %s.", weights.name, prefix)
        return weights, prefix
    addresses = " or ".join(weights.address for weights in choices)
    raise OSError(
        f"{' '.join(reasons)} Fetch {addresses} yourself and give its folder as "
        "--pretrained_dir, or choose other weights of inspect_model.py "
        "--list_pretrained."
    )


def _fetch(weights: Any, folder: str | None, downloads: Any, published: Any) -> str:
    """Returns the prefix of the checkpoint with these weights."""
    cache = os.path.join(
        files.get_cache_folder(), "pretrained", weights.name.replace("/", "-")
    )
    files.make_folder(cache)
    file_name = downloads.get_file_name(weights.address)
    path = os.path.join(folder or cache, file_name)
    if not os.path.exists(path):
        if folder:
            raise OSError(f"There is no {file_name} in --pretrained_dir={folder}.")
        logging.info("Downloading %s.", weights.address)
        path = downloads.download_url(weights.address, cache, resume=True)
    md5 = downloads.compute_md5(path)
    try:
        if weights.md5 not in (None, md5):
            raise ValueError(f"{path!r} has another checksum than was published")
        # The file in --pretrained_dir may change.
        unpacked = os.path.join(cache, md5)
        if not os.path.isdir(unpacked):
            with files.replacing(unpacked) as partial:
                _unpack(weights, path, partial, downloads, published)
        return _find_checkpoint(unpacked)
    except (ValueError, OSError) as error:
        if not folder:
            os.remove(path)
        raise OSError(f"{str(error).rstrip('.')}: download it again.") from error


def _unpack(
    weights: Any, path: str, folder: str, downloads: Any, published: Any
) -> None:
    os.makedirs(folder)
    if weights.source == published.SLIM:
        downloads.unpack_tarball(path, folder, allow_links=False)
        _find_checkpoint(folder)
        return
    converted = published.convert(path, weights.network)
    checkpoint_writing.write_arrays(converted.values, f"{folder}/{_CHECKPOINT}")


def _find_checkpoint(folder: str) -> str:
    """Returns the prefix of the checkpoint in an unpacked archive.

    Raises:
      ValueError: there is none, or it cannot be read.
    """
    prefixes = []
    for parent, _, names in sorted(os.walk(folder)):
        prefixes += [
            os.path.join(parent, name.removesuffix(".index"))
            for name in sorted(names)
            # V1 has a single file.
            if name.endswith((".index", ".ckpt"))
        ]
    if not prefixes:
        raise ValueError(f"The archive of {folder!r} holds no checkpoint")
    # Of two, the moving averages are the better weights.
    prefixes.sort(key=lambda prefix: "ema" not in prefix.split(os.sep))
    return Checkpoint(prefixes[0]).path


def _exclude_logits(
    flag_values: flags.FlagValues, num_classes: int, found: Checkpoint
) -> None:
    """Excludes the layers of logits if they are for another number of classes."""
    num_outputs = num_classes - flag_values.labels_offset
    scopes = [
        name.rpartition("/")[0]
        for name, variable in found.variables.items()
        if name.endswith("/biases")
        and variable.shape in ((1000,), (1001,))
        and variable.shape != (num_outputs,)
    ]
    given = flag_values.checkpoint_exclude_scopes
    if scopes:
        flag_values.checkpoint_exclude_scopes = ",".join(
            dict.fromkeys([*([given] if given else []), *scopes])
        )
