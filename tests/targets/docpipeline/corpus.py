"""Makes the PDF corpus of the load test, the same bytes for the same seed.

    cd tests/targets
    python -m docpipeline.corpus OUT [--seed N] [--set demo|full]

`demo` is small and quick, `full` has more than 50 distinct documents from about 100 KB to over 10 MB. Both hold
files that the upload must refuse. `OUT/corpus.json` lists every file with its pages, kind, bytes, SHA-256 and the
status that `POST /upload` must answer.
"""

import argparse
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from . import drawing

PAINTERS: dict[str, drawing.Painter] = {
    "text": drawing.text,
    "columns": drawing.columns,
    "table": drawing.table,
    "image": drawing.picture,
    "mixed": drawing.mixed,
    "formula_code": drawing.formula_code,
    "rotated": drawing.rotated,
    "scan": drawing.scan,
}

DEMO = [
    ("text", 1),
    ("text", 10),
    ("text", 110),
    ("columns", 1),
    ("columns", 50),
    ("table", 1),
    ("table", 10),
    ("image", 1),
    ("mixed", 1),
    ("mixed", 10),
    ("formula_code", 1),
    ("rotated", 1),
    ("scan", 1),
    ("scan", 3),
]
FULL = [
    *((kind, pages) for kind in PAINTERS if kind != "scan" for pages in (1, 1, 2, 5, 10, 50, 110)),
    *(("scan", pages) for pages in (1, 1, 2, 5, 10, 40)),
]
SETS = {"demo": DEMO, "full": FULL}


@dataclass(frozen=True, slots=True)
class Entry:
    file: str
    kind: str
    pages: int
    bytes: int
    sha256: str
    expected_status: int


def generate(out: Path, *, seed: int, which: str) -> list[Entry]:
    """Write the files of a set and the manifest into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (kind, pages) in enumerate(SETS[which], start=1):
        name = f"{number:03d}_{kind}_{pages}p.pdf"
        content = render(kind, pages, random.Random(f"{seed}/{name}"))
        entries.append(_save(out, name, kind, pages, content, 202))
    for name, kind, content, status in _refused(random.Random(f"{seed}/refused")):
        entries.append(_save(out, name, kind, 0, content, status))
    manifest = {"seed": seed, "set": which, "documents": [asdict(entry) for entry in entries]}
    (out / "corpus.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return entries


def render(kind: str, pages: int, rng: random.Random, *, password: str | None = None) -> bytes:
    encryption = StandardEncryption(password, strength=128) if password else None
    # `invariant` leaves out the date and every other trace of this run.
    canvas = Canvas("", pagesize=A4, pageCompression=1, invariant=1, encrypt=encryption)
    for number in range(pages):
        if number == 0:
            drawing.letterhead(canvas, rng)
        PAINTERS[kind](canvas, rng)
        canvas.showPage()
    return canvas.getpdfdata()


def _refused(rng: random.Random) -> Iterator[tuple[str, str, bytes, int]]:
    whole = render("text", 5, rng)
    yield "900_truncated.pdf", "truncated", whole[: len(whole) // 2], 422
    yield "901_garbage.pdf", "garbage", b"%PDF-1.7\n" + rng.randbytes(60_000) + b"\n%%EOF\n", 422
    yield "902_encrypted.pdf", "encrypted", render("text", 2, rng, password="secret"), 422
    yield "903_plain.txt", "not_pdf", b"Minutes of the meeting, which are no PDF.\n" * 500, 415
    yield "904_picture.pdf", "not_pdf", b"\x89PNG\r\n\x1a\n" + rng.randbytes(20_000), 415
    yield "905_empty.pdf", "not_pdf", b"", 415


def _save(out: Path, name: str, kind: str, pages: int, content: bytes, status: int) -> Entry:
    (out / name).write_bytes(content)
    return Entry(name, kind, pages, len(content), hashlib.sha256(content).hexdigest(), status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="docpipeline.corpus", description="Make the PDF corpus of the load test.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", dest="which", choices=SETS, default="demo")
    arguments = parser.parse_args()
    entries = generate(arguments.out, seed=arguments.seed, which=arguments.which)
    print(f"{len(entries)} files, {sum(entry.bytes for entry in entries) / 1e6:.1f} MB in {arguments.out}")


if __name__ == "__main__":
    main()
