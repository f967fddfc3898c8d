"""An HTTPS client that knows every byte it moved: cipher text passes through its own hands.

python tls_client.py PORT VERSION HELD [METHOD TARGET BODY_BYTES COUNT]...: one connection; with HELD "held" the first
request is sent at once, the others after a line on stdin. Prints a line "ready" after the first one and at the end a
line of JSON.
"""

import json
import socket
import ssl
import sys
import time


class Connection:
    def __init__(self, port: int, version: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.cipher_bytes = 0
        self.call(self.tls.do_handshake)

    def call(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.socket.recv(1 << 18)
                self.cipher_bytes += len(data)
                if not data:
                    raise EOFError from None
                self.incoming.write(data)
            finally:
                self.flush()

    def flush(self) -> None:
        data = self.outgoing.read()
        self.cipher_bytes += len(data)
        self.socket.sendall(data)

    def reply(self) -> bytes:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            data += self.call(self.tls.read, 1 << 18)
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" in fields:
            end = len(head) + 4 + int(fields[b"content-length"])
            while len(data) < end:
                data += self.call(self.tls.read, 1 << 18)
        else:
            while not data.endswith(b"0\r\n\r\n"):
                data += self.call(self.tls.read, 1 << 18)
        return bytes(data)


def main() -> None:
    port, version, held = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "held"
    plan = [sys.argv[at : at + 4] for at in range(4, len(sys.argv), 4)]
    connection = Connection(port, version)
    entries = []
    for method, target, body_bytes, count in plan:
        for _ in range(int(count)):
            if len(entries) == 1:
                print("ready", flush=True)
                if held:
                    sys.stdin.readline()
            length = f"content-length: {body_bytes}\r\n" if method == "POST" else ""
            request = f"{method} {target} HTTP/1.1\r\nhost: test\r\n{length}\r\n".encode()
            request += b"y" * int(body_bytes)
            began = time.monotonic()
            view = request
            while view:
                view = view[connection.call(connection.tls.write, view) :]
            connection.flush()
            reply = connection.reply()
            took = time.monotonic() - began
            status = int(reply[9:12])
            entries.append({"endpoint": f"{method} {target.split('?')[0]}", "status": status,
                            "sent": len(request), "received": len(reply), "took_s": took})
    connection.socket.close()
    print(json.dumps({"entries": entries, "cipher_bytes": connection.cipher_bytes}), flush=True)


main()
