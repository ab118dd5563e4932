"""Finding out whether other processes live."""

import os
import socket
import threading

import numpy as np
import pytest
import worker_threads

from deployment.cluster import LostWorkerError, liveness, servers
from tf_slim_compat import tf


@pytest.fixture(scope="module")
def server():
    """The address of a server for sessions."""
    (port,) = worker_threads.find_free_ports(1)
    return servers.start(
        {"worker": [f"localhost:{port}"]}, "worker", 0, tf.ConfigProto()
    )


@pytest.fixture(scope="module")
def alive(server):
    """The address of a server that answers."""
    return server.removeprefix("grpc://")


@pytest.fixture
def frozen():
    """The address of a process that accepts connections and does nothing else."""
    with socket.create_server(("localhost", 0)) as listener:
        yield f"localhost:{listener.getsockname()[1]}"


@pytest.fixture
def dead():
    (port,) = worker_threads.find_free_ports(1)
    return f"localhost:{port}"


def test_those_that_do_not_answer_are_found(alive, frozen, dead):
    # One that is alive may take long to answer, on a slow machine.
    peers = liveness.Peers({"one": alive, "two": dead})
    assert peers.find_silent(timeout_secs=120) == ["two"]
    assert peers.describe(["two"]) == f"two ({dead})"
    assert liveness.Peers({"one": frozen}).find_silent(timeout_secs=0.5) == ["one"]


def test_a_long_step_is_an_answer(server, alive):
    begun, may_end = threading.Event(), threading.Event()

    def compute():
        begun.set()
        return np.float32(may_end.wait())

    # More than TensorFlow has threads for, so that its own calls would have to wait.
    count = 2 * os.cpu_count()
    with tf.Graph().as_default(), tf.Session(server) as session:
        steps = [tf.py_func(compute, [], tf.float32) for _ in range(count)]
        step = threading.Thread(target=session.run, args=[steps])
        step.start()
        try:
            assert begun.wait(60)
            assert not liveness.Peers({"one": alive}).find_silent(timeout_secs=60)
        finally:
            may_end.set()
            step.join()


def test_waiting_names_those_that_are_missing(alive, dead):
    reports = []
    peers = liveness.Peers({"one": alive, "two": dead})
    assert liveness.wait_until_up(peers, 0.0, reports.append) == ["two"]
    assert liveness.wait_until_up(peers, 0.1, reports.append) == ["two"]
    assert reports == [f"Waiting for two ({dead})."]
    assert (
        liveness.wait_until_up(liveness.Peers({"one": alive}), 0, reports.append) == []
    )


@pytest.mark.parametrize("kind", ["frozen", "dead"])
def test_a_monitor_reports_a_loss(kind, request):
    address = request.getfixturevalue(kind)
    lost = threading.Event()
    peers = liveness.Peers({"two": address})
    monitor = liveness.Monitor(peers, None, lost.set, silence_secs=0.3)
    assert lost.wait(60)
    assert monitor.loss == f"two ({address}) does not answer any more"
    monitor.close()


def test_a_monitor_reports_a_worker_that_hangs(alive):
    lost = threading.Event()
    peers = liveness.Peers({"one": alive})
    monitor = liveness.Monitor(peers, 0.3, lost.set, silence_secs=0.3)
    assert lost.wait(60)
    assert monitor.loss == "No step ended for 0 s, so a worker hangs"
    monitor.close()


def test_a_monitor_is_content_while_all_answer(alive):
    monitor = liveness.Monitor(liveness.Peers({"one": alive}), None, pytest.fail)
    assert monitor.loss is None
    monitor.close()
    assert liveness.find_loss(liveness.Peers({"one": alive}), 0) is None


def test_a_port_that_is_taken_is_an_error(frozen):
    with pytest.raises(ValueError, match=f"No server can be started at {frozen}"):
        servers.start({"worker": [frozen]}, "worker", 0, tf.ConfigProto())


def test_a_lost_worker_ends_the_others(monkeypatch):
    """Worker 2 leaves without a word; the others wait for it in a collective."""
    from deployment.cluster import workers as module

    monkeypatch.setattr(module, "_PATIENCE_SECS", 60.0)
    monkeypatch.setattr(module, "_LINGER_SECS", 0.0)

    def work(workers):
        if workers.index == 2:
            return None
        # As if its process had ended; in this one its server goes on.
        silent = module._name(2)
        monkeypatch.setattr(workers._peers, "find_silent", lambda *_: [silent])
        closing = threading.Timer(0.5, workers.close)
        closing.start()
        try:
            workers.gather([1.0])
        except LostWorkerError as error:
            return str(error)
        finally:
            closing.cancel()

    first, second, _ = worker_threads.run(3, work)
    assert first == second
    assert first.startswith("Worker 2 (localhost:")
    assert "does not answer any more; training cannot go on without it." in first


def test_a_worker_that_is_back_already_ends_the_others(monkeypatch):
    from deployment.cluster import workers as module

    monkeypatch.setattr(module, "_PATIENCE_SECS", 0.0)
    monkeypatch.setattr(module, "_LINGER_SECS", 0.0)

    def work(workers):
        workers.leave()  # All live until here.
        for error, expected in (
            (tf.errors.UnavailableError, LostWorkerError),
            (tf.errors.InvalidArgumentError, tf.errors.InvalidArgumentError),
        ):
            with pytest.raises(expected), workers.communicating():
                raise error(None, None, "Socket closed")
        return True

    assert worker_threads.run(2, work) == [True, True]


def test_a_worker_whose_request_tensorflow_rejects_says_so(monkeypatch):
    from deployment.cluster import workers as module

    monkeypatch.setattr(module, "_LINGER_SECS", 0.0)

    def work(workers):
        workers.leave()  # Both live until here.
        with pytest.raises(LostWorkerError) as caught, workers.communicating():
            raise tf.errors.AbortedError(
                None, None, "The same RunGraph request was received twice. step_id: 3"
            )
        return str(caught.value)

    for index, message in enumerate(worker_threads.run(2, work)):
        assert f"TensorFlow rejected a request of worker {index}, whose" in message
        assert "on every machine again to resume from the last checkpoint." in message
