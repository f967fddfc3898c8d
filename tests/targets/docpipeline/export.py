"""The assembled blocks as Markdown, JSON or HTML; a block that an edit left incomplete shows as a paragraph."""

import html
import json
from collections.abc import Callable
from typing import Any

Block = dict[str, Any]
Renderer = Callable[[list[Block]], str]


def to_markdown(blocks: list[Block]) -> str:
    return "\n\n".join(_markdown_block(block) for block in blocks) + "\n"


def to_json(blocks: list[Block]) -> str:
    return json.dumps({"blocks": blocks}, ensure_ascii=False)


def to_html(blocks: list[Block]) -> str:
    body = "\n".join(_html_block(block) for block in blocks)
    head = "<head><meta charset='utf-8'><title>Export</title></head>"
    return f"<!doctype html>\n<html>{head}<body>\n{body}\n</body></html>\n"


RENDERERS: dict[str, tuple[Renderer, str]] = {
    "md": (to_markdown, "text/markdown; charset=utf-8"),
    "json": (to_json, "application/json"),
    "html": (to_html, "text/html; charset=utf-8"),
}


def _markdown_block(block: Block) -> str:
    match block.get("kind"):
        case "table" if block.get("rows"):
            rows = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in block["rows"]]
            rule = " | ".join("---" for _ in block["rows"][0])
            return "\n".join(f"| {row} |" for row in [*rows[:1], rule, *rows[1:]])
        case "figure":
            return f"*Figure on page {block.get('page')}*"
        case "code" if "text" in block:
            return f"```\n{block['text']}\n```"
        case "formula" if "text" in block:
            return f"$${block['text']}$$"
        case _:
            return str(block.get("text", ""))


def _html_block(block: Block) -> str:
    match block.get("kind"):
        case "table" if block.get("rows"):
            rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in block["rows"])
            return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
        case "figure":
            return f"<figure><figcaption>Figure on page {block.get('page')}</figcaption></figure>"
        case "code" if "text" in block:
            return f"<pre><code>{html.escape(block['text'])}</code></pre>"
        case _:
            return f"<p>{html.escape(str(block.get('text', '')))}</p>"
