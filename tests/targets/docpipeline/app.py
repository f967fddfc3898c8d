"""The HTTP and WebSocket side of docpipeline.

Start it from the directory above this package (or with that directory in PYTHONPATH):

    cd tests/targets
    DOCPIPELINE_DB=/tmp/dp/dp.db DOCPIPELINE_UPLOADS=/tmp/dp/uploads DOCPIPELINE_CHECKPOINTS=/tmp/dp/checkpoints \
        python -m uvicorn docpipeline.app:app --host 127.0.0.1 --port 8000 \
        [--loop asyncio|uvloop] [--http h11|httptools] [--workers 2] [--no-access-log]

All settings are in `config.py`. Handlers that touch SQLite or files are plain functions, which FastAPI runs on
its thread pool; the event loop itself only moves bytes and progress messages.
"""

import asyncio
import contextlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Path, Request, Response, UploadFile, WebSocket
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

from .checkpoints import Checkpoint, CheckpointDir
from .config import Settings
from .export import RENDERERS
from .pdf import NotAPdf, UnreadablePdf, check_upload
from .pipeline import Pipeline
from .progress import Hub
from .stages import BY_NAME, STAGES, Stage
from .store import Row, Store, VersionConflict

DOCUMENTS_LISTED = 100


class StageEdit(BaseModel):
    version: int
    elements: list[dict[str, Any]]


class Services:
    """What the handlers work with; lives as long as the server process."""

    def __init__(self, settings: Settings) -> None:
        settings.make_directories()
        self.settings = settings
        self.store = Store(settings.database)
        self.checkpoints = CheckpointDir(settings.checkpoints, fsync=settings.fsync)
        self.hub = Hub(self.store)
        self.pipeline = Pipeline(settings, self.store, self.checkpoints, self.hub.publish)

    def close(self) -> None:
        self.pipeline.close()
        self.store.close()


def create_app(settings: Settings) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = Services(settings)
        if settings.resume_at_start:
            for doc in services.store.unfinished():
                services.pipeline.start(doc)
        peers = asyncio.create_task(services.hub.follow_peers())
        yield
        peers.cancel()
        await run_in_threadpool(services.close)

    app = FastAPI(title="docpipeline", lifespan=lifespan)
    _add_documents(app)
    _add_stages(app)
    _add_progress(app)
    if settings.debug:
        _add_debug(app)
    return app


def services_of(request: Request) -> Services:
    return request.app.state.services


def known_document(doc: str, services: Annotated[Services, Depends(services_of)]) -> Row:
    row = services.store.document(doc)
    if row is None:
        raise HTTPException(404, f"there is no document {doc}")
    return row


def known_stage(id: int) -> Stage:
    if not 1 <= id <= len(STAGES):
        raise HTTPException(404, f"there is no stage {id}")
    return STAGES[id - 1]


ServicesOf = Annotated[Services, Depends(services_of)]
KnownDocument = Annotated[Row, Depends(known_document)]
KnownStage = Annotated[Stage, Depends(known_stage)]


def _add_documents(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "pid": os.getpid()}

    @app.post("/upload", status_code=202)
    def upload(file: UploadFile, services: ServicesOf, background: BackgroundTasks) -> dict[str, Any]:
        doc = uuid.uuid4().hex
        pages, size = _accept_file(file, doc, services)
        services.store.add_document(doc, file.filename or "", size, pages)
        background.add_task(services.pipeline.start, doc)
        return {"id": doc, "pages": pages, "bytes": size}

    @app.get("/documents")
    def documents(services: ServicesOf) -> list[Row]:
        return services.store.documents(DOCUMENTS_LISTED)

    @app.get("/documents/{id}")
    def document(id: str, services: ServicesOf) -> Row:
        return known_document(id, services)

    @app.get("/checkpoints")
    def checkpoints(document: KnownDocument, services: ServicesOf) -> dict[str, Any]:
        return {"doc": document["id"], "checkpoints": services.checkpoints.names(document["id"])}

    @app.post("/resume", status_code=202)
    def resume(document: KnownDocument, services: ServicesOf, response: Response) -> dict[str, Any]:
        """202 if work goes on from here, 200 if there is nothing to do: done, or running already."""
        from_stage = services.pipeline.next_stage(document["id"])
        started = services.pipeline.start(document["id"])
        if not started:
            response.status_code = 200
        return {"id": document["id"], "started": started, "from_stage": from_stage}

    @app.get("/export/{fmt}")
    def export(fmt: str, document: KnownDocument, services: ServicesOf) -> Response:
        if fmt not in RENDERERS:
            raise HTTPException(404, f"there is no format {fmt}")
        if document["status"] != "done":
            raise HTTPException(425, f"the document is {document['status']}")
        render, media_type = RENDERERS[fmt]
        assembled = _checkpoint(services, document, BY_NAME["assemble"])
        return Response(render(assembled["elements"]), media_type=media_type)


