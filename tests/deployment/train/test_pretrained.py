"""Published weights are fetched once, checked and used; the server is on loopback."""

import functools
import hashlib
import http.server
import os
import shutil
import tarfile
import threading

import keras_files
import numpy as np
import pytest
from saved_checkpoints import save
from script_runner import run_script

from deployment.models.checkpoint import Checkpoint
from nets import nets_factory, published
from tf_slim_compat import tf

NETWORK = "mobilenet_v1_025"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files; continues where a range begins; counts what it sent."""

    sent = []
    short = False

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.exists(path):
            return self.send_error(403)
        with open(path, "rb") as file:
            content = file.read()
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(content) > 0:
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:]
        part = part[: len(part) // 2] if Handler.short else part
        Handler.sent.append((os.path.basename(path), start, len(part)))
        self.wfile.write(part)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Returns (URL, folder) of a server; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Handler, "sent", [])
    monkeypatch.setattr(Handler, "short", False)
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A tar archive of a checkpoint of `NETWORK` for 1,001 classes."""
    folder = tmp_path_factory.mktemp("archive")
    with tf.Graph().as_default():
        network_fn = nets_factory.get_network_fn(NETWORK, 1001, is_training=True)
        network_fn(tf.placeholder(tf.float32, [2, 32, 32, 3]))
        shapes = {
            v.op.name: v.shape.as_list() for v in tf.get_collection("model_variables")
        }
    values = {n: np.full(s, 0.25, np.float32) for n, s in shapes.items()}
    with tf.Graph().as_default():
        save(folder / "mobilenet.ckpt", values, "V2")
    path = folder / "weights.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("mobilenet.ckpt.index", "mobilenet.ckpt.data-00000-of-00001"):
            if (folder / name).exists():
                archive.add(folder / name, name)
    return path


def publish(monkeypatch, url, name="weights.tgz", source=published.SLIM, md5=None):
    weights = published.Weights(
        NETWORK, source, f"{url}/{name}", 1001, "vgg", 224, md5=md5
    )
    monkeypatch.setattr(published, "WEIGHTS", (weights,))


def train(data_dir, train_dir, *arguments, steps=1):
    return run_script(
        "train_image_classifier.py",
        f"--train_dir={train_dir}",
        "--dataset_name=image_folder",
        f"--dataset_dir={data_dir}",
        f"--model_name={NETWORK}",
        "--train_image_size=32",
        "--batch_size=4",
        "--precision=float32",
        "--learning_rate=0.0",
        f"--max_number_of_steps={steps}",
        *arguments,
    )


def assert_started_from_it(train_dir):
    """All weights but the logits are those of `archive`."""
    found = Checkpoint(str(train_dir))
    name = "MobilenetV1/Conv2d_3_pointwise/weights"
    assert (found.read(name) == 0.25).all()
    logits = found.read("MobilenetV1/Logits/Conv2d_1c_1x1/weights")
    assert logits.shape[-1] == 5 and (logits != 0.25).any()


def test_weights_are_fetched_once_and_their_preprocessing_used(
    site, archive, data_dir, tmp_path, monkeypatch
):
    url, folder = site
    shutil.copy(archive, folder)
    publish(monkeypatch, url, md5=hashlib.md5(archive.read_bytes()).hexdigest())
    for run in ("first", "second"):
        status, _, err = train(data_dir, tmp_path / run, "--pretrained=true")
        assert status == 0, err
        assert_started_from_it(tmp_path / run)
        card = (tmp_path / run / "run.json").read_text()
        assert '"preprocessing_name": "vgg"' in card
    assert len(Handler.sent) == 1
    # A run that goes on needs them no more.
    shutil.rmtree(tmp_path / "cache")
    status, _, err = train(data_dir, tmp_path / "first", "--pretrained=true", steps=2)
    assert status == 0 and len(Handler.sent) == 1, err


