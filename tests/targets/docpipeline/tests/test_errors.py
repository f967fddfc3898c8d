"""What the server refuses, and with which status."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from docpipeline.app import create_app
from docpipeline.config import Settings

from .conftest import Server


@pytest.mark.parametrize(
    ("kind", "status"), [("truncated", 422), ("garbage", 422), ("encrypted", 422), ("not_pdf", 415)]
)
def test_bad_files_are_refused_and_leave_nothing(
    shared_server: Server, documents: dict[str, Path], kind: str, status: int
) -> None:
    before = (sorted(shared_server.uploads.iterdir()), shared_server.get("/documents").json())
    assert shared_server.upload(documents[kind]).status_code == status
    assert (sorted(shared_server.uploads.iterdir()), shared_server.get("/documents").json()) == before


def test_the_reason_of_a_refusal_is_told(shared_server: Server, documents: dict[str, Path]) -> None:
    assert "password" in shared_server.upload(documents["encrypted"]).json()["detail"]
    assert "truncated" in shared_server.upload(documents["truncated"]).json()["detail"]


def test_too_large_a_file_is_refused(shared_server: Server, demo_corpus: Path) -> None:
    large = next(path for path in demo_corpus.glob("*.pdf") if path.stat().st_size > 1 << 20)
    assert shared_server.upload(large).status_code == 413


@pytest.mark.parametrize("path", ["/stages/1", "/checkpoints", "/export/md"])
def test_an_unknown_document_is_not_found(shared_server: Server, path: str) -> None:
    assert shared_server.get(path, doc=uuid.uuid4().hex).status_code == 404


def test_unknown_names_are_not_found(shared_server: Server, documents: dict[str, Path]) -> None:
    doc = shared_server.accept(documents["text"])
    shared_server.wait_for(doc, "done")
    assert shared_server.get("/stages/0", doc=doc).status_code == 404
    assert shared_server.get("/stages/16", doc=doc).status_code == 404
    assert shared_server.get("/export/docx", doc=doc).status_code == 404
    assert shared_server.get(f"/documents/{uuid.uuid4().hex}").status_code == 404
    assert shared_server.post("/resume", doc=uuid.uuid4().hex).status_code == 404


def test_what_is_not_ready_is_too_early(start_server: Callable[..., Server], documents: dict[str, Path]) -> None:
    server = start_server(FAIL_STAGE="denoise")
    doc = server.accept(documents["text"])
    server.wait_for(doc, "failed")
    assert server.get("/stages/4", doc=doc).status_code == 200
    assert server.get("/stages/5", doc=doc).status_code == 425
    assert server.put("/stages/5", {"version": 1, "elements": []}, doc=doc).status_code == 425
    assert server.get("/export/json", doc=doc).status_code == 425


def test_an_edit_without_version_is_malformed(shared_server: Server, documents: dict[str, Path]) -> None:
    doc = shared_server.accept(documents["text"])
    shared_server.wait_for(doc, "done")
    assert shared_server.put("/stages/7", {"elements": []}, doc=doc).status_code == 422


def test_debug_routes_exist_only_on_demand(shared_server: Server, tmp_path: Path) -> None:
    settings = Settings(database=tmp_path / "db", uploads=tmp_path, checkpoints=tmp_path)
    assert not [path for path in create_app(settings).openapi()["paths"] if path.startswith("/debug")]
    assert shared_server.get("/debug/status/503").status_code == 503
    start = time.monotonic()
    assert shared_server.get("/debug/block", ms="200").json() == {"blocked_ms": 200}
    assert time.monotonic() - start >= 0.2


def test_a_blocked_loop_holds_up_everybody(shared_server: Server) -> None:
    blocker = threading.Thread(target=shared_server.get, args=("/debug/block",), kwargs={"ms": "500"})
    blocker.start()
    slowest = 0.0
    while blocker.is_alive():
        start = time.monotonic()
        assert shared_server.get("/health").ok
        slowest = max(slowest, time.monotonic() - start)
    # The loop stood still for 0.5 s, and at most the moment before the next question was not part of it.
    assert slowest > 0.25
    blocker.join()
