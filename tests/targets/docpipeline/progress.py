"""Progress to WebSocket subscribers, also for documents that another worker process runs.

Stages of this process arrive by `publish` at once. Those of other workers are found in the database, which
is asked only while somebody listens.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from anyio import to_thread

from .stages import STAGES
from .store import Store

Message = dict[str, Any]

# A subscriber that does not read loses its oldest messages instead of holding memory.
QUEUE_LIMIT = 256
PEER_POLL_S = 0.25


class Hub:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[asyncio.Queue[Message], str | None] = {}

    @contextlib.contextmanager
    def subscribe(self, doc: str | None) -> Iterator["asyncio.Queue[Message]"]:
        queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_LIMIT)
        self._subscribers[queue] = doc
        try:
            yield queue
        finally:
            del self._subscribers[queue]

    def publish(self, doc: str, stage: int, status: str, seconds: float) -> None:
        """Callable from any thread."""
        # A stage may end while the loop is closing; then nobody listens any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, doc, stage, status, seconds)

    async def follow_peers(self) -> None:
        """Deliver the stages that other workers finish; runs until cancelled."""
        seen = await to_thread.run_sync(self._store.newest_stage)
        while True:
            await asyncio.sleep(PEER_POLL_S)
            if not self._subscribers:
                continue
            for row in await to_thread.run_sync(self._store.stages_of_others, seen):
                self._deliver(row["doc"], row["stage"], "done", row["seconds"])
                seen = row["seq"]

    def _deliver(self, doc: str, stage: int, status: str, seconds: float) -> None:
        message: Message = {
            "type": "progress",
            "doc": doc,
            "stage": stage,
            "name": STAGES[stage - 1].name,
            "status": status,
            "seconds": round(seconds, 6),
            "sent_ns": time.monotonic_ns(),
        }
        for queue, wanted in self._subscribers.items():
            if wanted in (None, doc):
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(message)
