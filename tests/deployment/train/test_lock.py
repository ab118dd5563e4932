"""Only one process trains in a folder."""

import errno
import fcntl
import os
import signal
import socket

import pytest

from deployment.train import lock


def try_to_hold(folder):
    with lock.hold(str(folder)):
        return True


def test_a_second_process_is_told_who_trains_there(tmp_path):
    said = f"process {os.getpid()} on {socket.gethostname()} since 20..-.*--train_dir"
    with (
        lock.hold(str(tmp_path)),
        pytest.raises(ValueError, match=f"trains in '{tmp_path}': {said}"),
    ):
        try_to_hold(tmp_path)
    assert try_to_hold(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with lock.hold(str(tmp_path)):
                os.write(writer, b".")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    with pytest.raises(ValueError, match=f"process {child} on"):
        try_to_hold(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    assert try_to_hold(tmp_path)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert try_to_hold(tmp_path)
    assert "cannot be locked (No locks available)" in caplog.text


def test_remote_folders_are_not_locked():
    assert try_to_hold("gs://bucket/run")
