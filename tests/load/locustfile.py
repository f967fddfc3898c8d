"""The load on docpipeline: 60 % viewers, 30 % editors, 10 % uploaders, with the errors that users make.

    DOC_CORPUS=/tmp/corpus LOCUST_COUNTS=/tmp/counts.json locust -f tests/load/locustfile.py \
        --headless --only-summary --host http://127.0.0.1:8000 -u 12 -r 4 -t 30s --stop-timeout 20

Further parameters are in `settings.py`, the format of the counts is in `counts.py`. With `--stop-timeout` every
user finishes the request it is in. Two cores serve 10 to 20 users beside the application.
"""

import json
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import settings
from counts import COUNTS
from locust import between, events, task
from visitor import STOPPING, Check, Message, ProgressSocket, Response, Visitor

FORMATS = ("md", "json", "html")
MEDIA_TYPES = {".pdf": "application/pdf", ".txt": "text/plain"}


class Viewer(Visitor):
    """Keeps a WebSocket open and looks through documents."""

    weight = 6

    progress: ProgressSocket | None = None

    def on_start(self) -> None:
        self.progress = ProgressSocket.open(self)

    def on_stop(self) -> None:
        if self.progress:
            self.progress.close()

    @task(6)
    def look_through_a_document(self) -> None:
        documents = self.known_documents()
        if not documents:
            return
        doc = random.choice(documents)["id"]
        self.wait()
        self.call("GET", "/documents/{id}", id=doc, check=_is_about(doc, "id"))
        for stage in sorted(random.sample(range(1, settings.STAGES + 1), random.randint(1, 4))):
            self.wait()
            # A document that is still in work answers "too early" for what is to come.
            check = _is_about(doc, "doc")
            self.call("GET", "/stages/{id}", id=stage, query={"doc": doc}, expect=(200, 425), check=check)

    @task(2)
    def export(self) -> None:
        doc = self.finished_document()
        if doc:
            self.wait()
            _export(self, doc, random.choice(FORMATS))

    @task(2)
    def ping(self) -> None:
        if self.progress:
            self.progress.ping()

    @task(1)
    def look_at_something_missing(self) -> None:
        self.call("GET", "/documents/{id}", id=uuid.uuid4().hex, expect=(404,))

    @task(1)
    def reconnect(self) -> None:
        is_lost = self.progress is None or not self.progress.is_open
        if is_lost or random.random() < settings.RECONNECTS:
            if self.progress:
                self.progress.close()
            self.progress = ProgressSocket.open(self)


class Editor(Visitor):
    """Opens a stage, thinks, saves; now and then on a version that somebody else has changed."""

    weight = 3

    @task
    def edit_a_stage(self) -> None:
        doc = self.finished_document()
        if doc is None:
            return
        stage = random.randint(1, settings.STAGES)
        opened = self._open(doc, stage)
        if opened is None:
            return
        self.wait()
        # Two editors may well have opened the same version.
        saved = self._save(doc, stage, opened, expect=(200, 409))
        if random.random() < settings.STALE_EDITS:
            self.wait()
            self._save(doc, stage, opened, expect=(409,))
        if saved.status_code == 409:
            self.wait()
            opened = self._open(doc, stage)
            if opened:
                self._save(doc, stage, opened, expect=(200, 409))

    def _open(self, doc: str, stage: int) -> dict[str, Any] | None:
        response = self.call("GET", "/stages/{id}", id=stage, query={"doc": doc}, check=_is_about(doc, "doc"))
        return response.json() if response.status_code == 200 else None

    def _save(self, doc: str, stage: int, opened: dict[str, Any], expect: tuple[int, ...]) -> Response:
        elements = opened["elements"]
        if elements:
            random.choice(elements)["reviewed_at"] = round(time.time(), 3)
        edit = {"version": opened["version"], "elements": elements}
        return self.call("PUT", "/stages/{id}", id=stage, query={"doc": doc}, expect=expect, json=edit)


