"""Progress over the WebSocket."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from .conftest import Server


def _until_last_stage(socket: websocket.WebSocket, doc: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while not messages or (messages[-1]["doc"], messages[-1].get("stage")) != (doc, 15):
        messages.append(json.loads(socket.recv()))
    return messages


@contextmanager
def _paused(worker: int) -> Iterator[None]:
    """Everything that connects meanwhile is served by the other worker."""
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def test_a_subscriber_to_all_sees_every_stage_once_in_order(shared_server: Server, documents: dict[str, Path]) -> None:
    socket = shared_server.socket()
    assert json.loads(socket.recv()) == {"type": "snapshot", "doc": None}
    doc = shared_server.accept(documents["text"])
    stages = [message for message in _until_last_stage(socket, doc) if message["doc"] == doc]
    assert [message["stage"] for message in stages] == list(range(1, 16))
    assert all(message["status"] == "done" and message["seconds"] > 0 for message in stages)
    assert all(message["sent_ns"] < time.monotonic_ns() for message in stages)
    # Who hears of the last stage can export at once.
    assert shared_server.get("/export/md", doc=doc).status_code == 200
    socket.close()


def test_a_subscriber_to_one_document_sees_no_other(shared_server: Server, documents: dict[str, Path]) -> None:
    wanted = shared_server.accept(documents["mixed"])
    socket = shared_server.socket(wanted)
    other = shared_server.accept(documents["text"])
    messages = [json.loads(socket.recv())]
    assert messages[0]["type"] == "snapshot"
    if messages[0]["status"] != "done":
        messages += _until_last_stage(socket, wanted)
    assert {message["doc"] for message in messages} == {wanted}
    # Nothing is missing between the snapshot and the messages after it, and nothing comes twice but one
    # stage that ended while the snapshot was taken.
    first = messages[0]["stages_done"] + 1
    assert [message["stage"] for message in messages[1:]][-(16 - first) :] == list(range(first, 16))
    shared_server.wait_for(other, "done")
    socket.close()


def test_ping_is_answered(shared_server: Server) -> None:
    socket = shared_server.socket()
    socket.recv()
    socket.send("ping")
    assert socket.recv() == "pong"
    socket.close()


def test_a_failure_is_told(start_server: Callable[..., Server], documents: dict[str, Path]) -> None:
    server = start_server(FAIL_STAGE="layout")
    socket = server.socket()
    socket.recv()
    doc = server.accept(documents["text"])
    messages = [json.loads(socket.recv()) for _ in range(7)]
    assert (messages[-1]["doc"], messages[-1]["stage"], messages[-1]["status"]) == (doc, 7, "failed")
    socket.close()


def test_progress_crosses_from_worker_to_worker(
    start_server: Callable[..., Server], documents: dict[str, Path]
) -> None:
    server = start_server("--workers", "2")
    one, other = server.worker_pids()
    with _paused(one):
        socket = server.socket()
        assert json.loads(socket.recv())["type"] == "snapshot"
    with _paused(other):
        doc = server.accept(documents["text"])
    assert [message["stage"] for message in _until_last_stage(socket, doc)] == list(range(1, 16))
    socket.close()


def test_an_open_socket_does_not_hold_up_the_end(start_server: Callable[..., Server]) -> None:
    server = start_server()
    sockets = [server.socket() for _ in range(3)]
    start = time.monotonic()
    server.stop()
    assert time.monotonic() - start < 5
    for socket in sockets:
        socket.close()
