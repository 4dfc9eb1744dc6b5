"""A web service over one engine: JSON, server-sent events, and many generations over one WebSocket.

    LLAMA_MODEL=model.gguf LLAMA_SLOTS=8 PORT=8000 python fastapi_app.py        # all of them may be left out

    curl localhost:8000/generate -H 'content-type: application/json' -d '{"prompt": "Once upon a time"}'
    curl -N localhost:8000/generate/stream -H 'content-type: application/json' -d '{"prompt": "A small boat"}'

A client that goes away cancels what it asked for. There is no authentication here: whoever reaches the port may use it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import anyio
import llama_concurrent as llama
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.background import BackgroundTask

MAX_PROMPT = 32_000  # characters; the engine limits the tokens
MAX_BODY = 1_000_000  # bytes of a request, and of a message on the WebSocket
GRACE = 5  # seconds for what runs when the server is told to stop
JSON_OBJECT = TypeAdapter(dict[str, Any])


class Generate(BaseModel):
    """What to generate."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, description="The text to continue.")
    max_tokens: int = Field(256, ge=1, le=100_000, description="Output tokens at most.")
    temperature: float = Field(0.0, ge=0, le=5, description="0 takes the likeliest token each time.")
    top_p: float = Field(0.95, gt=0, le=1, description="Keep the likeliest tokens that add up to this share.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the random choice.")
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], max_length=8, description="Texts that end it.")
    ignore_eos: bool = Field(False, description="Go on where the model would end.")
    timeout: float = Field(120.0, gt=0, le=3600, description="Seconds until an error is sent instead.")

    def params(self) -> llama.SamplingParams:
        # Prompts come from strangers: special tokens that are written out in them are plain text.
        return llama.SamplingParams(**self.model_dump(exclude={"prompt", "id"}), parse_special=False)


class Start(Generate):
    """A message on the WebSocket: starts a generation."""

    id: str


class Cancel(BaseModel):
    """A message on the WebSocket: ends the generation with this id, if it still runs."""

    cancel: str


class End(BaseModel):
    """How a generation went; times are in seconds from the submission."""

    model_config = ConfigDict(from_attributes=True)

    finish_reason: str = Field(description='"stop", "length", or "cancelled" because the server stops.')
    n_prompt_tokens: int
    n_output_tokens: int
    queue_time: float = Field(description="Until a slot was found.")
    ttft: float | None = Field(description="Until the first token.")
    e2e_latency: float = Field(description="Until the end.")


class Completion(End):
    text: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    slots, n_ctx = (int(os.environ.get(name, 0)) or None for name in ("LLAMA_SLOTS", "LLAMA_N_CTX"))
    app.state.engine = await llama.AsyncEngine.load(os.environ.get("LLAMA_MODEL"), slots=slots, n_ctx=n_ctx)
    yield
    await asyncio.to_thread(app.state.engine.close)


app = FastAPI(title="Many generations at once", lifespan=lifespan, max_body_size=MAX_BODY)


async def the_engine(connection: HTTPConnection) -> llama.AsyncEngine:
    engine: llama.AsyncEngine = connection.app.state.engine
    return engine


Engine = Annotated[llama.AsyncEngine, Depends(the_engine)]


def status(error: llama.LlamaError) -> int:
    codes = {llama.PromptTooLong: 422, llama.InvalidRequest: 400, llama.DeadlineExceeded: 504}  # subclasses first
    codes |= {llama.Overloaded: 503, llama.ShuttingDown: 503}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), 500)


@app.exception_handler(llama.LlamaError)
async def llama_error(_: Request, error: llama.LlamaError) -> JSONResponse:
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, llama.Overloaded) else None
    return JSONResponse({"detail": str(error)}, status(error), headers)


def complaints(error: RequestValidationError | ValidationError) -> str:
    """What is wrong with a request, without repeating what may be a long prompt."""
    return "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())


@app.exception_handler(RequestValidationError)
async def validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": complaints(error)}, 422)


