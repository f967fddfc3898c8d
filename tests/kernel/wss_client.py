"""A WebSocket client inside TLS: python wss_client.py PORT COUNT. Each message is echoed. Prints a line of JSON: payload
bytes of both ways."""

import json
import ssl
import sys

import websocket

socket = websocket.create_connection(
    f"wss://127.0.0.1:{sys.argv[1]}/ws", sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
)
sent = received = 0
for n in range(int(sys.argv[2])):
    message = b"x" * (n * 37)
    socket.send_binary(message)
    sent += len(message)
    received += len(socket.recv())
socket.close()
print(json.dumps({"sent": sent, "received": received}))