class Uploader(Visitor):
    """Sends documents of the corpus, waits for their stages, checks what came of them."""

    weight = 1
    wait_time = between(*settings.UPLOAD_PAUSE_S)

    @task
    def upload(self) -> None:
        wanted = random.random() >= settings.BAD_UPLOADS
        entry = random.choice([entry for entry in CORPUS if (entry["expected_status"] == 202) == wanted])
        body, content_type = _multipart(entry["file"])
        status = entry["expected_status"]
        headers = {"Content-Type": content_type}
        response = self.call("POST", "/upload", expect=(status,), data=body, headers=headers)
        if response.status_code != 202:
            return
        doc = response.json()["id"]
        wait = self._follow if random.random() < 0.5 else self._poll
        if not self._record_completion(wait, doc):
            return
        self.call("GET", "/checkpoints", query={"doc": doc}, check=_has_all_checkpoints)
        for fmt in FORMATS:
            _export(self, doc, fmt)
        # Nothing is left to resume.
        self.call("POST", "/resume", query={"doc": doc}, check=_did_not_start)

    def _record_completion(self, wait: Callable[[str, float], str | None], doc: str) -> bool:
        start = time.perf_counter()
        status = wait(doc, start + settings.COMPLETE_S)
        if status is None and STOPPING.is_set():
            return False
        problem = None if status == "done" else f"the document is {status or 'not done in time'}"
        self.record("PIPELINE", "upload to done", time.perf_counter() - start, problem)
        return status == "done"

    def _poll(self, doc: str, deadline: float) -> str | None:
        """Ask until the document is done or failed; None if time is up or the run ends."""
        while time.perf_counter() < deadline:
            response = self.call("GET", "/documents/{id}", id=doc, check=_is_about(doc, "id"))
            status = response.json()["status"] if response.status_code == 200 else None
            if status in ("done", "failed"):
                return status
            if STOPPING.wait(random.uniform(0.3, 0.9)):
                break
        return None

    def _follow(self, doc: str, deadline: float) -> str | None:
        """The same by the document's own WebSocket."""
        outcome: list[str] = []

        def listen(message: Message) -> None:
            ends = message["type"] == "snapshot" or message["stage"] == settings.STAGES or message["status"] == "failed"
            if ends and message["status"] in ("done", "failed"):
                outcome.append(message["status"])

        progress = ProgressSocket.open(self, doc, listen)
        if progress is None:
            return None
        try:
            while not outcome and time.perf_counter() < deadline and not STOPPING.wait(0.05):
                pass
        finally:
            progress.close()
        return outcome[0] if outcome else None


def _export(user: Visitor, doc: str, fmt: str) -> None:
    def check(response: Response) -> str | None:
        if fmt == "json":
            return None if "blocks" in response.json() else "the JSON has no blocks"
        if fmt == "html":
            return None if response.content.rstrip().endswith(b"</html>") else "the HTML has no end"
        return None if "text/markdown" in response.headers["content-type"] else "not Markdown"

    user.call("GET", "/export/{fmt}", id=fmt, query={"doc": doc}, check=check)


def _is_about(doc: str, key: str) -> Check:
    """A check that a response names the document, without parsing what may be a long one."""
    wanted = f'"{key}":"{doc}"'.encode()

    def check(response: Response) -> str | None:
        return None if response.status_code != 200 or wanted in response.content else f"it is not about {doc}"

    return check


def _has_all_checkpoints(response: Response) -> str | None:
    numbers = [int(name[:2]) for name in response.json()["checkpoints"]]
    return None if numbers == list(range(1, settings.STAGES + 1)) else f"the checkpoints are {numbers}"


def _did_not_start(response: Response) -> str | None:
    return "a finished document was started again" if response.json()["started"] else None


def _multipart(file: str) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    media_type = MEDIA_TYPES[Path(file).suffix]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    content = (settings.CORPUS / file).read_bytes()
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


CORPUS: list[dict[str, Any]] = json.loads((settings.CORPUS / "corpus.json").read_text())["documents"]


@events.test_stopping.add_listener
def _stop_waiting(**_: Any) -> None:
    STOPPING.set()


@events.test_stop.add_listener
def _write_counts(**_: Any) -> None:
    # The users have ended by now: nothing changes any more.
    if settings.COUNTS_FILE:
        COUNTS.write(Path(settings.COUNTS_FILE))
