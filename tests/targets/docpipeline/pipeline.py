"""Runs the stages of documents on a bounded pool of threads, one stage of one document per task.

Documents take turns: after each stage the document queues again behind the others, so a long one cannot
keep the pool to itself. After a stage its checkpoint is in place, then the database says so, then the
progress is published. A document whose process went away goes on from its last checkpoint.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .checkpoints import CheckpointDir, Element
from .config import Settings
from .pdf import Pages
from .stages import BY_NAME, STAGES, Stage
from .store import Store

log = logging.getLogger("docpipeline")

Publish = Callable[[str, int, str, float], None]
"""Document, stage, status (`done` or `failed`) and seconds of a stage that just ended."""


class Job:
    """One document on its way through the stages."""

    def __init__(self, doc: str, pages: Pages, checkpoints: CheckpointDir) -> None:
        self.doc = doc
        self.pages = pages
        self._checkpoints = checkpoints
        self._elements: dict[str, list[Element]] = {}

    def elements(self, stage: str) -> list[Element]:
        if stage not in self._elements:
            checkpoint = self._checkpoints.read(self.doc, BY_NAME[stage].index, stage)
            if checkpoint is None:
                raise LookupError(f"stage {stage} of {self.doc} has no checkpoint")
            self._elements[stage] = checkpoint["elements"]
        return self._elements[stage]

    def keep(self, stage: str, elements: list[Element]) -> None:
        self._elements[stage] = elements


class Pipeline:
    def __init__(self, settings: Settings, store: Store, checkpoints: CheckpointDir, publish: Publish) -> None:
        self._settings = settings
        self._store = store
        self._checkpoints = checkpoints
        self._publish = publish
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="stage")
        self._closing = threading.Event()
        self._running: set[str] = set()
        self._running_lock = threading.Lock()
        self._stage_log = StageLog(settings.stage_log) if settings.stage_log else None

    def start(self, doc: str) -> bool:
        """Queue `doc` from its first unfinished stage; false if it is running or done already."""
        with self._running_lock:
            if doc in self._running:
                return False
            self._running.add(doc)
        pages = Pages(
            self.upload_path(doc),
            max_pages=self._settings.max_pages,
            max_rendered=self._settings.max_rendered,
            dpi=self._settings.dpi,
        )
        job = Job(doc, pages, self._checkpoints)
        if not self._store.claim(doc):
            self._forget(job)
            return False
        self._enqueue(job, STAGES[self.next_stage(doc) - 1])
        return True

    def next_stage(self, doc: str) -> int:
        """Index of the first stage that the database or the checkpoints lack; one past the last if done."""
        row = self._store.document(doc)
        recorded = row["stages_done"] if row else 0
        for stage in STAGES[:recorded]:
            if not self._checkpoints.path(doc, stage.index, stage.name).exists():
                return stage.index
        return recorded + 1

    def upload_path(self, doc: str) -> Path:
        return self._settings.uploads / f"{doc}.pdf"

    def close(self) -> None:
        """Let the stages that run come to their end, leave the rest for a later resume."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for doc in list(self._running):
            self._store.release(doc, "interrupted")
        if self._stage_log:
            self._stage_log.close()

    def _enqueue(self, job: Job, stage: Stage) -> None:
        try:
            self._pool.submit(self._step, job, stage)
        except RuntimeError:
            # The pool is closed: the document stays among the running ones, which close() then marks.
            if not self._closing.is_set():
                raise

    def _step(self, job: Job, stage: Stage) -> None:
        start_ns = time.monotonic_ns()
        last = stage is STAGES[-1]
        try:
            if stage.name == self._settings.fail_stage:
                raise RuntimeError(f"stage {stage.name} fails by request")
            elements = stage.run(job)
            work_end_ns = time.monotonic_ns()
            self._checkpoints.write(job.doc, stage.index, stage.name, 1, elements)
            end_ns = time.monotonic_ns()
            job.keep(stage.name, elements)
            if self._stage_log:
                self._stage_log.write(job.doc, stage, start_ns, work_end_ns, end_ns)
            seconds = (end_ns - start_ns) / 1e9
            self._store.finish_stage(job.doc, stage.index, seconds, last=last)
            self._publish(job.doc, stage.index, "done", seconds)
        except Exception as error:
            log.exception("failed to run stage %s of document %s", stage.name, job.doc)
            self._store.release(job.doc, "failed", f"{stage.name}: {error}")
            self._publish(job.doc, stage.index, "failed", (time.monotonic_ns() - start_ns) / 1e9)
            self._forget(job)
            return
        if last:
            self._forget(job)
        else:
            self._enqueue(job, STAGES[stage.index])

    def _forget(self, job: Job) -> None:
        job.pages.close()
        with self._running_lock:
            self._running.discard(job.doc)


class StageLog:
    """The application's own clock: one JSON line per stage, CLOCK_MONOTONIC in nanoseconds."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, doc: str, stage: Stage, start_ns: int, work_end_ns: int, end_ns: int) -> None:
        line: dict[str, Any] = {
            "doc": doc,
            "stage": stage.index,
            "name": stage.name,
            "start_ns": start_ns,
            "work_end_ns": work_end_ns,
            "end_ns": end_ns,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
        }
        # One write per line on an appending descriptor: lines of several workers do not mix.
        os.write(self._fd, (json.dumps(line) + "\n").encode())

    def close(self) -> None:
        os.close(self._fd)
