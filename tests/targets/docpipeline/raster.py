"""Pictures in, pictures and boxes out: the OpenCV part of the stages, without any state.

Sizes in pixels fit pages of about 144 dpi.
"""

import base64
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Image = NDArray[np.uint8]
PixelBox = tuple[int, int, int, int]

MAX_BLOCKS = 60
# Scanned sheets are a few degrees off; a larger estimate is an artefact of sparse pages.
MIN_SKEW, MAX_SKEW = 0.2, 10.0


def thumbnail(gray: Image, width: int = 48) -> str:
    """A small PNG of the page, in base64."""
    picture = Pillow.fromarray(gray)
    picture.thumbnail((width, 2 * width))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def skew_angle(gray: Image) -> float:
    """Median angle of the text lines, found as long flat blobs of ink."""
    ink = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)[1]
    lines = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((1, 49), np.uint8))
    contours = cv2.findContours(lines, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    angles = []
    for contour in contours:
        _, (width, height), angle = cv2.minAreaRect(contour)
        if max(width, height) > 8 * max(min(width, height), 8):
            long_side = angle if width > height else angle + 90
            # Releases of OpenCV differ in the range of the angle.
            angles.append((long_side + 90) % 180 - 90)
    angle = float(np.median(angles)) if angles else 0.0
    return round(angle, 2) if MIN_SKEW <= abs(angle) <= MAX_SKEW else 0.0


def rotate(gray: Image, degrees: float) -> Image:
    if degrees == 0:
        return gray
    height, width = gray.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(gray, turn, (width, height), borderValue=255)


def denoise(gray: Image) -> Image:
    return cv2.fastNlMeansDenoising(gray, None, h=12, templateWindowSize=3, searchWindowSize=7)


def noise(gray: Image, clean: Image) -> float:
    return float(cv2.absdiff(gray, clean).mean())


def binarize(gray: Image) -> Image:
    return cv2.adaptiveThreshold(gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 61, 15)


def blocks(ink: Image) -> list[PixelBox]:
    """Boxes (x, y, width, height) of what stands close together: paragraphs, tables, figures."""
    joined = cv2.dilate(ink, np.ones((19, 23), np.uint8))
    stats = cv2.connectedComponentsWithStats(joined)[2][1:]
    large = stats[stats[:, cv2.CC_STAT_AREA] > 600]
    largest_first = large[np.argsort(-large[:, cv2.CC_STAT_AREA], kind="stable")]
    return [_box(row[:4]) for row in largest_first[:MAX_BLOCKS]]


def tables(ink: Image) -> list[PixelBox]:
    """Boxes of the ruled grids: connected lines with at least four crossings."""
    across, down = _rules(ink)
    grid = cv2.dilate(cv2.bitwise_or(across, down), np.ones((5, 5), np.uint8))
    crossings = cv2.bitwise_and(across, down)
    found = []
    for contour in cv2.findContours(grid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
        x, y, width, height = cv2.boundingRect(contour)
        corners = cv2.connectedComponents(crossings[y : y + height, x : x + width])[0] - 1
        if corners >= 4:
            found.append(_box((x, y, width, height)))
    return sorted(found, key=lambda box: (box[1], box[0]))


def cells(ink: Image, table: PixelBox) -> list[PixelBox]:
    """Boxes of the cells of one table, row by row."""
    x, y, width, height = table
    across, down = _rules(ink[y : y + height, x : x + width])
    inside = cv2.bitwise_not(cv2.dilate(cv2.bitwise_or(across, down), np.ones((3, 3), np.uint8)))
    stats = cv2.connectedComponentsWithStats(inside, connectivity=4)[2][1:]
    boxes = [
        _box((x + left, y + top, cell_width, cell_height))
        for left, top, cell_width, cell_height, _ in stats
        # What touches the edge of the table lies outside its outer rules.
        if left > 0 and top > 0 and cell_width > 12 and cell_height > 12
    ]
    return sorted(boxes, key=lambda box: (box[1], box[0]))


def _rules(ink: Image) -> tuple[Image, Image]:
    """The horizontal and the vertical lines of a picture, each a little thickened so that they meet."""
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, 60), np.uint8))
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((25, 1), np.uint8))
    thicken = np.ones((5, 5), np.uint8)
    return cv2.dilate(across, thicken), cv2.dilate(down, thicken)


def _box(values: "tuple[int, ...] | NDArray[np.int32]") -> PixelBox:
    """Plain integers, which JSON can take."""
    x, y, width, height = (int(value) for value in values)
    return x, y, width, height
