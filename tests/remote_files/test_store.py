"""Tests of access to remote files, and of the sentences about what fails."""

import builtins

import fsspec
import pytest
import s3_server

import remote_files
from remote_files import store
from remote_files.store import RemoteError, Store


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """An empty store in memory, and no waiting."""
    monkeypatch.setattr(store, "_RETRY_AFTER_SECS", (0, 0))
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server.serve(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture(params=["memory://b/run", "file://{}/run", "s3://bucket/run"])
def url(request, tmp_path):
    if request.param.startswith("s3"):
        request.getfixturevalue("s3")
    return request.param.format(tmp_path)


def test_files_are_sent_listed_fetched_and_removed(url, tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"content")
    folder = Store(url)
    sent = folder.send(str(source), "best/a")
    assert folder.list() == {"best/a": sent}
    assert folder.list(depth=1) == {}
    assert folder.find("best/a") == sent
    assert folder.find("best") is None
    assert Store(f"{url}/best/a").list() == {"": sent}
    folder.fetch("best/a", 7, str(target))
    assert target.read_bytes() == folder.read("best/a") == b"content"
    source.write_bytes(b"other")
    assert folder.send(str(source), "best/a") != sent
    assert folder.read("best/a") == b"other"
    folder.remove("best/a")
    folder.remove("best/a")
    assert folder.list() == {}
    assert folder.read("best/a") is None


def test_an_interrupted_upload_leaves_the_old_file(tmp_path, monkeypatch):
    source = tmp_path / "source"
    folder = Store(f"file://{tmp_path}/run")
    source.write_text("old")
    folder.send(str(source), "a")
    source.write_text("new")

    def fail(*_):
        raise OSError("unplugged")

    monkeypatch.setattr(store, "_replace", fail)
    with pytest.raises(RemoteError, match="run/a' cannot be written: unplugged"):
        folder.send(str(source), "a")
    assert folder.read("a") == b"old"
    assert list(folder.list()) == ["a"]


def test_a_rename_that_replaces_nothing(memory):
    class NoReplacing:
        rm_file = memory.rm_file

        def mv(self, source, target):
            if memory.exists(target):
                raise FileExistsError(target)
            memory.mv(source, target)

    memory.pipe_file("/c/a", b"old")
    memory.pipe_file("/c/b", b"new")
    store._replace(NoReplacing(), "/c/b", "/c/a")
    assert memory.cat_file("/c/a") == b"new"


def test_an_incomplete_download_leaves_nothing(memory, tmp_path):
    memory.pipe_file("/b/a", b"short")
    with pytest.raises(RemoteError, match="has 5 bytes instead of 9"):
        Store("memory://b").fetch("a", 9, str(tmp_path / "a"))
    assert not list(tmp_path.iterdir())


def test_passing_errors_are_tried_again(memory, monkeypatch):
    memory.pipe_file("/b/a", b"content")
    calls = []

    def cat_file(path):
        calls.append(path)
        if len(calls) < 3:
            raise TimeoutError("too slow")
        return b"content"

    folder = Store("memory://b")
    monkeypatch.setattr(folder._fs, "cat_file", cat_file)
    assert folder.read("a") == b"content"
    assert len(calls) == 3


def test_names_that_lead_out_of_the_folder_are_refused(memory, tmp_path):
    memory.store["/b/../x"] = memory.open("/b/ok", "wb")
    with pytest.raises(RemoteError, match="has a file with the name '../x'"):
        Store("memory://b").list()


def test_hidden_files_and_marks_of_folders_are_not_listed(s3):
    s3.put("hidden/", b"")
    s3.put("hidden/.partial", b"1")
    s3.put("hidden/.git/a", b"1")
    s3.put("hidden/a", b"1")
    assert list(Store("s3://bucket/hidden").list()) == ["a"]


def test_a_listing_of_ten_thousand_objects(s3, caplog):
    for number in range(10_000):
        s3.put(f"many/x-{number:05d}", b"1")
    with caplog.at_level("INFO", "werkzeug"):
        listing = Store("s3://bucket/many").list()
    assert len(listing) == 10_000
    assert listing["x-09999"].size == 1
    # A thousand objects a request; at most one more to find that there are no others.
    assert 10 <= len([r for r in caplog.records if r.name == "werkzeug"]) <= 11


@pytest.mark.parametrize(
    "url, said",
    [
        ("abc://b/x", "has the unknown scheme abc://: give a local path, or one that"),
        ("gs://b/x", "needs another package: pip install gcsfs."),
    ],
)
def test_unknown_schemes_and_missing_packages(url, said, monkeypatch):
    hide_package(monkeypatch, "gcsfs")
    with pytest.raises(ValueError) as caught:
        Store(url)
    assert str(caught.value).startswith(f"'{url}' ")
    assert said in str(caught.value)


def test_without_fsspec(monkeypatch):
    hide_package(monkeypatch, "fsspec")
    with pytest.raises(ValueError, match=r"needs the package fsspec: pip install -e"):
        Store("memory://b")


def hide_package(monkeypatch, hidden):
    real_import = builtins.__import__

    def find(name, *args, **options):
        if name.split(".")[0] == hidden:
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", find)


def test_missing_credentials(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3_server.forget_connections()
    with pytest.raises(RemoteError) as caught:
        Store("s3://bucket/run").list()
    assert str(caught.value) == (
        "'s3://bucket/run' cannot be listed: there are no credentials for it (Unable "
        "to locate credentials): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE."
    )
    s3_server.forget_connections()


def test_a_missing_bucket(s3):
    with pytest.raises(RemoteError, match="The specified bucket does not exist"):
        Store("s3://none/run").list()


def test_denied_access(s3):
    with s3.denying(), pytest.raises(RemoteError, match="listed: access is denied"):
        Store("s3://bucket/run").list()


def test_a_server_that_is_gone(s3):
    with s3.stopped(), pytest.raises(RemoteError, match="Could not connect to"):
        Store("s3://bucket/run").list()


def test_urls_replace_local_folders_in_text(monkeypatch):
    monkeypatch.setattr(remote_files, "_urls", {})
    assert remote_files.to_urls("/a/s3/b/run") == "/a/s3/b/run"
    remote_files.set_url("/a/s3/b/run", "s3://b/run")
    remote_files.set_url("/a/s3/b", "s3://b")
    text = "Wrote '/a/s3/b/run/x.pb' and /a/s3/b/run. /a/s3/b/run-2 /a/s3/bc"
    assert remote_files.to_urls(text) == (
        "Wrote 's3://b/run/x.pb' and s3://b/run. s3://b/run-2 /a/s3/bc"
    )


@pytest.mark.parametrize(
    "path, expected",
    [("s3://b/x", True), ("/a/b", False), ("a:b", False), ("", False), (None, False)],
)
def test_what_is_remote(path, expected):
    assert remote_files.is_remote(path) == expected
