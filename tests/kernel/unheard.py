"""Asks servers that are not there, and logs what became of each try: the oracle of failed calls.

python unheard.py NOBODY SILENT GOING: three ports. Nobody listens on the first, the second one's queue is full, the
third one's server leaves once it has answered. Begins with a line on stdin, ends with a line "done".
"""

import asyncio
import http.client
import socket
import sys
import threading


def say(what: str) -> None:
    print(what, flush=True)


def try_to(port: int, host: str = "127.0.0.1", timeout: float | None = None) -> str:
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "given up"
    return "connected"


async def try_async(port: int) -> str:
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return "refused"
    return "connected"


def main() -> None:
    nobody, silent, going = (int(port) for port in sys.argv[1:])
    sys.stdin.readline()
    for _ in range(5):
        say(f"blocking {try_to(nobody)}")
    for _ in range(2):
        say(f"ipv6 {try_to(nobody, '::1')}")
    for _ in range(3):
        say(f"asyncio {asyncio.run(try_async(nobody))}")
    for _ in range(2):
        say(f"silent {try_to(silent, timeout=0.1)}")
    connection = http.client.HTTPConnection("127.0.0.1", going)
    connection.request("GET", "/hello", headers={"Host": "annotator.test"})
    connection.getresponse().read()
    connection.close()
    say("answered")
    refused = 0
    while refused < 4:
        refused += try_to(going) == "refused"
    say("done")
    threading.Event().wait()


main()
