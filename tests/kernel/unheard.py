"""Asks servers that are not there, and logs what became of each try: the oracle of failed calls.

python unheard.py NOBODY SILENT GOING: three ports. Nobody listens on the first, the second one's queue is full, the
third one's server leaves once it has answered.
python unheard.py off ADDRESS MUTE: nobody has the first address, the second one never answers.
Begins with a line on stdin, ends with a line "done".
"""

import asyncio
import errno
import http.client
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor


def say(what: str) -> None:
    print(what, flush=True)


def try_to(port: int, host: str = "127.0.0.1", timeout: float | None = None) -> str:
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "given up"
    except ConnectionResetError:
        # It was, to a server that left at once.
        return "connected"
    return "connected"


async def try_async(port: int) -> str:
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return "refused"
    return "connected"


def try_off(host: str, asked_again: int) -> str:
    """What the kernel says once it has given up."""
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, asked_again)
        return errno.errorcode[sock.connect_ex((host, 80))]


def main() -> None:
    if sys.argv[1] == "off":
        sys.stdin.readline()
        with ThreadPoolExecutor() as pool:
            # Nobody's address is known to be so after 3 s, when a second packet would be due its answer.
            tries = [(sys.argv[2], 3)] * 3 + [(sys.argv[3], 1)] * 2
            for said in pool.map(try_off, *zip(*tries)):
                say(said)
    else:
        sys.stdin.readline()
        try_here(*(int(port) for port in sys.argv[1:]))
    say("done")
    threading.Event().wait()


def try_here(nobody: int, silent: int, going: int) -> None:
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


main()
