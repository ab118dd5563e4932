"""Tiny files in the form in which MNIST, CIFAR-10, the flowers and COCO are published.

`write(name, folder)` writes the files of a dataset into a folder, and `serve` points
the converters at a local server of them.
"""

import contextlib
import gzip
import hashlib
import io
import json
import pathlib
import pickle
import struct
import tarfile
import zipfile
from unittest import mock

import local_site
import numpy as np
from PIL import Image

from datasets import (
    download_and_convert_cifar10 as cifar10,
)
from datasets import (
    download_and_convert_flowers as flowers,
)
from datasets import (
    download_and_convert_mnist as mnist,
)
from datasets import (
    download_and_convert_visualwakewords as visualwakewords,
)

NAMES = ("cifar10", "flowers", "mnist", "visualwakewords")
NUM_PER_FILE = 12
PERSON, DOG = 1, 18


def draw(seed, shape=(24, 32, 3)):
    return np.random.RandomState(seed).randint(256, size=shape).astype(np.uint8)


def encode_idx(values):
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + (
        values.astype(np.uint8).tobytes()
    )


def encode_jpeg(seed):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed)).save(buffer, "JPEG")
    return buffer.getvalue()


def list_mnist():
    """Generates (name, contents) of the four files."""
    for split, (images, labels) in mnist.FILES.items():
        yield (
            images,
            gzip.compress(encode_idx(draw(len(split), (NUM_PER_FILE, 28, 28)))),
        )
        yield labels, gzip.compress(encode_idx(np.arange(NUM_PER_FILE) % 10))


def list_cifar10():
    """Generates the archive, of pickles as Python 2 could read them."""
    members = {}
    for names in cifar10.FILES.values():
        for seed, name in enumerate(names):
            batch = {
                b"batch_label": name.encode(),
                b"labels": [i % 10 for i in range(NUM_PER_FILE)],
                b"data": draw(seed, (NUM_PER_FILE, 3072)),
                b"filenames": [b"a.png"] * NUM_PER_FILE,
            }
            members[f"{cifar10.FOLDER}/{name}"] = pickle.dumps(batch, protocol=2)
    yield "cifar-10-python.tar.gz", encode_tar(members)


def list_flowers():
    members = {f"{flowers.FOLDER}/LICENSE.txt": b"as is"}
    for label, name in enumerate(flowers.LAYOUT.class_names):
        for seed in range(8):
            photo = f"{flowers.FOLDER}/{name}/{seed}.jpg"
            members[photo] = encode_jpeg(10 * label + seed)
    yield "flower_photos.tgz", encode_tar(members)


def list_visualwakewords():
    """Generates images with a person of 1/4, 1/200 and less, a dog, and nothing."""
    # Each image has 32 x 24 = 768 pixels; 3.84 of them are the threshold.
    objects = [
        [(PERSON, [0, 0, 16, 12])],
        [(PERSON, [0, 0, 1.96, 1.96]), (DOG, [0, 0, 32, 24])],
        [(PERSON, [0, 0, 1.95, 1.95]), (PERSON, [5, 5, 1, 1])],
        [(DOG, [0, 0, 32, 24])],
        [],
    ]
    annotations = {}
    for split in visualwakewords.IMAGE_URLS:
        names = [f"COCO_{split}2014_{i:012d}.jpg" for i in range(len(objects))]
        facts = {
            "info": {"year": 2014},
            "images": [
                {
                    "id": 7 + i,
                    "file_name": name,
                    "height": 24,
                    "width": 32,
                    "license": 1,
                }
                for i, name in enumerate(names)
            ],
            "annotations": [
                {"image_id": 7 + i, "category_id": kind, "bbox": box, "area": 1.0}
                for i, found in enumerate(objects)
                for kind, box in found
            ],
            "categories": [
                {"id": PERSON, "name": "person", "supercategory": "person"},
                {"id": DOG, "name": "dog", "supercategory": "animal"},
            ],
        }
        path = f"annotations/instances_{split}2014.json"
        annotations[path] = json.dumps(facts).encode()
        images = {f"{split}2014/{n}": encode_jpeg(i) for i, n in enumerate(names)}
        yield f"{split}2014.zip", encode_zip(images)
    yield "annotations_trainval2014.zip", encode_zip(annotations)


def encode_tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, contents in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return buffer.getvalue()


def encode_zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return buffer.getvalue()


_LISTS = {
    "cifar10": list_cifar10,
    "flowers": list_flowers,
    "mnist": list_mnist,
    "visualwakewords": list_visualwakewords,
}


def write(name, folder):
    """Writes the published files of a dataset into a folder."""
    for file_name, contents in _LISTS[name]():
        pathlib.Path(folder, file_name).write_bytes(contents)


@contextlib.contextmanager
def serve(folder, requested=None):
    """Serves what `write` wrote; the converters download from there meanwhile."""

    def md5(name, published):
        path = pathlib.Path(folder, name)
        if not path.exists():
            return published
        return hashlib.md5(path.read_bytes()).hexdigest()

    with local_site.serve(folder, requested) as url, small_flowers():
        values = {
            (mnist, "DATA_URL"): f"{url}/",
            (mnist, "FILES"): {
                split: {name: md5(name, known) for name, known in files.items()}
                for split, files in mnist.FILES.items()
            },
            (cifar10, "DATA_URL"): f"{url}/cifar-10-python.tar.gz",
            (cifar10, "DATA_MD5"): md5("cifar-10-python.tar.gz", cifar10.DATA_MD5),
            (flowers, "DATA_URL"): f"{url}/flower_photos.tgz",
            (visualwakewords, "IMAGE_URLS"): {
                split: f"{url}/{split}2014.zip" for split in visualwakewords.IMAGE_URLS
            },
            (
                visualwakewords,
                "ANNOTATIONS_URL",
            ): f"{url}/annotations_trainval2014.zip",
        }
        with contextlib.ExitStack() as stack:
            for (module, constant), value in values.items():
                stack.enter_context(mock.patch.object(module, constant, value))
            yield


def small_flowers():
    """Lets the converter accept 40 flowers; a context manager."""
    return mock.patch.object(flowers, "NUM_VALIDATION", 10)
