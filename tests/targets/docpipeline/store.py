"""Documents and stages in SQLite (WAL): one connection per thread, shared by all worker processes.

Every write is a `BEGIN IMMEDIATE` transaction, so that a wait for the lock happens at its begin and an
optimistic-lock check cannot be overtaken between its read and its write.
"""

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUSY_TIMEOUT_S = 5.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    id          TEXT PRIMARY KEY,
    filename    TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    pages       INTEGER NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('queued', 'processing', 'interrupted', 'failed', 'done')),
    stages_done INTEGER NOT NULL DEFAULT 0,
    error       TEXT,
    owner       INTEGER,
    created_at  REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS stages (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    doc      TEXT NOT NULL REFERENCES documents (id),
    stage    INTEGER NOT NULL,
    version  INTEGER NOT NULL DEFAULT 1,
    seconds  REAL NOT NULL,
    edited   TEXT,
    worker   INTEGER NOT NULL,
    UNIQUE (doc, stage)
);
"""

Row = dict[str, Any]


class VersionConflict(Exception):
    """The edit was based on a version of the stage that is no longer the newest."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the stage is at version {current}")
        self.current = current


class Store:
    def __init__(self, database: Path) -> None:
        self._database = database
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._opened_lock = threading.Lock()
        # SQLite does not call its busy handler while a fresh database turns to WAL: workers that start
        # together take turns instead.
        with open(f"{database}.init", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            connection = self._connection()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._opened_lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def add_document(self, doc: str, filename: str, size: int, pages: int) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO documents (id, filename, bytes, pages, status, created_at)"
                " VALUES (?, ?, ?, ?, 'queued', ?)",
                (doc, filename, size, pages, time.time()),
            )

    def document(self, doc: str) -> Row | None:
        row = self._connection().execute("SELECT * FROM documents WHERE id = ?", (doc,)).fetchone()
        return dict(row) if row else None

    def documents(self, limit: int) -> list[Row]:
        rows = self._connection().execute(
            "SELECT id, filename, pages, status, stages_done FROM documents ORDER BY created_at DESC LIMIT ?",
            (limit,),
        )
        return [dict(row) for row in rows]

    def unfinished(self) -> list[str]:
        rows = self._connection().execute("SELECT id FROM documents WHERE status != 'done' ORDER BY created_at")
        return [row["id"] for row in rows]

    def claim(self, doc: str) -> bool:
        """Make this process the one that works on `doc`; false if another live one does or nothing is left."""
        with self._transaction() as db:
            row = db.execute("SELECT status, owner FROM documents WHERE id = ?", (doc,)).fetchone()
            if row is None or row["status"] == "done" or _is_alive_elsewhere(row["owner"]):
                return False
            db.execute(
                "UPDATE documents SET status = 'processing', error = NULL, owner = ? WHERE id = ?",
                (os.getpid(), doc),
            )
        return True

    def release(self, doc: str, status: str, error: str | None = None) -> None:
        with self._transaction() as db:
            db.execute(
                "UPDATE documents SET status = ?, error = ?, owner = NULL WHERE id = ?",
                (status, error, doc),
            )

    def finish_stage(self, doc: str, stage: int, seconds: float, *, last: bool) -> None:
        """Record a stage, and with the last one that the document is done."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO stages (doc, stage, seconds, worker) VALUES (?, ?, ?, ?)",
                (doc, stage, seconds, os.getpid()),
            )
            db.execute("UPDATE documents SET stages_done = ? WHERE id = ?", (stage, doc))
            if last:
                db.execute("UPDATE documents SET status = 'done', owner = NULL WHERE id = ?", (doc,))

    def edit_stage(
        self, doc: str, stage: int, version: int, elements: list[Row], write_checkpoint: Callable[[int], None]
    ) -> int:
        """Save an edit made on `version`, give the new version.

        The checkpoint is rewritten before the commit: under the write lock an older edit can never
        overwrite a newer one's file.
        """
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE stages SET version = version + 1, edited = ? WHERE doc = ? AND stage = ? AND version = ?",
                (json.dumps(elements, ensure_ascii=False), doc, stage, version),
            )
            if changed.rowcount == 0:
                row = db.execute("SELECT version FROM stages WHERE doc = ? AND stage = ?", (doc, stage)).fetchone()
                raise VersionConflict(row["version"])
            write_checkpoint(version + 1)
        return version + 1

    def newest_stage(self) -> int:
        row = self._connection().execute("SELECT COALESCE(MAX(seq), 0) AS seq FROM stages").fetchone()
        return row["seq"]

    def stages_of_others(self, after: int) -> list[Row]:
        """Stages that other worker processes finished since `after`, oldest first."""
        rows = self._connection().execute(
            "SELECT seq, doc, stage, seconds FROM stages WHERE seq > ? AND worker != ? ORDER BY seq",
            (after, os.getpid()),
        )
        return [dict(row) for row in rows]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # check_same_thread is off only so that close() may run on the main thread.
            connection = sqlite3.connect(
                self._database, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            self._local.connection = connection
            with self._opened_lock:
                self._opened.append(connection)
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _is_alive_elsewhere(pid: int | None) -> bool:
    if pid is None or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
