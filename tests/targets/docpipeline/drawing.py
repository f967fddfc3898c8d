"""Draws the pages of the corpus: each painter fills one A4 page from a random source that the caller seeds.

Painters know nothing of files, sets or manifests; those are in `corpus.py`.
"""

import io
import random
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

Painter = Callable[[Canvas, random.Random], None]

WIDTH, HEIGHT = A4
MARGIN = 56.0
LEADING = 13.0
SCAN_DPI = 100

WORDS = (
    "pipeline document checkpoint stage layout table reading order figure region contract invoice annex section "
    "measure latency queue worker commit page scan margin column header footer value total amount clause party "
    "review version conflict export archive retention policy signature date reference the of and with under over"
).split()
CODE_LINES = (
    "def transition(stage: int) -> int:",
    "    if stage > 15:",
    "        return stage",
    "    for block in page.blocks:",
    "        order.append(block.bbox)",
    "while (i < n) { sum += cells[i]; i++; }",
    "import numpy as np",
    "class Checkpoint:",
)
FORMULA_LINES = (
    "E = m c^2 + \\frac{1}{2} m v^2",
    "\\sum_{i=1}^{n} x_i = n (n + 1) / 2",
    "f(x) = a x^2 + b x + c",
    "\\int_0^1 \\sqrt{1 - t^2} dt = \\pi / 4",
    "p = 1 - (1 - q)^n",
)


def text(canvas: Canvas, rng: random.Random) -> None:
    _heading(canvas, rng)
    _paragraphs(canvas, rng, MARGIN, HEIGHT - 100, WIDTH - 2 * MARGIN, 52)


def columns(canvas: Canvas, rng: random.Random) -> None:
    _heading(canvas, rng)
    width = (WIDTH - 2 * MARGIN - 24) / 2
    for x in (MARGIN, MARGIN + width + 24):
        _paragraphs(canvas, rng, x, HEIGHT - 100, width, 52)


def table(canvas: Canvas, rng: random.Random) -> None:
    _heading(canvas, rng)
    _grid(canvas, rng, MARGIN, HEIGHT - 110, rows=14, columns=5)
    _paragraphs(canvas, rng, MARGIN, HEIGHT - 420, WIDTH - 2 * MARGIN, 14)
    _grid(canvas, rng, MARGIN, HEIGHT - 620, rows=6, columns=3)


def picture(canvas: Canvas, rng: random.Random) -> None:
    _heading(canvas, rng)
    canvas.drawImage(_photo(rng, 640), MARGIN, HEIGHT - 480, WIDTH - 2 * MARGIN, 360)
    _paragraphs(canvas, rng, MARGIN, HEIGHT - 510, WIDTH - 2 * MARGIN, 18)


def formula_code(canvas: Canvas, rng: random.Random) -> None:
    _heading(canvas, rng)
    y = HEIGHT - 100
    for _ in range(4):
        y = _paragraphs(canvas, rng, MARGIN, y, WIDTH - 2 * MARGIN, 4) - LEADING
        for font, lines in (("Courier", CODE_LINES), ("Times-Italic", FORMULA_LINES)):
            canvas.setFont(font, 10)
            for line in rng.sample(lines, 4):
                canvas.drawString(MARGIN + 24, y, line)
                y -= LEADING
            y -= LEADING


def mixed(canvas: Canvas, rng: random.Random) -> None:
    """Two columns, a small picture in one and a table below both."""
    _heading(canvas, rng)
    width = (WIDTH - 2 * MARGIN - 24) / 2
    _paragraphs(canvas, rng, MARGIN, HEIGHT - 100, width, 30)
    canvas.drawImage(_photo(rng, 280), MARGIN + width + 24, HEIGHT - 300, width, 190)
    _paragraphs(canvas, rng, MARGIN + width + 24, HEIGHT - 320, width, 13)
    _grid(canvas, rng, MARGIN, HEIGHT - 530, rows=9, columns=4)


def rotated(canvas: Canvas, rng: random.Random) -> None:
    canvas.setPageRotation(rng.choice((90, 180, 270)))
    text(canvas, rng)


def scan(canvas: Canvas, rng: random.Random) -> None:
    """A sheet without any text layer: noisy and a little askew."""
    width, height = int(WIDTH / 72 * SCAN_DPI), int(HEIGHT / 72 * SCAN_DPI)
    sheet = Image.new("L", (width, height), 245)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    for y in range(90, height - 90, 22):
        pen.text((80, y), _sentence(rng, 9), fill=30, font=font)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-3, 3), 1)
    askew = cv2.warpAffine(np.asarray(sheet), turn, (width, height), borderValue=245)
    noisy = askew + _numbers(rng).normal(0, 12, askew.shape)
    canvas.drawImage(_jpeg(noisy), 0, 0, WIDTH, HEIGHT)


def letterhead(canvas: Canvas, rng: random.Random) -> None:
    """A picture of about 100 KB across the head of a page: real documents are seldom a few bare kilobytes."""
    canvas.drawImage(_photo(rng, 500), MARGIN, HEIGHT - 50, WIDTH - 2 * MARGIN, 40)


def _heading(canvas: Canvas, rng: random.Random) -> None:
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(MARGIN, HEIGHT - 76, _sentence(rng, 5).title())


def _paragraphs(canvas: Canvas, rng: random.Random, x: float, y: float, width: float, lines: int) -> float:
    """Lines of text with a gap after every few; gives the height below them."""
    canvas.setFont("Helvetica", 10)
    for number in range(lines):
        if number % 7 == 6:
            y -= LEADING
            continue
        line = _sentence(rng, 3)
        while canvas.stringWidth(line) < width - 60:
            line += " " + rng.choice(WORDS)
        canvas.drawString(x, y, line)
        y -= LEADING
    return y


def _grid(canvas: Canvas, rng: random.Random, x: float, y: float, *, rows: int, columns: int) -> None:
    width, height = (WIDTH - 2 * MARGIN) / columns, 20.0
    canvas.grid([x + width * i for i in range(columns + 1)], [y - height * i for i in range(rows + 1)])
    canvas.setFont("Helvetica", 9)
    for row in range(rows):
        for column in range(columns):
            cell = f"{rng.uniform(1, 9999):.2f}" if row and column else rng.choice(WORDS)
            canvas.drawString(x + width * column + 5, y - height * row - 14, cell)


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def _numbers(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(32))


def _photo(rng: random.Random, side: int) -> ImageReader:
    """Soft shapes under grain, which compress about as badly as a photograph."""
    numbers = _numbers(rng)
    shapes = cv2.resize(numbers.uniform(0, 255, (6, 6, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return _jpeg(shapes + numbers.normal(0, 14, shapes.shape))


def _jpeg(pixels: np.ndarray) -> ImageReader:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    buffer.seek(0)
    return ImageReader(buffer)
