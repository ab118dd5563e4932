"""Writes the shards of a dataset on many machines, record by record as one would.

The work is done in two rounds. In the first one, images are read to tell which are
readable. Then the plan is made here, and in the second round each task reads the images
of one shard again and writes it. A task that is repeated, or runs twice at a time, does
no harm: each attempt writes a file of its own, of which one is taken.
"""

import collections
import concurrent.futures
import functools
import itertools
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from datasets import (
    conversion_plan,
    convert_config,
    dataset_info,
    duplicate_images,
    image_checks,
    image_files,
    image_pool,
    image_source,
    shard_writer,
)
from tf_slim_compat import tf

_IMAGES_PER_CHECK = 1000
_FEWEST_CHECKS = 64  # If there are as many images, so that many machines take part.
# Some storage answers slowly, but many questions at a time.
_THREADS = 4
_IMAGES_AHEAD = 64

# Split and number of a shard.
_Place = tuple[str, int]


class _Row(NamedTuple):
    """An image of a shard: its path, what `build_record` takes of it, its digest."""

    path: str
    label: int | tuple[float, ...]
    filename: bytes
    class_name: bytes | None
    digest: bytes


class _Shard(NamedTuple):
    """A shard to write: the beginning of its path, also for messages, and its rows."""

    path: str
    rows: list[_Row]


class _Written(NamedTuple):
    """A shard that was written: its path, and `digest_record` of each record."""

    path: str
    digests: list[bytes]


def write_dataset(
    config: convert_config.ConvertConfig,
    plan: conversion_plan.ConversionPlan,
    staging: str,
    is_replacing: bool,
    distribute: Callable[..., list],
) -> tuple[dict[str, tuple[dataset_info.Shard, ...]], str]:
    """Writes the shards into the folder `staging`; returns them and the fingerprint.

    Args:
      config: of the conversion.
      plan: to which no image has been added.
      staging: an empty folder that all machines see under this path, as they do the
        images.
      is_replacing: whether no shard may have the name of one of another dataset.
      distribute: see `convert_images.convert`.

    Raises:
      ValueError: if there is nothing to train on, or images change meanwhile.
      OSError: if files cannot be written.
    """
    staging = os.path.abspath(staging)
    _say(f"Reading {len(plan.images)} images.")
    found = _check_images(plan.images, staging, distribute)
    shards, order = _plan_shards(plan, found, config.shards, staging)
    plan.check()
    _say(f"Writing {len(shards)} shards.")
    written = distribute(_write_shard, list(shards.values()), staging)
    by_place = dict(zip(shards, written, strict=True))
    placed = _place_shards(config, staging, by_place, order, is_replacing)
    _remove_others(staging, placed[0])
    return placed


def _check_images(
    images: Sequence[image_source.SourceImage],
    folder: str,
    distribute: Callable[..., list],
) -> Iterator[tuple[str, bytes]]:
    """Returns for each image what `ConversionPlan.add` takes: its fault and digest."""
    size = max(1, min(_IMAGES_PER_CHECK, len(images) // _FEWEST_CHECKS))
    paths = [os.path.abspath(image.path) for image in images]
    tasks = [paths[start : start + size] for start in range(0, len(paths), size)]
    return itertools.chain.from_iterable(distribute(_check_some, tasks, folder))


def _plan_shards(
    plan: conversion_plan.ConversionPlan,
    found: Iterator[tuple[str, bytes]],
    num_shards: int,
    folder: str,
) -> tuple[dict[_Place, _Shard], list[_Place]]:
    """Returns the shards, and for each record, in order, the place of its shard."""
    shards, order, counts = {}, [], collections.Counter()
    for image, (fault, digest) in zip(plan.images, found, strict=True):
        split = plan.add(image, fault, digest)
        if split is None:
            continue
        place = (split, shard_writer.choose_shard(counts[split], num_shards))
        counts[split] += 1
        order.append(place)
        if place not in shards:
            path = os.path.join(folder, "-".join(map(str, place)))
            shards[place] = _Shard(path, [])
        path = os.path.abspath(image.path)
        row = _Row(path, image.label, *plan.name(image), digest)
        shards[place].rows.append(row)
    return shards, order


def _place_shards(
    config: convert_config.ConvertConfig,
    staging: str,
    written: Mapping[_Place, _Written],
    order: Sequence[_Place],
    is_replacing: bool,
) -> tuple[dict[str, tuple[dataset_info.Shard, ...]], str]:
    """Gives the shards their final names, as `ShardWriter.finish` does."""
    fingerprint = shard_writer.Fingerprint()
    digests = {place: iter(shard.digests) for place, shard in written.items()}
    for place in order:
        fingerprint.add(next(digests[place]))
    tag = fingerprint.get_tag(is_replacing)
    splits = collections.defaultdict(tuple)
    for split in image_source.SPLITS:
        places = sorted(place for place in written if place[0] == split)
        for place in places:
            file = dataset_info.name_shard(
                config.dataset_name, *place, len(places), tag
            )
            path = os.path.join(staging, file)
            os.rename(written[place].path, path)
            count = len(written[place].digests)
            shard = dataset_info.Shard(file, os.path.getsize(path), count)
            splits[split] += (shard,)
    return dict(splits), str(fingerprint)


def _remove_others(
    staging: str, splits: Mapping[str, Sequence[dataset_info.Shard]]
) -> None:
    """Removes what attempts left that failed or were not needed."""
    taken = {shard.file for shards in splits.values() for shard in shards}
    for name in set(os.listdir(staging)) - taken:
        os.remove(os.path.join(staging, name))


def _check_some(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Returns the fault and digest of each image; runs on a worker."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_check_image, paths))


def _check_image(path: str) -> tuple[str, bytes]:
    image, fault = image_pool.try_load(path)
    fault = fault or _get_checker().find_fault(image)
    return fault, b"" if fault else duplicate_images.compute_digest(image.encoded)


@functools.cache
def _get_checker() -> image_checks.Checker:
    """Returns the checker of this process, which takes a while to make."""
    return image_checks.Checker()


def _write_shard(shard: _Shard) -> _Written:
    """Writes a shard into a file of its own; runs on a worker."""
    path = f"{shard.path}.{uuid.uuid4().hex}"
    digests = []
    with shard_writer.naming_errors(shard.path), tf.io.TFRecordWriter(path) as writer:
        for row, image in _load(shard.rows):
            record = shard_writer.build_record(
                image, row.label, row.filename, row.class_name
            )
            writer.write(record)
            digests.append(shard_writer.digest_record(record))
    return _Written(path, digests)


def _load(rows: Sequence[_Row]) -> Iterator[tuple[_Row, image_files.EncodedImage]]:
    """Yields rows with their images, a few read ahead.

    Raises:
      ValueError: if an image is not the one that was checked.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(rows), _IMAGES_AHEAD):
            some = rows[start : start + _IMAGES_AHEAD]
            loaded = pool.map(image_pool.try_load, (row.path for row in some))
            for row, (image, fault) in zip(some, loaded, strict=True):
                digest = (
                    duplicate_images.compute_digest(image.encoded) if image else b""
                )
                if fault or digest != row.digest:
                    raise ValueError(
                        f"{row.path!r} changed during the conversion: convert again "
                        "once nothing writes to the images."
                    )
                yield row, image


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
