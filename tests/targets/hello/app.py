"""A near-empty FastAPI app whose traffic can be counted exactly.

    cd tests/targets
    python -m uvicorn hello.app:app --host 127.0.0.1 --port 8001 --no-access-log

Every handler is a coroutine: all of its work happens on the event loop's thread.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from starlette.websockets import WebSocketDisconnect

app = FastAPI(title="hello")

# Without a name: nothing is left behind, however the process ends.
FILE = tempfile.TemporaryFile()
FILE.write(b"f" * 700_000)
FILE.flush()


@app.get("/hello")
async def hello() -> dict[str, bool]:
    return {"ok": True}


@app.get("/items/{id}")
async def item(id: int) -> dict[str, int]:
    return {"id": id}


@app.get("/block")
async def block(ms: int) -> dict[str, int]:
    """Freezes the event loop, on purpose: a synchronous sleep in a coroutine."""
    time.sleep(ms / 1000)
    return {"blocked_ms": ms}


@app.get("/sleep")
async def sleep(ms: int) -> dict[str, int]:
    await asyncio.sleep(ms / 1000)
    return {"slept_ms": ms}


@app.get("/status/{code}")
async def status(code: Annotated[int, Path(ge=200, le=599)]) -> Response:
    return Response(status_code=code)


@app.get("/bytes/{n}")
async def some_bytes(n: int) -> Response:
    return Response(b"x" * n, media_type="application/octet-stream")


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(f"/proc/self/fd/{FILE.fileno()}", media_type="application/octet-stream")


@app.get("/stream")
async def stream(chunks: int, size: int) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b"x" * size

    return StreamingResponse(body(), media_type="application/octet-stream")


@app.put("/echo")
@app.post("/echo")
async def echo(request: Request) -> dict[str, int]:
    received = 0
    async for piece in request.stream():
        received += len(piece)
    return {"bytes": received}


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    """Sends back what it gets, text as text and bytes as bytes."""
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass
