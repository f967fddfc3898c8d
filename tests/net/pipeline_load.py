"""Uploads documents and lists them: `pipeline_load.py TARGETS HOST UPLOADS`. Says how long the middle upload took."""

import http.client
import random
import statistics
import sys
import time
from urllib.parse import urlsplit

sys.path.insert(0, sys.argv[1])
from docpipeline.corpus import render  # noqa: E402

host, uploads = urlsplit(sys.argv[2]), int(sys.argv[3])
# Before the connection, which the server does not keep for ever.
documents = [render("text", 1, random.Random(number)) for number in range(uploads)]
connection = http.client.HTTPConnection(host.hostname, host.port)
times = []
for document in documents:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n" + document + b"\r\n--x--\r\n"
    )
    began = time.monotonic()
    connection.request("POST", "/upload", body, {"Content-Type": "multipart/form-data; boundary=x"})
    response = connection.getresponse()
    response.read()
    times.append(time.monotonic() - began)
    assert response.status == 202, response.status
    for _ in range(3):
        connection.request("GET", "/documents")
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
connection.close()
print("upload", statistics.median(times))
