"""Tests of local copies of models, of what is written, and of runs."""

import contextlib
import os
import shutil

import fsspec
import pytest
import toy_training

from deployment import remote
from deployment.models import checkpoint, checkpoint_state
from deployment.models.run_card import RunCard
from deployment.remote_copies import Input, Output, Run
from remote_files.store import RemoteError, Store

URL = "memory://bucket/run"


@pytest.fixture(autouse=True)
def memory():
    """An empty store."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 3 steps with a checkpoint each, and a best one, and with a card."""
    folder = tmp_path_factory.mktemp("trained")
    for steps in (1, 2, 3):
        toy_training.train(
            folder,
            steps,
            card=RunCard.from_spec(
                toy_training.make_spec(image_size=8, preprocessing_name="toy")
            ),
        )
    (folder / "best").mkdir()
    for path in folder.glob("model.ckpt-2.*"):
        shutil.copy(path, folder / "best")
    checkpoint_state.write(str(folder / "best"), ["model.ckpt-2"])
    (folder / "export").mkdir()
    (folder / "export" / "frozen_graph.pb").write_text("graph")
    return folder


@pytest.fixture
def stored(trained, memory):
    put_folder(memory, trained)
    return trained


def put_folder(memory, folder, place="/bucket/run"):
    for path in folder.rglob("[!.]*"):
        if path.is_file():
            memory.pipe_file(f"{place}/{path.relative_to(folder)}", path.read_bytes())


def list_files(folder):
    """Returns the names of the files below a folder, without events and metagraphs."""
    found = (
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    )
    return {n for n in found if ".tfevents." not in n and not n.endswith(".meta")}


def list_stored(memory):
    """Returns the names of the stored files of the run."""
    found = (name.removeprefix("/bucket/run/") for name in memory.store)
    return {n for n in found if ".tfevents." not in n and not n.endswith(".meta")}


def parts(prefix):
    return {f"{prefix}.index", f"{prefix}.data-00000-of-00001"}


class TestInput:
    def test_a_run_comes_with_its_newest_and_best_checkpoints(self, stored, tmp_path):
        copy = Input(URL, str(tmp_path))
        names = list_files(copy.path)
        assert parts("model.ckpt-3") | parts("best/model.ckpt-2") <= names
        assert not parts("model.ckpt-2") & names
        assert not [name for name in names if name.startswith("export/")]
        assert checkpoint.find_newest(copy.path).step == 3
        assert RunCard.load(copy.path).model_name == "toy"

    def test_or_with_all_of_them(self, stored, tmp_path):
        copy = Input(URL, str(tmp_path), needs_all=True)
        assert set(checkpoint.list_steps(copy.path)) == {1, 2, 3}

    @pytest.mark.parametrize(
        "name, own",
        [
            ("best", parts("model.ckpt-2") | {"checkpoint"}),
            ("best/model.ckpt-2", None),
            ("model.ckpt-1", None),
            ("model.ckpt-1.index", None),
            ("export/frozen_graph.pb", None),
        ],
    )
    def test_a_part_of_a_run_comes_with_the_card(self, name, own, stored, tmp_path):
        copy = Input(f"{URL}/{name}", str(tmp_path))
        root = copy.path[: -len(name)]
        assert RunCard.load(root).model_name == "toy"
        assert own is None or list_files(copy.path) == own
        assert not parts("model.ckpt-3") & list_files(root)
        if own is None and "." in name and not name.endswith((".pb", ".index")):
            assert checkpoint.exists(copy.path)

    def test_a_model_comes_with_the_files_beside_it(self, memory, tmp_path):
        for name in ("saved_model/saved_model.pb", "labels.txt", "large.bin"):
            memory.pipe_file(f"/bucket/out/{name}", b"1")
        copy = Input("memory://bucket/out/saved_model/", str(tmp_path))
        assert list_files(copy.path) == {"saved_model.pb"}
        assert list_files(os.path.dirname(copy.path)) == {
            "saved_model/saved_model.pb",
            "labels.txt",
        }

    def test_a_folder_of_images_comes_whole(self, memory, tmp_path):
        names = {"export/a.jpg", "b-1.index", "checkpoint"}
        for name in names:
            memory.pipe_file(f"/photos/{name}", b'model_checkpoint_path: "b-2"')
        copy = Input("memory://photos", str(tmp_path))
        assert list_files(copy.path) == names

    def test_nothing_there(self, memory, tmp_path):
        with pytest.raises(ValueError, match="no file or folder 'memory://bucket/x'"):
            Input("memory://bucket/x", str(tmp_path))

    def test_a_run_that_goes_on(self, stored, memory, tmp_path):
        shutil.copytree(stored, tmp_path / "next")
        copy = Input(URL, str(tmp_path / "copy"), needs_all=True)
        toy_training.train(tmp_path / "next", 4)
        put_folder(memory, tmp_path / "next")
        for name in parts("model.ckpt-1"):
            memory.rm_file(f"/bucket/run/{name}")
        copy.refresh()
        assert set(checkpoint.list_steps(copy.path)) == {2, 3, 4}

    def test_a_checkpoint_that_is_removed_meanwhile(
        self, stored, memory, tmp_path, monkeypatch
    ):
        real_fetch = Store.fetch

        def fetch(self, name, size, target):
            for part in parts("model.ckpt-1"):
                memory.store.pop(f"/bucket/run/{part}", None)
            real_fetch(self, name, size, target)

        monkeypatch.setattr(Store, "fetch", fetch)
        copy = Input(URL, str(tmp_path / "copy"), needs_all=True)
        assert set(checkpoint.list_steps(copy.path)) == {2, 3}

    def test_a_run_that_has_not_begun(self, trained, memory, tmp_path):
        copy = Input(URL, str(tmp_path), needs_all=True, may_come=True)
        put_folder(memory, trained)
        copy.refresh()
        assert checkpoint.find_newest(copy.path).step == 3

    def test_results_are_sent_beside_the_model(self, stored, memory, tmp_path):
        before = list_stored(memory)
        copy = Input(f"{URL}/best", str(tmp_path))
        folder = os.path.join(os.path.dirname(copy.path), "eval")
        os.mkdir(folder)
        with open(os.path.join(folder, "eval.json"), "w") as file:
            file.write("{}")
        copy.send()
        assert list_stored(memory) == before | {"eval/eval.json"}


