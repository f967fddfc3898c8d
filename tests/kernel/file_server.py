"""Moves files whose bytes it never sees: by sendfile, and by splice through a pipe.

python file_server.py PORT FOLDER: GET /sendfile/NAME and GET /splice/NAME send a file, PUT /splice takes one.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Not a byte of a body is read ahead: all of it is left to splice. The head comes byte by byte.
    rbufsize = 0

    def do_GET(self) -> None:
        _, how, name = self.path.split("/")
        with open(os.path.join(FOLDER, name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.head(size)
            if how == "sendfile":
                while size:
                    size -= os.sendfile(self.connection.fileno(), file.fileno(), None, size)
            else:
                splice(file.fileno(), self.connection.fileno(), size)

    def do_PUT(self) -> None:
        with open(os.path.join(FOLDER, f"from-{self.client_address[1]}"), "wb") as file:
            splice(self.connection.fileno(), file.fileno(), int(self.headers["content-length"]))
        self.head(0)

    def head(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def splice(source: int, target: int, size: int) -> None:
    out, into = os.pipe()
    try:
        while size:
            n = left = os.splice(source, into, size)
            while left:
                left -= os.splice(out, target, left)
            size -= n
    finally:
        os.close(out)
        os.close(into)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
