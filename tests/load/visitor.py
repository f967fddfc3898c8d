"""A user of the pipeline: requests under their route's name, a WebSocket, and both counted exactly."""

import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import gevent
import geventhttpclient.client
import websocket
from gevent.event import Event
from locust import FastHttpUser, between
from locust.contrib.fasthttp import ResponseContextManager
from locust.exception import StopUser

import settings
from counts import COUNTS

Response = ResponseContextManager
Message = dict[str, Any]
Check = Callable[[Response], str | None]
"""Says what is wrong with a response of the expected status, or None."""

STOPPING = Event()
"""Set when the run ends. From then on no request begins: Locust's own way to end a user that thinks may hit it just
as it wakes up and sends the next one."""

# The client sends a GET or PUT again when the connection broke. The server may have counted the first.
geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


class Visitor(FastHttpUser):
    abstract = True
    wait_time = between(*settings.THINK_S)
    max_retries = 0
    max_redirects = 0
    concurrency = 1

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        # Every status is a response here; which ones are right, each call says itself.
        self.client.client.valid_response_codes = frozenset(range(100, 600))

    def call(
        self,
        method: str,
        route: str,
        *,
        id: object = None,
        query: dict[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
        check: Check | None = None,
        **body: Any,
    ) -> Response:
        """Send one request to `route`, whose one parameter is `id`, and judge the response."""
        path = route if id is None else f"{route[: route.index('{')]}{id}"
        if query:
            path += "?" + urlencode(query)
        _stop_if_the_run_ends()
        endpoint = COUNTS.endpoint(method, route)
        try:
            pending = self.client.request(method, path, name=route, catch_response=True, **body)
        except gevent.GreenletExit:
            endpoint.interrupted += 1
            raise
        with pending as response:
            if response.request_meta["exception"] is not None:
                endpoint.no_response += 1
                return response
            endpoint.status[response.status_code] += 1
            if response.status_code not in expect:
                problem: str | None = f"status {response.status_code}, expected {' or '.join(map(str, expect))}"
            else:
                problem = check(response) if check else None
            if problem:
                endpoint.failures += 1
                response.failure(problem)
            else:
                response.success()
        return response

    def known_documents(self) -> list[dict[str, Any]]:
        response = self.call("GET", "/documents")
        return response.json() if response.status_code == 200 else []

    def finished_document(self) -> str | None:
        """Any of the newest documents that are through all stages."""
        done = [row["id"] for row in self.known_documents() if row["status"] == "done"]
        return random.choice(done) if done else None

    def record(self, kind: str, name: str, seconds: float, problem: str | None = None) -> None:
        """Put something that is not an HTTP request into Locust's own statistics."""
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=RuntimeError(problem) if problem else None,
            context={},
        )


class ProgressSocket:
    """A WebSocket on `/ws` with a greenlet that reads it all the time, as a browser does."""

    @classmethod
    def open(
        cls, user: Visitor, doc: str | None = None, on_message: Callable[[Message], None] | None = None
    ) -> "ProgressSocket | None":
        """Connect, for one document or for all; None, and counted, if the server refused."""
        _stop_if_the_run_ends()
        host = user.host or user.environment.host
        url = host.rstrip("/").replace("http", "ws", 1) + "/ws" + (f"?{urlencode({'doc': doc})}" if doc else "")
        endpoint = COUNTS.endpoint("GET", "/ws")
        start = time.perf_counter()
        socket, problem = None, None
        try:
            socket = websocket.create_connection(url, timeout=30)
            endpoint.status[101] += 1
        except gevent.GreenletExit:
            endpoint.interrupted += 1
            raise
        except websocket.WebSocketBadStatusException as refusal:
            endpoint.status[refusal.status_code] += 1
            endpoint.failures += 1
            problem = str(refusal)
        except (websocket.WebSocketException, OSError) as error:
            endpoint.no_response += 1
            problem = str(error)
        user.record("GET", "/ws", time.perf_counter() - start, problem)
        return cls(user, socket, on_message) if socket else None

    def __init__(
        self, user: Visitor, socket: websocket.WebSocket, on_message: Callable[[Message], None] | None
    ) -> None:
        self._user = user
        self._socket = socket
        self._on_message = on_message
        self._pong = Event()
        self._reader = gevent.spawn(self._read)

    @property
    def is_open(self) -> bool:
        return not self._reader.dead

    def ping(self) -> None:
        """Measure the way to the application and back."""
        self._pong.clear()
        start = time.perf_counter()
        try:
            self._socket.send("ping")
        except (websocket.WebSocketException, OSError):
            return  # The reader has seen the end of the connection too, and counts it.
        COUNTS.messages_out["ping"] += 1
        answered = self._pong.wait(10)
        self._user.record("WS", "ping", time.perf_counter() - start, None if answered else "no pong within 10 s")

    def close(self) -> None:
        self._reader.kill()
        self._socket.close(timeout=1)

    def _read(self) -> None:
        # Silence is normal; the server's own pings, which recv() answers, show that the connection lives.
        self._socket.settimeout(None)
        try:
            while text := self._socket.recv():
                if text == "pong":
                    COUNTS.messages_in["pong"] += 1
                    self._pong.set()
                else:
                    message = json.loads(text)
                    COUNTS.messages_in[message["type"]] += 1
                    if self._on_message:
                        self._on_message(message)
        except (websocket.WebSocketException, OSError):
            pass
        COUNTS.dropped_sockets += 1


def _stop_if_the_run_ends() -> None:
    if STOPPING.is_set():
        raise StopUser
