"""One JSON file per document and stage, `{doc}/{index:02d}_{stage}.json`, never seen half written.

A checkpoint is written under a temporary name in the same directory and renamed into place.
"""

import json
import os
from pathlib import Path
from typing import Any

Element = dict[str, Any]
Checkpoint = dict[str, Any]


class CheckpointDir:
    def __init__(self, root: Path, *, fsync: bool) -> None:
        self._root = root
        self._fsync = fsync

    def path(self, doc: str, index: int, stage: str) -> Path:
        return self._root / doc / f"{index:02d}_{stage}.json"

    def write(self, doc: str, index: int, stage: str, version: int, elements: list[Element]) -> None:
        final = self.path(doc, index, stage)
        final.parent.mkdir(exist_ok=True)
        content: Checkpoint = {
            "doc": doc,
            "stage": index,
            "name": stage,
            "version": version,
            "elements": elements,
        }
        # The process id keeps two workers that write the same stage out of each other's temporary file.
        temporary = final.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False))
            if self._fsync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, final)

    def read(self, doc: str, index: int, stage: str) -> Checkpoint | None:
        try:
            return json.loads(self.path(doc, index, stage).read_bytes())
        except FileNotFoundError:
            return None

    def names(self, doc: str) -> list[str]:
        """File names of the finished checkpoints of a document, in the order of the stages."""
        return sorted(path.name for path in (self._root / doc).glob("*.json"))
