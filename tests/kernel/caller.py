"""Asks a server over and over and logs each call as its own sockets saw it: the oracle of outgoing calls.

python caller.py PORT ROUNDS http|https: begins with a line on stdin, ends with a line "done" on stdout, and stays until it
is killed.
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time


class Counting:
    """Counts bytes, and notes when the first one was sent and the last one read."""

    first = last = 0.0
    sent = received = 0

    def sendall(self, data: bytes) -> None:  # type: ignore[override]
        if not self.sent:
            self.first = time.perf_counter()
        self.sent += len(data)
        super().sendall(data)

    def recv_into(self, *args: object) -> int:  # type: ignore[override]
        n = super().recv_into(*args)  # type: ignore[arg-type]
        self.last = time.perf_counter()
        self.received += n
        return n


class CountingSocket(Counting, socket.socket):
    pass


class CountingTls(Counting, ssl.SSLSocket):
    pass


def connect(address: tuple[str, int], *_: object) -> CountingSocket:
    sock = CountingSocket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect(address)
    return sock


def open_to(port: int, scheme: str) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslsocket_class = CountingTls
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection._create_connection = connect  # type: ignore[attr-defined]
    connection.connect()
    return connection


def chunks() -> object:
    for _ in range(5):
        yield b"y" * 10_000


def main() -> None:
    port, rounds, scheme = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    calls = [
        ("GET /items/{id}", "GET", "/items/7?key=secret", None),
        ("HEAD /hello", "HEAD", "/hello", None),
        ("GET /stream", "GET", "/stream?chunks=20&size=3000", None),
        ("POST /echo", "POST", "/echo", b"x" * 200_000),
        ("PUT /echo", "PUT", "/echo", chunks),
        ("GET /status/{id}", "GET", "/status/503", None),
        ("GET /status/{id}", "GET", "/status/204", None),
        ("GET /bytes/{id}", "GET", "/bytes/700000", None),
    ]
    sys.stdin.readline()
    connection = open_to(port, scheme)
    for _ in range(rounds):
        for name, method, target, body in calls:
            sock = connection.sock
            sock.sent = sock.received = 0
            body = body() if callable(body) else body
            connection.request(method, target, body, {"Host": "pipeline.test"})
            answer = connection.getresponse()
            answer.read()
            call = {"name": name, "status": answer.status, "s": sock.last - sock.first}
            print(json.dumps(call | {"sent": sock.sent, "received": sock.received}), flush=True)
    if scheme == "http":
        leave_some_open(port)
    print("done", flush=True)
    threading.Event().wait()


def leave_some_open(port: int) -> None:
    impatient = http.client.HTTPConnection("127.0.0.1", port, timeout=0.1)
    impatient.request("GET", "/sleep?ms=3000")
    try:
        impatient.getresponse()
    except TimeoutError:
        impatient.close()
    patient = http.client.HTTPConnection("127.0.0.1", port)
    patient.request("GET", "/sleep?ms=60000")
    threading.Thread(target=patient.getresponse, daemon=True).start()
    # Neither HTTP nor TLS: nobody's business.
    open_to(port, "http").sock.sendall(b"*1\r\n$4\r\nPING\r\n")


main()
