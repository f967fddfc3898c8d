"""A load generator that says exactly what it did: `plan_load.py HOST REQUESTS EXIT_CODE`."""

import http.client
import sys
from urllib.parse import urlsplit

host, requests, code = urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
connection = http.client.HTTPConnection(host.hostname, host.port)
for number in range(requests):
    connection.request("GET", f"/items/{number}")
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
connection.close()
sys.exit(code)
