"""A server in a process of its own, and a corpus, for the tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from docpipeline import corpus

TARGETS = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting until {what}"
        time.sleep(0.05)


class Server:
    """uvicorn with docpipeline; `stop` and `start` again keep the data."""

    def __init__(self, home: Path, *arguments: str, **settings: str) -> None:
        self.database = home / "docpipeline.db"
        self.checkpoints = home / "checkpoints"
        self.uploads = home / "uploads"
        self.stage_log = home / "stages.jsonl"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.start(**settings)

    def start(self, **settings: str) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "DOCPIPELINE_DB": str(self.database),
            "DOCPIPELINE_UPLOADS": str(self.uploads),
            "DOCPIPELINE_CHECKPOINTS": str(self.checkpoints),
            "DOCPIPELINE_STAGE_LOG": str(self.stage_log),
            # Pictures are what costs; that of one page is enough to run every stage.
            "DOCPIPELINE_MAX_RENDERED": "1",
            **{f"DOCPIPELINE_{name}": value for name, value in settings.items()},
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "docpipeline.app:app", "--port", str(port), *self._arguments],
            cwd=TARGETS,
            env=os.environ | environment,
        )
        wait_until(self._answers, "the server answers")

    def stop(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        # uvicorn alone ends by the signal again, as a shell expects; its supervisor of workers with 0.
        assert self._process.wait(DEADLINE_S) in (0, -signal.SIGTERM)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def worker_pids(self) -> list[int]:
        """Of a server with two workers, once both of them answer."""
        pids: set[int] = set()

        def both_answer() -> bool:
            pids.add(self.get("/health").json()["pid"])
            return len(pids) == 2

        wait_until(both_answer, "both workers answer")
        return sorted(pids)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(self.url + path, params=query, timeout=DEADLINE_S)

    def put(self, path: str, body: Any, **query: str) -> requests.Response:
        return requests.put(self.url + path, params=query, json=body, timeout=DEADLINE_S)

    def post(self, path: str, **query: str) -> requests.Response:
        return requests.post(self.url + path, params=query, timeout=DEADLINE_S)

    def upload(self, path: Path) -> requests.Response:
        with path.open("rb") as file:
            return requests.post(self.url + "/upload", files={"file": (path.name, file)}, timeout=DEADLINE_S)

    def accept(self, path: Path) -> str:
        response = self.upload(path)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def wait_for(self, doc: str, status: str) -> None:
        wait_until(lambda: self.get(f"/documents/{doc}").json()["status"] == status, f"{doc} is {status}")

    def checkpoint(self, doc: str, index: int) -> Path:
        return next((self.checkpoints / doc).glob(f"{index:02d}_*.json"))

    def socket(self, doc: str | None = None) -> websocket.WebSocket:
        query = f"?doc={doc}" if doc else ""
        # Less than the 20 s between the server's pings, each of which would start the time anew.
        return websocket.create_connection(f"ws{self.url[4:]}/ws{query}", timeout=DEADLINE_S / 2)

    def _answers(self) -> bool:
        assert self.is_running, "the server ended at its start"
        try:
            return self.get("/health").ok
        except requests.ConnectionError:
            return False


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: str, **settings: str) -> Server:
        servers.append(Server(tmp_path, *arguments, **settings))
        return servers[-1]

    yield start
    for server in servers:
        if server.is_running:
            server.stop()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that leave it as it was."""
    server = Server(tmp_path_factory.mktemp("shared"), DEBUG="1", MAX_UPLOAD_MB="1")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def demo_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    corpus.generate(folder, seed=1, which="demo")
    return folder


@pytest.fixture(scope="session")
def documents(demo_corpus: Path) -> dict[str, Path]:
    """One file of each kind, the smallest."""
    entries = json.loads((demo_corpus / "corpus.json").read_text())["documents"]
    by_kind: dict[str, Path] = {}
    for entry in sorted(entries, key=lambda entry: entry["bytes"], reverse=True):
        by_kind[entry["kind"]] = demo_corpus / entry["file"]
    return by_kind


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
