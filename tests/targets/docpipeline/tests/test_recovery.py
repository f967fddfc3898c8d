"""Documents that were cut off go on from their last checkpoint."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .conftest import Server


def _stages_run(server: Server, doc: str) -> list[int]:
    lines = [json.loads(line) for line in server.stage_log.read_text().splitlines()]
    return [line["stage"] for line in lines if line["doc"] == doc]


def test_resume_runs_only_what_is_missing(start_server: Callable[..., Server], documents: dict[str, Path]) -> None:
    server = start_server(FAIL_STAGE="reading_order")
    doc = server.accept(documents["mixed"])
    server.wait_for(doc, "failed")
    assert server.get(f"/documents/{doc}").json()["error"].startswith("reading_order")
    assert _stages_run(server, doc) == list(range(1, 9))
    server.stop()

    server.start()
    assert server.get(f"/documents/{doc}").json()["status"] == "failed"
    resumed = server.post("/resume", doc=doc)
    assert (resumed.status_code, resumed.json()["from_stage"]) == (202, 9)
    server.wait_for(doc, "done")
    assert _stages_run(server, doc) == list(range(1, 16))
    assert server.get("/export/json", doc=doc).json()["blocks"]
    again = server.post("/resume", doc=doc)
    assert (again.status_code, again.json()["started"]) == (200, False)


def test_a_lost_checkpoint_is_made_again(start_server: Callable[..., Server], documents: dict[str, Path]) -> None:
    server = start_server(FAIL_STAGE="assemble")
    doc = server.accept(documents["text"])
    server.wait_for(doc, "failed")
    server.checkpoint(doc, 12).unlink()
    server.stop()
    server.start()
    assert server.post("/resume", doc=doc).json()["from_stage"] == 12
    server.wait_for(doc, "done")
    assert len(server.get("/checkpoints", doc=doc).json()["checkpoints"]) == 15


def test_a_stop_leaves_the_rest_for_the_next_start(
    start_server: Callable[..., Server], documents: dict[str, Path]
) -> None:
    server = start_server(WORKERS="1")
    docs = [server.accept(documents["mixed"]) for _ in range(4)]
    server.stop()
    finished_before = {doc: _stages_run(server, doc) for doc in docs}
    assert any(len(stages) < 15 for stages in finished_before.values()), "the stop came too late to test anything"
    with closing(sqlite3.connect(server.database)) as database:
        states = dict(database.execute("SELECT id, status FROM documents"))
    assert states == {doc: "done" if len(finished_before[doc]) == 15 else "interrupted" for doc in docs}
    server.start(RESUME_AT_START="1")
    for doc in docs:
        server.wait_for(doc, "done")
        assert _stages_run(server, doc) == list(range(1, 16))


def test_after_a_crash_the_documents_can_be_resumed(
    start_server: Callable[..., Server], documents: dict[str, Path]
) -> None:
    server = start_server(WORKERS="1")
    docs = [server.accept(documents["mixed"]) for _ in range(4)]
    server.kill()
    server.start()
    states = [server.get(f"/documents/{doc}").json()["status"] for doc in docs]
    assert set(states) - {"done"}, "the crash came too late to test anything"
    for doc in docs:
        server.post("/resume", doc=doc)
        server.wait_for(doc, "done")


def test_two_workers_share_the_work_and_the_database(
    start_server: Callable[..., Server], documents: dict[str, Path]
) -> None:
    server = start_server("--workers", "2")
    pids = set(server.worker_pids())
    docs = [server.accept(documents["text"]) for _ in range(8)]
    for doc in docs:
        server.wait_for(doc, "done")
        assert _stages_run(server, doc) == list(range(1, 16))
    workers = {json.loads(line)["pid"] for line in server.stage_log.read_text().splitlines()}
    assert workers <= pids
