"""Text generation on a Ray cluster: every replica of a Ray Serve deployment owns one engine.

    python ray_serve_app.py [MODEL]                                  # a local cluster, a few prompts, and out
    serve run examples.python.ray_serve_app:build slots=8 threads=4  # serves http://127.0.0.1:8000 until Ctrl-C
    curl -N http://127.0.0.1:8000 -H 'x-session-id: alice' -d '{"prompt": "Once upon a time"}'

An answer is lines of JSON: {"text": ...} while the text grows, then one with "finish_reason", or with "error" if it
broke off. docs/ray-serve.md says how to run it on a cluster and what happens when something goes wrong.
"""

# Without `from __future__ import annotations`: Ray takes the type of the argument of `build` as it stands there.
import asyncio
import hashlib
import json
import logging
import math
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, cast

import ray
from llama_concurrent import (
    AsyncEngine,
    DeadlineExceeded,
    EngineStats,
    InternalError,
    InvalidRequest,
    Overloaded,
    SamplingParams,
    ShuttingDown,
)
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

Events = DeploymentResponseGenerator[dict[str, Any]]

RETRY_AFTER = 2.0
"""Seconds that a refused client is asked to wait where nothing better is known."""
HEALTH_PERIOD = 2.0
"""Seconds between two health checks of a replica. Ray replaces it after three errors, or no answers, in a row."""
HEALTH_TIMEOUT = 10.0
"""Seconds after which a health check counts as failed."""


class Settings(BaseModel, extra="forbid", frozen=True):
    """What `serve run` takes as NAME=VALUE, and a config file under `args`."""

    model: str | None = None
    """Path of a GGUF file, the same on every node. None: the small model that comes with the package."""
    slots: PositiveInt = 8
    """Requests that one replica runs at once."""
    queue: NonNegativeInt = 2
    """Requests that may wait inside a replica, so that a slot that becomes free has work at once."""
    waiting: PositiveInt = 32
    """Requests that may wait for any replica, for each ingress; one more is refused with 503. Those that come at the
    same moment count until they have a replica, so this is also the largest burst."""
    threads: PositiveInt = 1
    """Compute threads of a replica, and the CPUs that Ray reserves for it."""
    n_ctx: int | None = None
    """Tokens of prompt and output that a slot holds. None: the model's trained length, at most 2048."""
    pin: bool = False
    """Pin threads to cores. Only where no two replicas may use the same cores: each would pin to the first ones."""
    reproducible: bool = False
    """Bit-identical tokens whoever else is running; slower."""
    min_replicas: NonNegativeInt = 1
    max_replicas: PositiveInt = 2
    ingress_replicas: PositiveInt = 1
    """Processes that speak HTTP. One passes on about a thousand pieces of text a second."""
    prefix_chars: NonNegativeInt = 256
    """Prompts whose first characters, so many, are equal go to the same replica. 0: only sessions do."""
    wait_seconds: PositiveFloat = 60
    """Seconds until the first text, and between two pieces of it, at most."""
    drain_seconds: PositiveFloat = 60
    """Seconds that running requests get when their replica is to stop."""


U32 = Annotated[int, Field(ge=0, lt=2**32)]
"""What the engine takes for a count or a seed."""


class Ask(BaseModel, extra="forbid"):
    """The body of a request. The fields are those of `SamplingParams`."""

    prompt: str
    max_tokens: U32 = 128
    temperature: float = 0.0
    top_p: float = 0.95
    seed: U32 = 0
    stop: list[str] = []
    ignore_eos: bool = False
    timeout: PositiveFloat | None = None

    def params(self) -> SamplingParams:
        """All but the prompt."""
        return SamplingParams(**self.model_dump(exclude={"prompt"}))


def build(settings: Settings) -> serve.Application:
    """The application: an ingress that speaks HTTP, and replicas that own engines."""
    # Beyond slots + queue, requests wait in Ray's router: it gives them to the replica that is free first.
    per_replica = settings.slots + settings.queue
    in_flight = settings.max_replicas * per_replica + settings.waiting
    generator = Generator.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": settings.threads},
        max_ongoing_requests=per_replica,
        max_queued_requests=settings.waiting,
        autoscaling_config=AutoscalingConfig(
            min_replicas=settings.min_replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=settings.slots,
        ),
        request_router_config=RequestRouterConfig(
            request_router_class=AffinityRouter,  # type: ignore[arg-type]
            request_router_kwargs={"prefix_chars": settings.prefix_chars},
        ),
        health_check_period_s=HEALTH_PERIOD,
        health_check_timeout_s=HEALTH_TIMEOUT,
        graceful_shutdown_timeout_s=settings.drain_seconds,
        graceful_shutdown_wait_loop_s=0.2,
    )
    ingress = Ingress.options(  # type: ignore[attr-defined]
        num_replicas=settings.ingress_replicas,
        ray_actor_options={"num_cpus": 0},  # it mostly waits, and shall start where engines have all CPUs
        # Never the bottleneck: whoever is too many is refused by the generator's queue, in words.
        max_ongoing_requests=2 * in_flight,
        max_queued_requests=in_flight,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER),
        health_check_period_s=HEALTH_PERIOD,
        health_check_timeout_s=HEALTH_TIMEOUT,
        graceful_shutdown_timeout_s=settings.wait_seconds + settings.drain_seconds,  # what its requests take at most
        graceful_shutdown_wait_loop_s=0.2,
    )
    return cast(serve.Application, ingress.bind(generator.bind(settings), settings))


