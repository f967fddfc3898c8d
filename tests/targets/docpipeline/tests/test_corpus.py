"""The manifest of the corpus tells the truth, and the pictures' helpers find what was drawn."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from docpipeline import corpus, raster
from docpipeline.pdf import NotAPdf, UnreadablePdf, check_upload


def test_the_manifest_tells_the_truth(demo_corpus: Path) -> None:
    entries = json.loads((demo_corpus / "corpus.json").read_text())["documents"]
    files = {path.name for path in demo_corpus.iterdir()} - {"corpus.json"}
    assert {entry["file"] for entry in entries} == files
    assert len({entry["sha256"] for entry in entries}) == len(entries)
    for entry in entries:
        path = demo_corpus / entry["file"]
        assert path.stat().st_size == entry["bytes"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        try:
            assert (check_upload(path), 202) == (entry["pages"], entry["expected_status"])
        except NotAPdf:
            assert entry["expected_status"] == 415
        except UnreadablePdf:
            assert entry["expected_status"] == 422


def test_the_demo_set_covers_the_kinds_and_sizes(demo_corpus: Path) -> None:
    entries = json.loads((demo_corpus / "corpus.json").read_text())["documents"]
    assert set(corpus.PAINTERS) | {"truncated", "garbage", "encrypted", "not_pdf"} == {e["kind"] for e in entries}
    assert {1, 10, 50} < {entry["pages"] for entry in entries}
    assert max(entry["pages"] for entry in entries) > 100


def test_the_full_set_has_at_least_50_documents() -> None:
    assert len(corpus.FULL) >= 50


def test_a_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpus.SETS, "demo", [("mixed", 1), ("scan", 1)])
    first, again = (corpus.generate(tmp_path / name, seed=7, which="demo") for name in ("a", "b"))
    other = corpus.generate(tmp_path / "c", seed=8, which="demo")
    assert first == again
    assert not {entry.sha256 for entry in first[:2]} & {entry.sha256 for entry in other[:2]}


@pytest.mark.parametrize("degrees", [-4.0, -1.5, 2.0, 5.0])
def test_deskew_turns_a_page_upright(degrees: float) -> None:
    page = np.full((1000, 800), 255, np.uint8)
    for y in range(150, 850, 40):
        cv2.putText(page, "the quick brown fox jumps", (150, y), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
    askew = raster.rotate(page, degrees)
    assert raster.skew_angle(askew) == pytest.approx(-degrees, abs=0.5)
    assert raster.skew_angle(raster.rotate(askew, raster.skew_angle(askew))) == pytest.approx(0, abs=0.5)


def test_tables_and_their_cells_are_found() -> None:
    ink = np.zeros((1000, 800), np.uint8)
    for x in range(100, 701, 150):
        ink[200:501, x : x + 2] = 255
    for y in range(200, 501, 50):
        ink[y : y + 2, 100:702] = 255
    ink[700:702, 100:700] = 255
    tables = raster.tables(ink)
    assert len(tables) == 1
    assert len(raster.cells(ink, tables[0])) == 4 * 6
