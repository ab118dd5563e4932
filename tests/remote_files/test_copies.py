"""Tests of local copies of remote folders."""

import os

import fsspec
import pytest

from remote_files import copies
from remote_files.copies import Copy
from remote_files.store import RemoteError


@pytest.fixture(autouse=True)
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe_file("/b/run/a", b"content of a")
    system.pipe_file("/b/run/best/b", b"content of b")
    return system


def read(copy, name):
    with open(copy.get_path(name), "rb") as file:
        return file.read()


def test_files_are_fetched_once(tmp_path, fetched):
    copy = Copy("memory://b/run", str(tmp_path))
    copy.fetch()
    assert read(copy, "best/b") == b"content of b"
    assert sorted(fetched) == ["a", "best/b"]
    again = Copy("memory://b/run/", str(tmp_path))
    again.fetch()
    assert again.folder == copy.folder
    assert len(fetched) == 2


def test_changed_and_damaged_files_are_fetched_again(tmp_path, fetched, memory):
    copy = Copy("memory://b/run", str(tmp_path))
    copy.fetch()
    fetched.clear()
    memory.pipe_file("/b/run/a", b"CONTENT OF A")
    with open(copy.get_path("best/b"), "wb") as file:
        file.write(b"half")
    copy.fetch()
    assert sorted(fetched) == ["a", "best/b"]
    assert read(copy, "a") == b"CONTENT OF A"
    assert read(copy, "best/b") == b"content of b"


def test_what_was_fetched_before_an_error_stays(tmp_path, fetched, monkeypatch, memory):
    monkeypatch.setattr(copies, "_THREADS", 1)
    copy = Copy("memory://b/run", str(tmp_path))
    listing = copy.store.list()
    memory.rm_file("/b/run/best/b")
    with pytest.raises(RemoteError, match="memory://b/run/best/b' cannot be fetched"):
        copy.fetch(listing)
    fetched.clear()
    memory.pipe_file("/b/run/best/b", b"content of b")
    Copy("memory://b/run", str(tmp_path)).fetch()
    assert fetched == ["best/b"]


def test_a_damaged_list_of_what_is_known_is_ignored(tmp_path, fetched):
    copy = Copy("memory://b/run", str(tmp_path))
    copy.fetch()
    (tmp_path / "known.json").write_text('{"a": [')
    Copy("memory://b/run", str(tmp_path)).fetch()
    assert len(fetched) == 4


def test_files_that_are_no_longer_listed_are_removed(tmp_path, memory):
    copy = Copy("memory://b/run", str(tmp_path))
    copy.fetch()
    with open(copy.get_path("own"), "wb") as file:
        file.write(b"not fetched")
    memory.rm_file("/b/run/a")
    copy.prune(copy.store.list())
    assert not os.path.exists(copy.get_path("a"))
    assert os.path.exists(copy.get_path("best/b"))
    assert os.path.exists(copy.get_path("own"))


def test_only_changed_files_are_sent(tmp_path, memory):
    copy = Copy("memory://b/run", str(tmp_path))
    copy.fetch()
    copy.stand_in("large", copy.store.list()["a"])
    assert copy.list_changed() == []
    for name in ("a", "best/c", ".hidden", ".partial/d"):
        path = copy.get_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(f"new content of {name}")
    assert copy.list_changed() == ["a", "best/c"]
    copy.send("best/c")
    assert memory.cat_file("/b/run/best/c") == b"new content of best/c"
    assert copy.list_changed() == ["a"]


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(
        copies.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 20})
    )
    copy = Copy("memory://b/run", str(tmp_path))
    with pytest.raises(RemoteError, match="set XDG_CACHE_HOME to a folder on a larger"):
        copy.fetch()