class AffinityRouter(RequestRouter):
    """Sends equal sessions, and prompts that begin alike, to the replica that has them in its KV cache.

    Which one that is follows from the key and the ids of the replicas alone (rendezvous hashing), so that all routers
    agree without talking, and a replica that comes or goes moves only its own share. If it is full, or there is no
    key, the less loaded of two random replicas gets the request.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Takes `request_router_kwargs`."""
        self._prefix_chars: int = kwargs["prefix_chars"]

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Replicas to try, in this order; of a list, the one with the shortest queue."""
        two = random.sample(candidate_replicas, min(2, len(candidate_replicas)))
        if pending_request is None:
            return [two]
        pending_request.routing_context.should_backoff = True  # sleep between two rounds where all are full
        key = self._key(pending_request)
        if key is None:
            return [two]
        home = max(candidate_replicas, key=lambda replica: _weight(key, replica.replica_id.unique_id))
        return [[home], two]

    def _key(self, request: PendingRequest) -> str | None:
        if request.metadata.session_id:
            return f"session {request.metadata.session_id}"
        prompt = request.args[0] if request.args else request.kwargs.get("prompt")
        if self._prefix_chars and isinstance(prompt, str) and len(prompt) >= self._prefix_chars:
            return f"prefix {prompt[: self._prefix_chars]}"
        return None


def _weight(key: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{replica} {key}".encode(errors="surrogatepass"), digest_size=8).digest()


@serve.deployment
class Generator:
    """One engine. Other programs of the cluster call it by handle:

        handle = serve.get_deployment_handle("Generator", "default").options(stream=True, session_id="alice")
        for event in handle.generate.remote("Once upon a time"):
            ...
    """

    def __init__(self, settings: Settings) -> None:
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._engine = AsyncEngine(
            settings.model,
            slots=settings.slots,
            threads=settings.threads,
            n_ctx=settings.n_ctx,
            pin=settings.pin,
            reproducible=settings.reproducible,
        )
        for warning in self._engine.warnings():
            logging.getLogger("ray.serve").warning(warning)
        self._watchdog = Watchdog()

    async def generate(self, prompt: str, params: SamplingParams | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Yields {"text": ...} for each piece, and at the end why it ended, where, and the tokens it took.

        Raises:
            LlamaError: As of `AsyncEngine.stream`.
        """
        try:
            async with self._engine.stream(prompt, params) as stream:
                async for piece in stream:
                    yield {"text": piece}
        except InternalError as error:
            self._watchdog.defect = error
            raise
        result = stream.result
        assert result is not None, "a stream that was read to its end has a result"
        yield {
            "finish_reason": result.finish_reason,
            "n_prompt_tokens": result.n_prompt_tokens,
            "n_cached_tokens": result.n_cached_tokens,
            "n_output_tokens": result.n_output_tokens,
            "replica": self._replica,
        }

    async def stats(self) -> dict[str, Any]:
        """The replica's id and the fields of `EngineStats`."""
        return {"replica": self._replica} | self._engine.stats().to_dict()

    def check_health(self) -> None:
        """Ray calls this every `HEALTH_PERIOD` seconds, and replaces a replica after three errors in a row.

        Raises:
            ShuttingDown: The engine was closed.
            InternalError: A request found the engine broken.
            RuntimeError: The engine makes no progress.
        """
        self._watchdog.check(self._engine.stats())

    def __del__(self) -> None:
        """Ray calls this when the replica has finished its last request; after `drain_seconds` it kills the process."""
        if engine := getattr(self, "_engine", None):  # there is none if loading failed
            engine.close()


class Watchdog:
    """Notices an engine that is broken, or that has requests and does nothing."""

    def __init__(self, patience: int = 15) -> None:
        self.defect: Exception | None = None
        self._patience = patience
        self._still = 0
        self._calls: int | None = None

    def check(self, stats: EngineStats) -> None:
        """Raises the defect, or `RuntimeError` if no call of the model ended in the last `patience` checks."""
        if self.defect is not None:
            raise self.defect
        busy = stats.requests_running + stats.requests_waiting > 0
        calls = stats.decode_calls + stats.prefill_calls if busy else None
        self._still = self._still + 1 if busy and calls == self._calls else 0
        self._calls = calls
        if self._still >= self._patience:
            raise RuntimeError(
                f"no call of the model has ended for {self._still} checks, "
                f"with {stats.requests_running} requests running and {stats.requests_waiting} waiting"
            )


@serve.deployment
class Ingress:
    """Speaks HTTP: checks the request, passes the text on as it grows, and turns errors into statuses."""

    def __init__(self, generator: DeploymentHandle[Any], settings: Settings) -> None:
        self._generate = generator.options(stream=True, method_name="generate")
        self._wait = settings.wait_seconds

    async def __call__(self, request: Request) -> Response:
        if request.method != "POST":
            return refusal(405, 'send a POST with {"prompt": "..."}', Allow="POST")
        try:
            ask = Ask.model_validate_json(await request.body())
        except ValidationError as error:
            causes = (f"{'.'.join(map(str, cause['loc'])) or 'body'}: {cause['msg']}" for cause in error.errors())
            return refusal(400, "; ".join(causes))
        events = self._events(ask, request.headers.get("x-session-id", ""))
        try:
            first = await anext(events)
        except Exception as error:  # noqa: BLE001 - each has its status
            return as_refusal(error)
        return StreamingResponse(as_lines(first, events), media_type="application/x-ndjson")

    async def _events(self, ask: Ask, session: str) -> AsyncGenerator[dict[str, Any], None]:
        """The events of `Generator.generate`. If a replica dies before the first, another gets the request, once."""
        for attempt in range(2):
            started = False
            response = cast(Events, self._generate.options(session_id=session).remote(ask.prompt, ask.params()))
            try:
                while True:
                    event = await asyncio.wait_for(anext(response), self._wait)
                    started = True
                    yield event
            except StopAsyncIteration:
                return
            except RayActorError:
                if started or attempt == 1:
                    raise
            finally:
                response.cancel()  # type: ignore[no-untyped-call]


async def as_lines(first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[str]:
    """A line of JSON for each event. The status is out by now, so an error becomes the last line."""
    yield json.dumps(first) + "\n"
    try:
        async with aclosing(rest):
            async for event in rest:
                yield json.dumps(event) + "\n"
    except Exception as error:  # noqa: BLE001 - the client shall know it
        yield json.dumps({"error": in_words(error)}) + "\n"


def as_refusal(error: Exception) -> Response:
    """The HTTP response for an error before the first text."""
    if isinstance(error, InvalidRequest):
        return refusal(400, in_words(error))
    if isinstance(error, (DeadlineExceeded, asyncio.TimeoutError)):
        return refusal(504, in_words(error))
    if isinstance(error, (BackPressureError, DeploymentUnavailableError, Overloaded, RayActorError, ShuttingDown)):
        seconds = math.ceil(getattr(error, "retry_after", RETRY_AFTER))
        return refusal(503, in_words(error), **{"Retry-After": str(seconds)})
    logging.getLogger("ray.serve").error("a request failed", exc_info=error)
    return refusal(500, in_words(error))


def refusal(status: int, error: str, **headers: str) -> Response:
    return JSONResponse({"error": error}, status, headers)


def in_words(error: Exception) -> str:
    """What a client is told: the error that a replica raised without the stack around it."""
    if isinstance(error, RayActorError):
        return "the replica that ran this request died; send it again"
    if isinstance(error, BackPressureError):
        return "all replicas are busy, and as many requests wait as may; try again later"
    if isinstance(error, asyncio.TimeoutError) and not isinstance(error, DeadlineExceeded):
        return "no text came in time: the replicas are starting, busy or gone; try again later"
    return str(error.cause if isinstance(error, RayTaskError) else error)


async def main() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = Settings(model=sys.argv[1] if len(sys.argv) > 1 else None, slots=2, min_replicas=2)
    ray.init("local", num_cpus=settings.max_replicas * settings.threads, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        try:
            serve.run(build(settings))
        except RuntimeError as error:
            deployments = serve.status().applications["default"].deployments
            sys.exit("\n".join([str(error), *(deployment.message for deployment in deployments.values())]))
        handle = serve.get_deployment_handle("Generator", "default").options(stream=True)

        async def ask(number: int, prompt: str) -> None:
            line = prompt
            async for event in cast(Events, handle.generate.remote(prompt, SamplingParams(max_tokens=60))):
                line += event.get("text", "")
                if line.endswith((".", "!", "?", "\n")) or "replica" in event:
                    print(f"[{number}] {line.strip()}")
                    line = ""
            print(f"[{number}] ({event['n_output_tokens']} tokens by replica {event['replica']})")

        prompts = ["Once upon a time", "A small boat", "The fox", "One evening"]
        await asyncio.gather(*(ask(number, prompt) for number, prompt in enumerate(prompts)))
        serve.delete("default")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
