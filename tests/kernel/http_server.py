"""Python's own http.server: blocking calls, a thread per connection.

python http_server.py PORT [SECOND_PORT]: with a second port, a forked child serves it. With TLS_FOLDER in the
environment it speaks TLS, with key.pem and cert.pem from there. With LATE in the environment it waits for a line on stdin
before it loads anything.
"""

import os
import sys

if "LATE" in os.environ:
    sys.stdin.readline()

import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: with Nagle's algorithm the kernel would hold the second one back for the
    # client's delayed acknowledgement, 40 ms after the application sent it.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"x" * 200
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    ports = [int(port) for port in sys.argv[1:]]
    port = ports[0]
    if len(ports) > 1 and os.fork() == 0:
        port = ports[1]
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if folder := os.environ.get("TLS_FOLDER"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


main()