class TestOutput:
    def test_a_folder_is_written_and_replaced(self, memory, tmp_path):
        memory.pipe_file("/bucket/out/SHA256SUMS", b"sums")
        memory.pipe_file("/bucket/out/old.pb", b"old")
        memory.pipe_file("/bucket/out/kept.pb", b"kept")
        copy = Output("memory://bucket/out", str(tmp_path))
        assert list_files(copy.path) == {"SHA256SUMS", "old.pb", "kept.pb"}
        with open(os.path.join(copy.path, "SHA256SUMS")) as file:
            assert file.read() == "sums"
        os.remove(os.path.join(copy.path, "old.pb"))
        with open(os.path.join(copy.path, "new.pb"), "w") as file:
            file.write("new")
        copy.send()
        assert {name: memory.cat_file(name) for name in memory.store} == {
            "/bucket/out/SHA256SUMS": b"sums",
            "/bucket/out/kept.pb": b"kept",
            "/bucket/out/new.pb": b"new",
        }

    def test_a_file_is_written_beside_others(self, memory, tmp_path):
        memory.pipe_file("/bucket/a.csv", b"a")
        memory.pipe_file("/bucket/b.csv", b"b")
        copy = Output("memory://bucket/a.csv", str(tmp_path))
        assert os.listdir(os.path.dirname(copy.path)) == ["a.csv"]
        with open(copy.path, "w") as file:
            file.write("new")
        copy.send()
        assert memory.cat_file("/bucket/a.csv") == b"new"
        assert memory.cat_file("/bucket/b.csv") == b"b"

    def test_a_checkpoint_that_exists_is_seen(self, stored, tmp_path):
        copy = Output(f"{URL}/model.ckpt-1", str(tmp_path))
        assert checkpoint.exists(copy.path)


@contextlib.contextmanager
def failing_after(monkeypatch, count):
    """Within, changes of a store fail after the first `count`; gives those made."""
    done = []

    def limit(method):
        def limited(self, *arguments):
            if len(done) == count:
                raise RemoteError("unplugged")
            done.append(arguments[-1])
            return method(self, *arguments)

        return limited

    with monkeypatch.context() as patch:
        patch.setattr(Store, "send", limit(Store.send))
        patch.setattr(Store, "remove", limit(Store.remove))
        yield done