def test_a_download_continues_where_it_broke_off(
    site, archive, data_dir, tmp_path, monkeypatch
):
    url, folder = site
    shutil.copy(archive, folder)
    publish(monkeypatch, url)
    monkeypatch.setattr(Handler, "short", True)
    status, _, err = train(data_dir, tmp_path / "run", f"--pretrained={NETWORK}/slim")
    assert status == 1 and "received only" in err and "--pretrained_dir" in err
    monkeypatch.setattr(Handler, "short", False)
    status, _, err = train(data_dir, tmp_path / "run", f"--pretrained={NETWORK}/slim")
    assert status == 0, err
    assert_started_from_it(tmp_path / "run")
    size = archive.stat().st_size
    assert [(start, count) for _, start, count in Handler.sent] == [
        (0, size // 2),
        (size // 2, size - size // 2),
    ]


def test_without_network_a_folder_has_the_files(
    site, archive, data_dir, tmp_path, monkeypatch
):
    publish(monkeypatch, "http://127.0.0.1:9")
    flags = ("--pretrained=true", f"--pretrained_dir={archive.parent}")
    status, _, err = train(data_dir, tmp_path / "run", *flags)
    assert status == 0, err
    assert_started_from_it(tmp_path / "run")
    flags = ("--pretrained=true", f"--pretrained_dir={tmp_path}")
    status, _, err = train(data_dir, tmp_path / "other", *flags)
    assert status == 1 and "There is no weights.tgz in --pretrained_dir" in err
    status, _, err = train(data_dir, tmp_path / "other", "--pretrained=true")
    assert status == 1 and "Connection refused" in err and "--list_pretrained" in err


def test_weights_of_keras_take_the_place_of_others_that_are_gone(
    site, data_dir, tmp_path, monkeypatch, caplog
):
    url, folder = site
    values = keras_files.write(folder / "weights.h5", 5)
    monkeypatch.setattr(
        published,
        "WEIGHTS",
        tuple(
            published.Weights(NETWORK, source, f"{url}/{name}", 5, "inception", 224)
            for source, name in (
                (published.KERAS, "weights.h5"),
                (published.SLIM, "gone.tgz"),
            )
        ),
    )
    with caplog.at_level("INFO"):
        status, _, err = train(data_dir, tmp_path / "run", "--pretrained=true")
    assert status == 0, err
    assert "HTTP Error 403" in caplog.text
    found = Checkpoint(str(tmp_path / "run"))
    # The logits too, as the number of classes is the same.
    for name in ("Conv2d_3_pointwise", "Logits/Conv2d_1c_1x1"):
        name = f"MobilenetV1/{name}/weights"
        np.testing.assert_array_equal(found.read(name), values[name])


def test_what_cannot_be_used_is_refused_in_one_sentence(
    site, archive, data_dir, tmp_path, monkeypatch
):
    url, folder = site
    shutil.copy(archive, folder)
    with tarfile.open(folder / "link.tgz", "w:gz") as file:
        member = tarfile.TarInfo("a.ckpt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(member)
    (folder / "short.tgz").write_bytes(archive.read_bytes()[:1000])
    with tarfile.open(folder / "empty.tgz", "w:gz"):
        pass
    run = tmp_path / "run"
    for name, md5, message in (
        ("none.tgz", None, "HTTP Error 403"),
        ("weights.tgz", "0" * 32, "has another checksum than was published"),
        ("link.tgz", None, "is a link"),
        ("short.tgz", None, "download it again"),
        ("empty.tgz", None, "holds no checkpoint"),
    ):
        publish(monkeypatch, url, name, md5=md5)
        status, _, err = train(data_dir, run, "--pretrained=true")
        assert status == 1 and message in err and "Traceback" not in err, (name, err)
    for flags, message in (
        (("--pretrained=vgg_16/slim",), "Unknown weights 'vgg_16/slim'"),
        (("--pretrained=true", "--checkpoint_path=a"), "leave one out"),
        (("--pretrained=true", "--model_name=lenet"), "No weights of lenet"),
    ):
        status, _, err = train(data_dir, run, *flags)
        assert status == 1 and message in err, err


def test_the_table_names_networks():
    names = [weights.name for weights in published.WEIGHTS]
    assert len(set(names)) == len(names) > 50
    for weights in published.WEIGHTS:
        network = nets_factory.get_network(weights.network)
        assert weights.num_classes in (1000, 1001)
        assert weights.preprocessing in ("vgg", "inception")
        assert weights.image_size in (224, 299, 331)
        assert weights.address.startswith(("http://", "https://"))
        if weights.source == published.SLIM and network.top1:
            assert weights.top1 == network.top1, weights.name
