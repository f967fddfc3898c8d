"""The 15 stages, in order: each a function from the document so far to the elements of its checkpoint.

A stage sees the pages and the elements of earlier stages, nothing else; it neither writes files nor knows
the database. What it costs is bounded by the page limits of `Pages`.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from . import raster
from .checkpoints import Element
from .export import RENDERERS
from .pdf import Pages


class Document(Protocol):
    """What a stage may use."""

    @property
    def pages(self) -> Pages: ...

    def elements(self, stage: str) -> list[Element]: ...


@dataclass(frozen=True, slots=True)
class Stage:
    index: int
    name: str
    run: Callable[[Document], list[Element]]


def ingest(doc: Document) -> list[Element]:
    content = doc.pages.path.read_bytes()
    return [
        {
            "kind": "file",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "pdf_version": doc.pages.pdf_version(),
            "pages": doc.pages.count,
        }
    ]


def preflight(doc: Document) -> list[Element]:
    elements = []
    for page in doc.pages.read:
        width, height, rotation = doc.pages.geometry(page)
        elements.append({"kind": "page", "page": page + 1, "width": width, "height": height, "rotation": rotation})
    return elements


def page_render(doc: Document) -> list[Element]:
    elements = []
    for page in doc.pages.rendered:
        gray = doc.pages.gray(page)
        height, width = gray.shape
        elements.append(
            {"kind": "raster", "page": page + 1, "size": [width, height], "thumbnail": raster.thumbnail(gray)}
        )
    return elements


def deskew(doc: Document) -> list[Element]:
    elements = []
    for page in doc.pages.rendered:
        doc.pages.upright(page)
        elements.append({"kind": "skew", "page": page + 1, "degrees": doc.pages.skew(page)})
    return elements


def denoise(doc: Document) -> list[Element]:
    return [
        {
            "kind": "noise",
            "page": page + 1,
            "level": round(raster.noise(doc.pages.upright(page), doc.pages.clean(page)), 3),
        }
        for page in doc.pages.rendered
    ]


def binarize(doc: Document) -> list[Element]:
    return [
        {"kind": "ink", "page": page + 1, "share": round(float(doc.pages.ink(page).mean()) / 255, 5)}
        for page in doc.pages.rendered
    ]


def layout(doc: Document) -> list[Element]:
    return [
        {"kind": "block", "page": page + 1, "bbox": box}
        for page in doc.pages.rendered
        for box in raster.blocks(doc.pages.ink(page))
    ]


def text_extract(doc: Document) -> list[Element]:
    """The text of each block of the rendered pages, and of the other pages as a whole."""
    elements: list[Element] = []
    for page, blocks in _by_page(doc.elements("layout")):
        texts = doc.pages.texts_in(page - 1, [block["bbox"] for block in blocks])
        for block, text in zip(blocks, texts, strict=True):
            elements.append({"kind": "text", "page": page, "bbox": block["bbox"], "text": text.strip()})
    for page in doc.pages.read[len(doc.pages.rendered) :]:
        elements.append({"kind": "text", "page": page + 1, "bbox": None, "text": doc.pages.text(page).strip()})
    return [element for element in elements if element["text"]]


def reading_order(doc: Document) -> list[Element]:
    """Columns from left to right, each from top to bottom; a block that spans the page belongs to the first."""
    widths = {element["page"]: element["size"][0] for element in doc.elements("page_render")}

    def position(text: Element) -> tuple[bool, int]:
        if text["bbox"] is None:
            return False, 0
        x, y, _, _ = text["bbox"]
        return x > widths[text["page"]] / 2, y

    elements = []
    for page, texts in _by_page(doc.elements("text_extract")):
        ordered = sorted(texts, key=position)
        elements.append({"kind": "order", "page": page, "texts": [text["text"] for text in ordered]})
    return elements


def table_detect(doc: Document) -> list[Element]:
    return [
        {"kind": "table", "page": page + 1, "bbox": box}
        for page in doc.pages.rendered
        for box in raster.tables(doc.pages.ink(page))
    ]


def table_cells(doc: Document) -> list[Element]:
    elements = []
    for table in doc.elements("table_detect"):
        page = table["page"]
        boxes = raster.cells(doc.pages.ink(page - 1), table["bbox"])
        texts = doc.pages.texts_in(page - 1, boxes)
        cells = [{"bbox": box, "text": text.strip()} for box, text in zip(boxes, texts, strict=True)]
        elements.append({"kind": "cells", "page": page, "table": table["bbox"], "cells": cells})
    return elements


def figure_detect(doc: Document) -> list[Element]:
    return [
        {"kind": "figure", "page": page + 1, "bounds": [round(edge, 1) for edge in bounds]}
        for page in doc.pages.rendered
        for bounds in doc.pages.embedded_images(page)
    ]


FORMULA = re.compile(r"\\(frac|sum|int|alpha|beta|sqrt)|[=<>^]\s*[\w(]+\s*[+\-*/^]")
CODE = re.compile(r"^\s*(def |class |return |for .+:$|if .+:$|import )|[{};]\s*$")


def formula_code_detect(doc: Document) -> list[Element]:
    elements = []
    for text in doc.elements("text_extract"):
        for line in text["text"].splitlines():
            kind = "code" if CODE.search(line) else "formula" if FORMULA.search(line) else None
            if kind:
                elements.append({"kind": kind, "page": text["page"], "text": line})
    return elements


def assemble(doc: Document) -> list[Element]:
    """The document as blocks in reading order: per page its paragraphs, then tables, figures, code and formulas."""
    blocks = [
        {"kind": "paragraph", "page": page["page"], "text": text}
        for page in doc.elements("reading_order")
        for text in page["texts"]
    ]
    blocks += [
        {"kind": "table", "page": table["page"], "rows": _rows(table["cells"])} for table in doc.elements("table_cells")
    ]
    blocks += [{"kind": "figure", "page": figure["page"], "text": ""} for figure in doc.elements("figure_detect")]
    blocks += doc.elements("formula_code_detect")
    return sorted(blocks, key=lambda block: block["page"])


def export(doc: Document) -> list[Element]:
    """Proof that every format can be made; `GET /export` renders again, because edits may follow."""
    elements = []
    for fmt, (render, _) in RENDERERS.items():
        content = render(doc.elements("assemble")).encode()
        elements.append(
            {"kind": "export", "format": fmt, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        )
    return elements


STAGES: tuple[Stage, ...] = tuple(
    Stage(index, run.__name__, run)
    for index, run in enumerate(
        (
            ingest,
            preflight,
            page_render,
            deskew,
            denoise,
            binarize,
            layout,
            text_extract,
            reading_order,
            table_detect,
            table_cells,
            figure_detect,
            formula_code_detect,
            assemble,
            export,
        ),
        start=1,
    )
)
BY_NAME = {stage.name: stage for stage in STAGES}


def _by_page(elements: list[Element]) -> Iterator[tuple[int, list[Element]]]:
    return ((page, list(group)) for page, group in groupby(elements, key=lambda element: element["page"]))


def _rows(cells: list[Element]) -> list[list[str]]:
    """Cells whose upper edges are within a few pixels stand in one row."""
    rows: list[list[Element]] = []
    for cell in cells:
        if rows and abs(rows[-1][0]["bbox"][1] - cell["bbox"][1]) <= 8:
            rows[-1].append(cell)
        else:
            rows.append([cell])
    return [[cell["text"] for cell in sorted(row, key=lambda cell: cell["bbox"][0])] for row in rows]
