"""An application whose requests wait for the lock of a database: in a worker thread, and on the event loop's own.

    python serve.py PORT DATABASE

Beside the database it makes a FIFO `go`, and a file `held` while a transaction is open until somebody writes to that;
`/idle` is answered when there is a file `done`.
"""

import asyncio
import os
import sqlite3
import sys
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI

DATABASE = Path(sys.argv[2])
GO, HELD, DONE = (DATABASE.with_name(name) for name in ("go", "held", "done"))

app = FastAPI()
local = threading.local()


def transaction(is_held):
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(DATABASE, timeout=60, isolation_level=None)
    local.connection.execute("BEGIN IMMEDIATE")
    local.connection.execute("INSERT INTO t VALUES (1)")
    if is_held:
        HELD.touch()
        GO.read_text()
    local.connection.execute("COMMIT")
    return {}


@app.get("/write/{held}")
def write(held: int):
    return transaction(held)


@app.get("/direct")
async def direct():
    return transaction(False)


@app.get("/idle")
async def idle():
    while not DONE.exists():
        await asyncio.sleep(0.005)
    return {}


if __name__ == "__main__":
    os.mkfifo(GO)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