async def until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@app.post("/generate")
async def generate(body: Generate, request: Request, engine: Engine) -> Completion:
    """The whole text at once."""
    work = asyncio.ensure_future(engine.generate(body.prompt, body.params()))
    gone = asyncio.ensure_future(until_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise HTTPException(499, "the client is gone")
        return Completion.model_validate(work.result())
    finally:
        work.cancel()
        gone.cancel()


async def events(stream: llama.AsyncStream) -> AsyncIterator[dict[str, Any]]:
    """What a client is told: pieces of text, then how it went or what failed."""
    try:
        async for piece in stream:
            yield {"text": piece}
        if stream.result is not None:
            yield End.model_validate(stream.result).model_dump()
    except llama.LlamaError as error:
        yield {"error": str(error), "status": status(error)}


@app.post("/generate/stream")
async def generate_stream(body: Generate, engine: Engine) -> StreamingResponse:
    """Server-sent events: `{"text": ...}` for each piece, then an `End`, or `{"error": ..., "status": ...}`."""
    # All that is wrong is raised here, where it can still become the status of the response.
    stream = await engine.stream(body.prompt, body.params()).accepted()
    lines = (f"data: {json.dumps(event)}\n\n" async for event in events(stream))
    # The task runs also for a client that went away without reading what it was sent.
    return StreamingResponse(lines, media_type="text/event-stream", background=BackgroundTask(stream.aclose))


@app.websocket("/ws")
async def websocket(socket: WebSocket, engine: Engine) -> None:
    """`Start` and `Cancel` come in, in any number; the events of `/generate/stream` go out, each with its id."""
    await socket.accept()
    running: dict[str, anyio.CancelScope] = {}

    async def tell(**event: Any) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # the client is gone; the loop at the end hears of it
            await socket.send_json(event)

    async def run(start: Start) -> None:
        with running[start.id] as scope:
            try:
                async with engine.stream(start.prompt, start.params()) as stream:
                    async for event in events(stream):
                        await tell(id=start.id, **event)
            except llama.LlamaError as error:
                await tell(id=start.id, error=str(error), status=status(error))
        del running[start.id]
        if scope.cancelled_caught:
            await tell(id=start.id, finish_reason="cancelled")

    async def take(message: dict[str, Any]) -> None:
        if "cancel" in message:
            if scope := running.get(Cancel.model_validate(message).cancel):
                scope.cancel()
            return
        start = Start.model_validate(message)
        if start.id in running:
            return await tell(error=f"id: {start.id!r} is running; take another", status=422)
        running[start.id] = anyio.CancelScope()
        tasks.start_soon(run, start)

    async with anyio.create_task_group() as tasks:
        while (received := await socket.receive())["type"] == "websocket.receive":
            about = {}
            try:
                message = JSON_OBJECT.validate_json(received.get("text") or received.get("bytes") or "")
                if isinstance(name := message.get("id"), str) and name not in running:
                    about["id"] = name
                await take(message)
            except ValidationError as error:
                await tell(**about, error=complaints(error), status=422)
        tasks.cancel_scope.cancel()


@app.get("/health")
async def health(engine: Engine) -> dict[str, Any]:
    stats = engine.stats()
    return {"status": "ok", "slots": stats.slots, "running": stats.requests_running, "waiting": stats.requests_waiting}


@app.get("/stats")
async def stats(engine: Engine) -> dict[str, Any]:
    return engine.stats().to_dict()


class Server(uvicorn.Server):
    """Told to stop, it lets what runs end, and after some seconds cancels it: each client hears how it went."""

    async def shutdown(self, sockets: Any = None) -> None:
        async def end(engine: llama.AsyncEngine) -> None:
            await engine.drain(GRACE)
            await asyncio.to_thread(engine.close)

        await asyncio.gather(end(app.state.engine), super().shutdown(sockets))


if __name__ == "__main__":
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", 8000))
    # The second limit is for clients that do not read what they are sent.
    config = uvicorn.Config(app, host, port, ws_max_size=MAX_BODY, timeout_graceful_shutdown=2 * GRACE)
    with suppress(KeyboardInterrupt):
        Server(config).run()
