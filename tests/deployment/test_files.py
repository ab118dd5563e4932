"""Files are replaced atomically and durably, and errors name the final file."""

import contextlib
import errno
import os

import pytest

from deployment import files
from tf_slim_compat import tf


@pytest.fixture
def events(monkeypatch):
    """What was synced and renamed, in order, as (what, name)."""
    found, descriptors = [], {}

    def record(place, name, note):
        original = getattr(place, name)

        def recording(*args, **kwargs):
            result = original(*args, **kwargs)
            note(result, *args)
            return result

        monkeypatch.setattr(place, name, recording)

    def note_open(descriptor, path, *_):
        descriptors[descriptor] = os.path.basename(path)

    record(os, "open", note_open)
    record(os, "fsync", lambda _, number: found.append(("sync", descriptors[number])))
    record(
        tf.gfile,
        "Rename",
        lambda _, source, *rest: found.append(("rename", os.path.basename(source))),
    )
    return found


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, events):
    folder = tmp_path / "run"
    folder.mkdir()
    replaced = [("sync", ".a.partial"), ("rename", ".a.partial"), ("sync", "run")]
    files.write_text(f"{folder}/a", "é\n")
    files.write_bytes(f"{folder}/a", b"b")
    assert events == replaced * 2 and (folder / "a").read_bytes() == b"b"
    events.clear()
    files.append_text(f"{folder}/log", "1\n")
    files.append_text(f"{folder}/log", "2\n")
    files.append_text(f"{folder}/log", "3\n", is_durable=False)
    assert events == [("sync", "log"), ("sync", "run"), ("sync", "log")]
    assert files.read_text(f"{folder}/log") == "1\n2\n3\n"
    events.clear()
    with files.replacing(f"{folder}/model") as partial:
        os.makedirs(f"{partial}/variables")
        files.write_text(f"{partial}/variables/index", "1")
        events.clear()
    assert [name for _, name in events[:2]] == ["index", "variables"]
    assert events[-2:] == [("rename", ".model.partial"), ("sync", "run")]
    events.clear()
    files.rename(f"{folder}/a", f"{folder}/b")
    files.rename(f"{folder}/b", f"{folder}/a", is_durable=False)
    assert events == [("rename", "a"), ("sync", "run"), ("rename", "b")]


def test_a_folder_cannot_be_lost_between_two_renames(tmp_path, monkeypatch):
    path = tmp_path / "best"

    def write(content):
        with files.replacing(str(path)) as partial:
            os.mkdir(partial)
            files.write_text(f"{partial}/model", content)

    write("1")
    rename = tf.gfile.Rename
    for is_killed in (True, False):
        with monkeypatch.context() as patch:
            names = []

            def fail(source, target, overwrite=False, names=names, is_killed=is_killed):
                names.append(os.path.basename(source))
                if names[-1] == ".best.partial":
                    if is_killed:  # Nothing is cleaned up after a kill.
                        patch.setattr(files, "recover", lambda path: None)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rename(source, target, overwrite)

            patch.setattr(tf.gfile, "Rename", fail)
            with pytest.raises(OSError, match="best' cannot be written: No space left"):
                write("2")
        assert path.exists() != is_killed
        if is_killed:
            assert len(os.listdir(tmp_path)) == 2
            files.recover(str(path))
        assert os.listdir(tmp_path) == ["best"]
        assert (path / "model").read_text() == "1"
    write("3")
    assert os.listdir(tmp_path) == ["best"] and (path / "model").read_text() == "3"


def test_errors_name_the_final_file_and_what_failed_first(tmp_path, monkeypatch):
    path = str(tmp_path / "run.json")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*_, **__):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Not permitted")

    for place, name, work, match in (
        (os, "fsync", lambda: files.write_text(path, "x"), "written: No space left"),
        (os, "fsync", lambda: files.append_text(path, "x"), "written: No space left"),
        (os, "fsync", lambda: files.sync(path), "written: No space left"),
        (tf.gfile, "Rename", lambda: files.write_text(path, "x"), "written: Not perm"),
        (tf.gfile, "Remove", lambda: files.remove(path), "removed: Not permitted"),
        (tf.gfile, "Open", lambda: files.read_text(path), "read: Not permitted"),
        (tf.gfile, "MakeDirs", lambda: files.make_folder(path), "created: Not perm"),
    ):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        (tmp_path / "run.json").write_text("old")
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full if name == "fsync" else refuse)
            if name == "Rename":  # A failing cleanup does not hide the first error.
                patch.setattr(tf.gfile, "Remove", full)
            with pytest.raises(OSError, match=f"{path}' cannot be {match}"):
                work()
    with (
        pytest.raises(FileNotFoundError, match="missing.png"),
        files.replacing(path) as partial,
    ):
        open(f"{tmp_path}/missing.png").close()  # The fault of another file.
    assert not os.path.exists(partial)
    (tmp_path / "run.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="run.json' is damaged .*decode"):
        files.read_text(path)


def test_folders_that_cannot_be_synced_are_left_alone(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    files.write_text(str(tmp_path / "a"), "1")
    assert (tmp_path / "a").read_text() == "1"
