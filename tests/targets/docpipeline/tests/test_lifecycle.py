"""The way of a document from upload to export, and edits on it."""

import hashlib
import html.parser
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docpipeline.stages import STAGES

from .conftest import Server


@pytest.fixture(scope="module")
def finished(shared_server: Server, documents: dict[str, Path]) -> str:
    doc = shared_server.accept(documents["table"])
    shared_server.wait_for(doc, "done")
    return doc


def test_every_stage_leaves_its_checkpoint(shared_server: Server, finished: str) -> None:
    expected = [f"{stage.index:02d}_{stage.name}.json" for stage in STAGES]
    assert len(expected) == 15
    assert shared_server.get("/checkpoints", doc=finished).json()["checkpoints"] == expected
    # The listing above shows finished files only; on disk no temporary one may be left either.
    assert sorted(path.name for path in (shared_server.checkpoints / finished).iterdir()) == expected
    for stage in STAGES:
        content = json.loads(shared_server.checkpoint(finished, stage.index).read_text())
        assert (content["doc"], content["stage"], content["name"]) == (finished, stage.index, stage.name)
        assert shared_server.get(f"/stages/{stage.index}", doc=finished).json() == content


def test_the_stages_do_real_work(shared_server: Server, documents: dict[str, Path], finished: str) -> None:
    def elements(index: int) -> list[dict]:
        return shared_server.get(f"/stages/{index}", doc=finished).json()["elements"]

    assert elements(1)[0]["sha256"] == hashlib.sha256(documents["table"].read_bytes()).hexdigest()
    page = elements(2)[0]
    assert (round(page["width"]), round(page["height"]), page["rotation"]) == (595, 842, 0)
    # The page has a grid of 14 x 5 and one of 6 x 3.
    assert {len(table["cells"]) for table in elements(11)} >= {70, 18}
    assert any("pipeline" in text["text"] or "contract" in text["text"] for text in elements(8))


def test_the_stage_log_tells_the_order(shared_server: Server, finished: str) -> None:
    lines = [json.loads(line) for line in shared_server.stage_log.read_text().splitlines()]
    mine = [line for line in lines if line["doc"] == finished]
    assert [line["stage"] for line in mine] == list(range(1, 16))
    moments = [line[key] for line in mine for key in ("start_ns", "work_end_ns", "end_ns")]
    assert moments == sorted(moments)
    assert moments[-1] < time.monotonic_ns()


def test_exports_are_valid(shared_server: Server, finished: str) -> None:
    markdown = shared_server.get("/export/md", doc=finished)
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert "| --- | --- |" in markdown.text
    blocks = shared_server.get("/export/json", doc=finished).json()["blocks"]
    assert {"paragraph", "table", "figure"} <= {block["kind"] for block in blocks}

    opened: list[str] = []

    class Balance(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    page = shared_server.get("/export/html", doc=finished)
    assert page.headers["content-type"].startswith("text/html")
    Balance().feed(page.text)
    assert opened == []
    assert "<table>" in page.text


def test_an_edit_reaches_checkpoint_and_export(shared_server: Server, finished: str) -> None:
    opened = shared_server.get("/stages/14", doc=finished).json()
    edited = [{"kind": "paragraph", "page": 1, "text": "Changed by hand."}, *opened["elements"]]
    saved = shared_server.put("/stages/14", {"version": opened["version"], "elements": edited}, doc=finished)
    assert saved.json()["version"] == opened["version"] + 1
    on_disk = json.loads(shared_server.checkpoint(finished, 14).read_text())
    assert (on_disk["version"], on_disk["elements"]) == (opened["version"] + 1, edited)
    assert shared_server.get("/export/md", doc=finished).text.startswith("Changed by hand.")


def test_of_two_edits_of_one_version_the_second_is_refused(shared_server: Server, finished: str) -> None:
    opened = shared_server.get("/stages/7", doc=finished).json()
    edit = {"version": opened["version"], "elements": [{"kind": "block", "bbox": [0, 0, 1, 1], "page": 1}]}
    assert shared_server.put("/stages/7", edit, doc=finished).status_code == 200
    refused = shared_server.put("/stages/7", edit, doc=finished)
    assert refused.status_code == 409
    assert refused.json()["detail"]["version"] == opened["version"] + 1


def test_of_many_edits_at_once_exactly_one_wins(shared_server: Server, finished: str) -> None:
    version = shared_server.get("/stages/9", doc=finished).json()["version"]

    def edit(number: int) -> int:
        elements = [{"kind": "order", "page": 1, "texts": [str(number)]}]
        return shared_server.put("/stages/9", {"version": version, "elements": elements}, doc=finished).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(pool.map(edit, range(12)))
    assert statuses == [200] + [409] * 11
    winner = shared_server.get("/stages/9", doc=finished).json()
    assert winner["version"] == version + 1


@pytest.mark.parametrize("kind", ["text", "columns", "image", "mixed", "formula_code", "rotated", "scan"])
def test_every_kind_of_document_gets_through(shared_server: Server, documents: dict[str, Path], kind: str) -> None:
    doc = shared_server.accept(documents[kind])
    shared_server.wait_for(doc, "done")
    if kind == "formula_code":
        found = {element["kind"] for element in shared_server.get("/stages/13", doc=doc).json()["elements"]}
        assert found == {"code", "formula"}
