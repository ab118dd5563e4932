"""Records that cannot be used: finding them, naming them, and training without them."""

import hashlib
import itertools
import logging
import os
import re
from collections.abc import Callable, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from datasets import record_loader, shard_files
from tf_slim_compat import as_written, slim, tf

# Training without bad records ends if there are more of them than either.
MAX_SKIPPED_FRACTION = 0.01
MAX_SKIPPED = 100
_TOO_MANY = "too many to skip"


def diagnose(dataset: slim.dataset.Dataset) -> str | None:
    """Looks for the first record that cannot be read, decoded or used.

    The lengths of all records are checked first, which is fast; then all records are
    decoded.

    Returns:
      One sentence that names the shard and the record, or None if all are intact.
    """
    logging.info("Looking for the broken record of %s.", dataset.data_sources)
    try:
        files = shard_files.list_shards(dataset)
        num_records = [shard_files.count_by_length(path) for path in files]
    except OSError as error:
        return str(error)
    index, reason = _find_first(dataset, files)
    if index is None:
        return None
    file_index = 0
    while index >= num_records[file_index]:
        index -= num_records[file_index]
        file_index += 1
    return (
        f"{_name_record(files[file_index], index)} cannot be used ({reason}): convert "
        "the images again with convert_dataset.py, which leaves out damaged ones."
    )


def extract_reason(error: tf.errors.OpError | UnicodeDecodeError) -> str:
    """Returns the message of an error from tf.data, without its location."""
    # TensorFlow's message quotes the record, which may be no text.
    if isinstance(error, UnicodeDecodeError) or "Could not parse" in error.message:
        return "it is no tf.train.Example"
    head = re.split(r"\n\t \[\[|\n+Original stack trace", error.message)[0]
    line = head.split("\n")[-1]
    return re.sub(r"^Error in user-defined function .*?::Root::\w+: ", "", line)


def find_limit(error: tf.errors.OpError | UnicodeDecodeError) -> str | None:
    """Returns the sentence with which `load_good` ended; None for other errors."""
    if isinstance(error, UnicodeDecodeError):
        return None
    found = re.search(rf"^ValueError: (.*{_TOO_MANY}.*)$", error.message, re.MULTILINE)
    return found and found[1]


def load_good(
    records: tf.data.Dataset,
    load: Callable[..., tuple[tf.Tensor, tf.Tensor]],
    files: Sequence[str],
    num_parallel_calls: int,
    deterministic: bool,
) -> tf.data.Dataset:
    """Loads records; the next good image takes the place of each bad one.

    So positions in the stream stay as they are, and a run that resumes between a bad
    record and the next good one gets the same images. Each bad record is logged once.
    A shard whose checksums are wrong still is an error.

    Args:
      records: see `shuffled_stream.build_stream`.
      load: see `record_loader.build_loader`.
      files: paths of the shards.
      num_parallel_calls: number of records that are loaded at a time.
      deterministic: whether images must keep the order of the records.

    Returns:
      A `tf.data.Dataset` of (image, label). Reading it is an InvalidArgumentError when
      more than `MAX_SKIPPED_FRACTION` of the records or `MAX_SKIPPED` are bad, but not
      before the second; see `find_limit`.
    """
    report = _Report(files, load)

    @as_written
    def load_marked(record, seed):
        image, label = load(record, seed)
        return image, label, True, ""

    @as_written
    def try_load(record, seed):
        loaded = tf.data.Dataset.from_tensors((record, seed)).map(load_marked)
        blank = [
            tf.zeros([size or 1 for size in spec.shape], spec.dtype)
            for spec in loaded.element_spec[:2]
        ]
        failed = tf.data.Dataset.from_tensors((*blank, False, record))
        return loaded.ignore_errors().concatenate(failed).take(1).get_single_element()

    @as_written
    def count_copies(num_missing, loaded):
        image, label, is_good, record = loaded

        def report_bad():
            return tf.ensure_shape(tf.numpy_function(report, [record], tf.int64), [])

        # A bad record has no copy, and one more of the next good image is due.
        copies = tf.cond(is_good, lambda: num_missing + 1, lambda: report_bad() * 0)
        num_missing = tf.where(is_good, np.int64(0), num_missing + 1)
        return num_missing, (image, label, copies)

    @as_written
    def repeat(image, label, copies):
        return tf.data.Dataset.from_tensors((image, label)).repeat(copies)

    loaded = records.map(try_load, num_parallel_calls, deterministic)
    return loaded.scan(np.int64(0), count_copies).flat_map(repeat)


