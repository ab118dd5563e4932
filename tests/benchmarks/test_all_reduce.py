"""The measurement of all-reduce: what it makes of its numbers."""

import socket
import types

import pytest

from benchmarks import all_reduce


def test_received_bytes_are_counted():
    with (
        socket.create_server(("localhost", 0)) as server,
        socket.create_connection(server.getsockname()) as own,
        server.accept()[0] as peer,
    ):
        before = all_reduce.count_received_bytes()
        own.sendall(b"x" * 1000)
        peer.recv(1000, socket.MSG_WAITALL)
        assert all_reduce.count_received_bytes() == before + 1000


def test_shares_are_those_within_a_repetition():
    names = ["one number", "one by one", "4 MB"]
    job = types.SimpleNamespace(
        collectives=dict.fromkeys(names, 3), gradients=7, bytes=100
    )
    # The machine is half as fast in the last repetition.
    alone = {"one number": [1, 1, 2], "one by one": [4, 4, 8], "4 MB": [1, 1, 2]}
    steps = {"computing only": [6, 6, 12], "one by one": [12, 12, 24]}
    steps["4 MB"] = [8, 8, 16]
    received = {name: [10.0, 10.0, 12.0] for name in names}
    result = all_reduce.summarize(job, 2, (alone, steps, received))
    assert (result["workers"], result["gradients"], result["bytes"]) == (2, 7, 100)
    assert result["computing_ms"] == 6000
    rows = result["rows"]
    assert list(rows) == names and "share" not in rows["one number"]
    assert rows["4 MB"]["over_one_by_one"] == 0.25
    assert rows["4 MB"]["share"] == 0.25 and rows["one by one"]["share"] == 0.5
    assert rows["4 MB"]["added_ms"] == 2000
    assert rows["4 MB"]["received_mb"] == pytest.approx(10e-6)
