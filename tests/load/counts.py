"""What the load really sent and got, counted exactly and written as JSON at the end of the run.

A request counts once, under its status, when its response was complete; one without a complete response counts
as `no_response`, one that the end of the run cut off as `interrupted`. The file (environment: LOCUST_COUNTS):

    {"schema": "load.counts/1", "started_at", "ended_at",            seconds since the epoch
     "started_ns", "ended_ns",                                       CLOCK_MONOTONIC
     "endpoints": [{"method", "name", "requests", "status": {"200": n}, "classes": {"2xx": n},
                    "failures", "no_response", "interrupted"}],
     "websocket": {"messages_in": {"progress": n}, "messages_out": {"ping": n}, "dropped": n},
     "totals": {"requests", "failures", "no_response", "interrupted"}}

`failures` are complete responses that a check rejected. A WebSocket handshake is `GET /ws` with status 101.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Endpoint:
    status: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    no_response: int = 0
    interrupted: int = 0

    def summary(self) -> dict[str, Any]:
        classes: Counter[str] = Counter()
        for status, requests in self.status.items():
            classes[f"{status // 100}xx"] += requests
        return {
            "requests": self.status.total(),
            "status": {str(status): requests for status, requests in sorted(self.status.items())},
            "classes": dict(sorted(classes.items())),
            "failures": self.failures,
            "no_response": self.no_response,
            "interrupted": self.interrupted,
        }


class Counts:
    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self.messages_in: Counter[str] = Counter()
        self.messages_out: Counter[str] = Counter()
        self.dropped_sockets = 0
        self._started_at = time.time()
        self._started_ns = time.monotonic_ns()

    def endpoint(self, method: str, name: str) -> Endpoint:
        return self._endpoints.setdefault((method, name), Endpoint())

    def write(self, path: Path) -> None:
        endpoints = [
            {"method": method, "name": name, **endpoint.summary()}
            for (method, name), endpoint in sorted(self._endpoints.items(), key=lambda item: item[0][::-1])
        ]
        report = {
            "schema": "load.counts/1",
            "started_at": self._started_at,
            "ended_at": time.time(),
            "started_ns": self._started_ns,
            "ended_ns": time.monotonic_ns(),
            "endpoints": endpoints,
            "websocket": {
                "messages_in": dict(self.messages_in),
                "messages_out": dict(self.messages_out),
                "dropped": self.dropped_sockets,
            },
            "totals": {
                key: sum(endpoint[key] for endpoint in endpoints)
                for key in ("requests", "failures", "no_response", "interrupted")
            },
        }
        path.write_text(json.dumps(report, indent=1) + "\n")


COUNTS = Counts()