class TestRun:
    def test_a_new_run_begins_empty(self, tmp_path, memory):
        run = Run(URL, str(tmp_path))
        assert os.listdir(run.path) == []
        run.send()
        assert not memory.store

    def test_a_run_resumes_and_older_checkpoints_are_removed(
        self, stored, memory, tmp_path, monkeypatch
    ):
        run = Run(URL, str(tmp_path))
        assert set(checkpoint.list_steps(run.path)) == {3}
        assert parts("best/model.ckpt-2") <= list_files(run.path)
        monkeypatch.setattr(remote, "_runs", [run])
        toy_training.train(run.path, 4, max_checkpoints_to_keep=2)
        run.send()
        names = list_stored(memory)
        assert parts("model.ckpt-3") | parts("model.ckpt-4") <= names
        assert not (parts("model.ckpt-1") | parts("model.ckpt-2")) & names
        assert parts("best/model.ckpt-2") <= names

    def test_all_checkpoints_are_kept_if_that_is_wanted(
        self, stored, memory, tmp_path, monkeypatch
    ):
        run = Run(URL, str(tmp_path))
        monkeypatch.setattr(remote, "_runs", [run])
        toy_training.train(run.path, 4, max_checkpoints_to_keep=0)
        run.send()
        for step in (1, 2, 3, 4):
            assert parts(f"model.ckpt-{step}") <= list_stored(memory)

    def test_the_store_is_whole_wherever_an_upload_ends(
        self, memory, tmp_path, monkeypatch
    ):
        run = Run(URL, str(tmp_path / "first"))
        monkeypatch.setattr(remote, "_runs", [run])
        options = {"max_checkpoints_to_keep": 1, "seed": 1}
        card = RunCard.from_spec(
            toy_training.make_spec(image_size=8, preprocessing_name="toy")
        )
        toy_training.train(run.path, 1, card=card, **options)
        run.send()
        toy_training.train(run.path, 2, card=card, **options)
        stored, local = dict(memory.store), tmp_path / "local"
        shutil.copytree(tmp_path / "first", local)
        with failing_after(monkeypatch, 1000) as everything:
            run.send()
        assert parts("model.ckpt-1") <= set(everything)
        steps = []
        for count in range(len(everything) + 1):
            memory.store.clear()
            memory.store.update(stored)
            root = tmp_path / f"here-{count}"
            shutil.copytree(local, root)
            here = Run(URL, str(root))
            with (
                failing_after(monkeypatch, count) as done,
                contextlib.suppress(RemoteError),
            ):
                here.send()
            assert done == everything[:count]
            there = Run(URL, str(tmp_path / f"there-{count}"))
            newest = checkpoint.find_newest(there.path)
            steps.append(newest.step)
            assert checkpoint_state.read(there.path)[-1].endswith(f"-{newest.step}")
            assert RunCard.load(there.path).seed == 1
            # The machine that was interrupted sends the rest.
            Run(URL, str(root)).send()
            assert list_stored(memory) >= parts("model.ckpt-2")
            assert not list_stored(memory) & parts("model.ckpt-1")
        assert steps == sorted(steps)
        assert set(steps) == {1, 2}

    def test_what_an_interrupted_upload_left_is_removed(self, stored, memory, tmp_path):
        for name in parts("model.ckpt-9"):
            memory.pipe_file(f"/bucket/run/{name}", b"half")
        run = Run(URL, str(tmp_path))
        assert set(checkpoint.list_steps(run.path)) == {3}
        run.send()
        assert not parts("model.ckpt-9") & list_stored(memory)
        assert parts("model.ckpt-1") <= list_stored(memory)

    def test_an_interrupted_start_fetches_the_rest(self, stored, tmp_path, monkeypatch):
        real_fetch = Store.fetch

        def fetch(self, name, size, target):
            if name == "checkpoint":
                raise RemoteError("unplugged")
            real_fetch(self, name, size, target)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "fetch", fetch)
            with pytest.raises(RemoteError, match="unplugged"):
                Run(URL, str(tmp_path))
        run = Run(URL, str(tmp_path))
        assert checkpoint.find_newest(run.path).step == 3

    def test_a_failed_upload_names_the_local_copy(self, stored, tmp_path, monkeypatch):
        run = Run(URL, str(tmp_path))
        toy_training.train(run.path, 4)
        with failing_after(monkeypatch, 2), pytest.raises(RemoteError) as caught:
            run.send()
        assert str(caught.value).startswith("unplugged Nothing is lost: the run is ")
        assert repr(str(tmp_path)) in str(caught.value)
        assert checkpoint.find_newest(run.path).step == 4

    def test_two_machines_do_not_mix_their_runs(self, stored, tmp_path):
        one = Run(URL, str(tmp_path / "one"))
        other = Run(URL, str(tmp_path / "other"))
        toy_training.train(one.path, 4)
        one.send()
        toy_training.train(other.path, 5)
        with pytest.raises(RemoteError, match="was changed by another process"):
            other.send()
        assert Run(URL, str(tmp_path / "new")).path
        assert checkpoint.find_newest(other.path).step == 5

    def test_a_copy_that_was_overtaken_is_put_aside(self, stored, tmp_path, caplog):
        one = Run(URL, str(tmp_path / "one"))
        toy_training.train(one.path, 4)  # And is killed.
        other = Run(URL, str(tmp_path / "other"))
        toy_training.train(other.path, 5)
        other.send()
        again = Run(URL, str(tmp_path / "one"))
        assert checkpoint.find_newest(again.path).step == 5
        assert f"{URL} was continued elsewhere" in caplog.text
        (aside,) = tmp_path.glob("one.*")
        kept = os.path.join(aside, os.path.relpath(one.path, tmp_path / "one"))
        assert checkpoint.find_newest(kept).step == 4