def _accept_file(file: UploadFile, doc: str, services: Services) -> tuple[int, int]:
    """Store an upload under its final name once it proved to be a readable PDF; gives its pages and bytes."""
    size = file.size or 0
    if size > services.settings.max_upload_bytes:
        raise HTTPException(413, f"the limit is {services.settings.max_upload_bytes} bytes")
    final = services.pipeline.upload_path(doc)
    incoming = final.with_suffix(".part")
    try:
        with incoming.open("wb") as target:
            shutil.copyfileobj(file.file, target, 1 << 20)
        pages = check_upload(incoming)
        os.replace(incoming, final)
    except NotAPdf as error:
        raise HTTPException(415, str(error)) from error
    except UnreadablePdf as error:
        raise HTTPException(422, str(error)) from error
    finally:
        incoming.unlink(missing_ok=True)
    return pages, size


def _checkpoint(services: Services, document: Row, stage: Stage) -> Checkpoint:
    checkpoint = None
    if document["stages_done"] >= stage.index:
        checkpoint = services.checkpoints.read(document["id"], stage.index, stage.name)
    if checkpoint is None:
        raise HTTPException(425, f"stage {stage.index} is not ready")
    return checkpoint


def _add_stages(app: FastAPI) -> None:
    @app.get("/stages/{id}")
    def view_stage(stage: KnownStage, document: KnownDocument, services: ServicesOf) -> Checkpoint:
        return _checkpoint(services, document, stage)

    @app.put("/stages/{id}")
    def edit_stage(stage: KnownStage, edit: StageEdit, document: KnownDocument, services: ServicesOf) -> dict[str, Any]:
        doc = document["id"]
        if document["stages_done"] < stage.index:
            raise HTTPException(425, f"stage {stage.index} is not ready")

        def rewrite(version: int) -> None:
            services.checkpoints.write(doc, stage.index, stage.name, version, edit.elements)

        try:
            version = services.store.edit_stage(doc, stage.index, edit.version, edit.elements, rewrite)
        except VersionConflict as conflict:
            raise HTTPException(409, {"message": str(conflict), "version": conflict.current}) from conflict
        return {"doc": doc, "stage": stage.index, "version": version}


def _add_progress(app: FastAPI) -> None:
    @app.websocket("/ws")
    async def progress(socket: WebSocket, doc: str | None = None) -> None:
        services: Services = socket.app.state.services
        await socket.accept()
        # Subscribed before the snapshot is taken: no stage can fall between the two.
        with services.hub.subscribe(doc) as queue:
            row = await run_in_threadpool(services.store.document, doc) if doc else None
            snapshot = {"status": row["status"], "stages_done": row["stages_done"]} if row else {}
            await socket.send_json({"type": "snapshot", "doc": doc, **snapshot})

            async def forward() -> None:
                while True:
                    await socket.send_json(await queue.get())

            forwarding = asyncio.create_task(forward())
            try:
                while True:
                    if await socket.receive_text() == "ping":
                        await socket.send_text("pong")
            except WebSocketDisconnect:
                pass
            finally:
                forwarding.cancel()
                # Its result is read, or a send to the closed peer would be logged as never retrieved.
                await asyncio.gather(forwarding, return_exceptions=True)


def _add_debug(app: FastAPI) -> None:
    @app.get("/debug/block")
    async def block(ms: int) -> dict[str, int]:
        """Freezes the event loop, on purpose: a synchronous sleep in a coroutine."""
        time.sleep(ms / 1000)
        return {"blocked_ms": ms}

    @app.get("/debug/status/{code}")
    async def status(code: Annotated[int, Path(ge=200, le=599)]) -> Response:
        return Response(status_code=code)


app = create_app(Settings.from_env())
