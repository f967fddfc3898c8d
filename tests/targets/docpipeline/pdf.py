"""Opening a PDF: what an upload must pass, and the pages of a document while its stages run.

PDFium is not thread-safe: every call into it holds `PDFIUM`, whatever document it belongs to.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import pypdfium2 as pdfium
from pypdfium2 import raw

from . import raster
from .raster import Image, PixelBox

Box = tuple[float, float, float, float]

PDFIUM = threading.Lock()

# The stages run side by side already; OpenCV's own threads would only fight with them.
cv2.setNumThreads(1)


class NotAPdf(Exception):
    """The file is of another type."""


class UnreadablePdf(Exception):
    """The file is a PDF, but damaged or locked by a password."""


def check_upload(path: Path) -> int:
    """Number of pages of an acceptable PDF."""
    with path.open("rb") as file:
        head = file.read(1024)
        file.seek(max(0, path.stat().st_size - 1024))
        tail = file.read()
    if b"%PDF-" not in head:
        raise NotAPdf("the file is not a PDF")
    # PDFium repairs many a truncated file in silence and then lacks pages.
    if b"%%EOF" not in tail:
        raise UnreadablePdf("the file is truncated")
    with PDFIUM:
        try:
            with pdfium.PdfDocument(path) as document:
                pages = len(document)
        except pdfium.PdfiumError as error:
            locked = error.err_code == raw.FPDF_ERR_PASSWORD
            raise UnreadablePdf("the file is protected by a password" if locked else "the file is damaged") from error
    if pages == 0:
        raise UnreadablePdf("the file has no pages")
    return pages


class Pages:
    """The pages of one PDF: rasters and text, each made when first asked for and kept.

    A resumed document therefore needs none of the pictures of the stages it skips to be on disk.
    """

    def __init__(self, path: Path, *, max_pages: int, max_rendered: int, dpi: int) -> None:
        self.path = path
        self._max_pages = max_pages
        self._max_rendered = max_rendered
        self._scale = dpi / 72
        self._document: pdfium.PdfDocument | None = None
        self._rasters: dict[tuple[str, int], Image] = {}
        self._angles: dict[int, float] = {}

    def close(self) -> None:
        self._rasters.clear()
        with PDFIUM:
            if self._document:
                self._document.close()

    @property
    def count(self) -> int:
        with PDFIUM:
            return len(self._open())

    @property
    def read(self) -> range:
        """Pages whose text is read."""
        return range(min(self.count, self._max_pages))

    @property
    def rendered(self) -> range:
        """Pages that are looked at as pictures."""
        return range(min(self.count, self._max_rendered))

    def pdf_version(self) -> int | None:
        with PDFIUM:
            return self._open().get_version()

    def geometry(self, page: int) -> tuple[float, float, int]:
        with self._page(page) as opened:
            return *opened.get_size(), opened.get_rotation()

    def text(self, page: int) -> str:
        with self._page(page) as opened:
            return opened.get_textpage().get_text_range()

    def texts_in(self, page: int, boxes: Sequence[PixelBox]) -> list[str]:
        """The text inside each of the boxes, which are in pixels from the upper left corner."""
        with self._page(page) as opened:
            height = opened.get_height()
            reader = opened.get_textpage()
            scale = self._scale
            return [
                reader.get_text_bounded(x / scale, height - (y + h) / scale, (x + w) / scale, height - y / scale)
                for x, y, w, h in boxes
            ]

    def embedded_images(self, page: int) -> list[Box]:
        """Bounds of the images of a page, in points: left, bottom, right, top."""
        with self._page(page) as opened:
            images = opened.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE])
            return [image.get_bounds() for image in images]

    def gray(self, page: int) -> Image:
        return self._raster("gray", page, self._render)

    def skew(self, page: int) -> float:
        """Angle in degrees by which the page is turned off the upright."""
        if page not in self._angles:
            self._angles[page] = raster.skew_angle(self.gray(page))
        return self._angles[page]

    def upright(self, page: int) -> Image:
        return self._raster("upright", page, lambda at: raster.rotate(self.gray(at), self.skew(at)))

    def clean(self, page: int) -> Image:
        return self._raster("clean", page, lambda at: raster.denoise(self.upright(at)))

    def ink(self, page: int) -> Image:
        """White where the page has ink; the pictures before it are let go, as many documents wait at once."""
        ink = self._raster("ink", page, lambda at: raster.binarize(self.clean(at)))
        for kind in ("gray", "upright", "clean"):
            self._rasters.pop((kind, page), None)
        return ink

    def _raster(self, kind: str, page: int, make: Callable[[int], Image]) -> Image:
        if (kind, page) not in self._rasters:
            self._rasters[kind, page] = make(page)
        return self._rasters[kind, page]

    def _render(self, page: int) -> Image:
        with self._page(page) as opened:
            bitmap = opened.render(scale=self._scale, grayscale=True)
            return bitmap.to_numpy().reshape(bitmap.height, bitmap.width).copy()

    @contextmanager
    def _page(self, page: int) -> Iterator[pdfium.PdfPage]:
        with PDFIUM:
            opened = self._open()[page]
            try:
                yield opened
            finally:
                opened.close()

    def _open(self) -> pdfium.PdfDocument:
        if self._document is None:
            self._document = pdfium.PdfDocument(self.path)
        return self._document
