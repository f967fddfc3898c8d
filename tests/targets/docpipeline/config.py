"""Settings of docpipeline, all from the environment; nothing here touches the disk.

Paths            DOCPIPELINE_DB, DOCPIPELINE_UPLOADS, DOCPIPELINE_CHECKPOINTS, DOCPIPELINE_STAGE_LOG
Capacity         DOCPIPELINE_WORKERS (stage threads), DOCPIPELINE_MAX_UPLOAD_MB
Cost of a PDF    DOCPIPELINE_MAX_PAGES (text), DOCPIPELINE_MAX_RENDERED (pictures), DOCPIPELINE_DPI
Switches         DOCPIPELINE_FSYNC, DOCPIPELINE_RESUME_AT_START, DOCPIPELINE_DEBUG  (1 is on)
Fault injection  DOCPIPELINE_FAIL_STAGE (name of a stage that raises)
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    database: Path
    uploads: Path
    checkpoints: Path
    stage_log: Path | None = None
    workers: int = 2
    max_upload_bytes: int = 64 << 20
    max_pages: int = 40
    max_rendered: int = 4
    dpi: int = 144
    fsync: bool = False
    resume_at_start: bool = False
    debug: bool = False
    fail_stage: str | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        # Outside the source tree, so that a run without any setting leaves no litter in a checkout.
        home = Path(tempfile.gettempdir()) / "docpipeline"

        def text(name: str, default: str = "") -> str:
            return env.get(f"DOCPIPELINE_{name}", default)

        def switch(name: str) -> bool:
            return text(name) == "1"

        return cls(
            database=Path(text("DB", str(home / "docpipeline.db"))),
            uploads=Path(text("UPLOADS", str(home / "uploads"))),
            checkpoints=Path(text("CHECKPOINTS", str(home / "checkpoints"))),
            stage_log=Path(text("STAGE_LOG")) if text("STAGE_LOG") else None,
            workers=int(text("WORKERS", "2")),
            max_upload_bytes=int(text("MAX_UPLOAD_MB", "64")) << 20,
            max_pages=int(text("MAX_PAGES", "40")),
            max_rendered=int(text("MAX_RENDERED", "4")),
            dpi=int(text("DPI", "144")),
            fsync=switch("FSYNC"),
            resume_at_start=switch("RESUME_AT_START"),
            debug=switch("DEBUG"),
            fail_stage=text("FAIL_STAGE") or None,
        )

    def make_directories(self) -> None:
        for folder in (self.database.parent, self.uploads, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        if self.stage_log:
            self.stage_log.parent.mkdir(parents=True, exist_ok=True)