class _Report:
    """Logs bad records, each once, and ends with an error when there are too many."""

    def __init__(self, files: Sequence[str], load: Callable):
        self._files = files
        self._load = load
        self._seen = set()

    def __call__(self, record: bytes) -> np.int64:
        digest = hashlib.sha256(record).digest()
        if digest in self._seen:
            return np.int64(len(self._seen))
        self._seen.add(digest)
        place = shard_files.find_record(self._files, record)
        name = _name_record(*place) if place else "A record"
        total = sum(map(shard_files.count_by_length, self._files))
        limit = max(1, min(MAX_SKIPPED, int(total * MAX_SKIPPED_FRACTION)))
        sentence = f"{name} cannot be used ({self._explain(record)})"
        if len(self._seen) > limit:
            raise ValueError(
                f"{sentence}, and is bad record {len(self._seen)} of {total}, "
                f"{_TOO_MANY} with --on_bad_record=skip: convert the images again with "
                "convert_dataset.py, which leaves out damaged ones."
            )
        logging.warning(
            "%s: skipped. It is bad record %d; training ends after %d.",
            sentence,
            len(self._seen),
            limit,
        )
        return np.int64(len(self._seen))

    def _explain(self, record: bytes) -> str:
        with tf.Graph().as_default(), tf.Session() as session:
            serialized = tf.placeholder(tf.string, [])
            loaded = self._load(serialized, tf.zeros([2], tf.int64))
            session.run(tf.tables_initializer())
            try:
                session.run(loaded, {serialized: record})
            except (tf.errors.OpError, UnicodeDecodeError) as error:
                return extract_reason(error)
        return "its preprocessing failed"


def _find_first(
    dataset: slim.dataset.Dataset, files: Sequence[str]
) -> tuple[int, str] | tuple[None, None]:
    """Returns (index, reason) of the first record that does not load, or Nones."""

    def shrink(image, *_):
        return tf.reshape(tf.cast(tf.reduce_max(image), tf.float32), [1, 1, 1])

    index = 0
    with tf.Graph().as_default(), tf.Session() as session:
        load = record_loader.build_loader(dataset, shrink, 1, 1, labels_offset=0)
        loaded = tf.data.TFRecordDataset(files).map(load, os.cpu_count())
        iterator = tf.data.make_initializable_iterator(loaded)
        element = iterator.get_next()
        session.run([iterator.initializer, tf.tables_initializer()])
        try:
            while True:
                session.run(element)
                index += 1
        except tf.errors.OutOfRangeError:
            return None, None
        except (
            tf.errors.DataLossError,
            tf.errors.InvalidArgumentError,
            UnicodeDecodeError,
        ) as error:
            return index, extract_reason(error)


def _name_record(path: str, index: int) -> str:
    """Returns the place of a record, and its file name as far as it can be read."""
    place = f"Record {index} of {path!r}"
    try:
        record = next(itertools.islice(tf.io.tf_record_iterator(path), index, None))
        feature = tf.train.Example.FromString(record).features.feature
        names = feature["image/filename"].bytes_list.value
        return f"{place} (the image {os.fsdecode(names[0])!r})" if names else place
    except (tf.errors.DataLossError, DecodeError):
        return place
