"""The engine for asyncio: the same methods, as coroutines. It never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._base import BaseEngine, Progress, Stream as BaseStream, finished, is_list, list_requests, refuse_keywords
from ._native import NativeGeneration
from ._outcome import outcome
from ._tools import ToolRun
from ._types import Message, Prompt, Result, Results, SamplingParams
from ._vectors import Pooling, Rank, Score, Vectors

if TYPE_CHECKING:
    from ._vectors import Floats

T = TypeVar("T")


LONG_TEXT = 4_000
"""Texts of at least this many characters are tokenized on another thread; this many take about a millisecond."""


class AsyncEngine(BaseEngine):
    """Concurrent generations with one model, for any number of asyncio tasks, or anyio tasks on asyncio.

    A task that is cancelled cancels its request. As an asynchronous context manager: leaving it closes streams that were
    not read to their end and lets other requests end; an exception cancels all. Loading blocks;
    `await AsyncEngine.load(...)` does not.
    """

    @classmethod
    async def load(cls, *args: Any, **kwargs: Any) -> AsyncEngine:
        """Loads a model on another thread; arguments as of the class."""
        return await asyncio.to_thread(cls, *args, **kwargs)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close_streams()
                await self.drain()
        finally:
            await asyncio.to_thread(self.close)

    async def drain(self, timeout: float | None = None) -> bool:
        """Stops accepting requests and waits for the others. Returns whether all finished within `timeout` seconds."""
        return await asyncio.to_thread(self._native.drain, timeout)

    @overload
    async def generate(self, prompt: str, params: SamplingParams | None = None) -> Result: ...
    @overload
    async def generate(
        self,
        prompt: list[str] | tuple[str, ...] | list[list[int]] | Iterator[str],
        params: SamplingParams | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> Results: ...
    @overload
    async def generate(self, prompt: Sequence[int], params: SamplingParams | None = None) -> Result: ...
    async def generate(
        self,
        prompt: Prompt | Sequence[Prompt] | Iterator[Prompt],
        params: SamplingParams | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
        **unknown: object,
    ) -> Result | Results:
        """Generates for one prompt, or for a list of any length, whose results keep its order.

        `progress` is called on another thread with the number of finished prompts and of all. Errors as of
        `Engine.generate`.
        """
        refuse_keywords(unknown, "progress")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress is {progress!r:.80}, but must be a function or None")
        if is_list(prompt):
            return await self._generate_list(prompt, params, progress)  # type: ignore[arg-type]
        generation = self._start(prompt, params)  # type: ignore[arg-type]
        if isinstance(generation, asyncio.Future):
            generation = await generation
        try:
            return finished(await generation.wait_async())
        except BaseException:
            generation.cancel()
            raise

    async def _generate_list(
        self, prompts: Iterable[Prompt], params: SamplingParams | None, progress: Callable[[int, int], object] | None
    ) -> Results:
        tick = Progress(progress)
        try:
            return Results(map(outcome, await asyncio.to_thread(self._native.run_all, list_requests(prompts, params), tick)))
        except asyncio.CancelledError:
            tick.stopped = True
            raise

    async def chat(self, messages: Iterable[Message], params: SamplingParams | None = None, **template: Any) -> Result:
        """Like `generate`, for a chat; `template` is passed to `chat_prompt`, and may have `tools`. `Result.message` is the
        answer with its thoughts and calls."""
        return await self.generate(self.chat_prompt(messages, **template), params)

    async def run_tools(
        self,
        messages: Iterable[Message],
        tools: Iterable[Callable[..., Any]],
        params: SamplingParams | None = None,
        *,
        max_turns: int = 10,
        **template: Any,
    ) -> ToolRun:
        """Like `Engine.run_tools`; coroutine functions are awaited, other functions run on a thread."""
        run = ToolRun(messages, tools, max_turns)
        while not run.is_over:
            await run.add_async(await self.chat(run.messages, params, **run.options(template)))
        return run

    def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> AsyncStream:
        """Streams the text of a generation: `async for piece in engine.stream(...)`.

        It runs from now on, read or not. What is wrong with a text of more than some thousand characters is raised by
        `accepted`, or with the first piece; with others at once.
        """
        return AsyncStream(self, self._start(prompt, params))

    async def embed(
        self,
        texts: Prompt | Iterable[Prompt],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        progress: Callable[[int, int], object] | None = None,
    ) -> Floats:
        """As `Engine.embed`; `progress` is called on another thread."""
        vectors = Vectors(progress)
        return await _on_thread(vectors, vectors.embed, self._native, texts, pooling, normalize)

    async def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Rank]:
        """As `Engine.rerank`; `progress` is called on another thread."""
        vectors = Vectors(progress)
        return await _on_thread(vectors, vectors.rank, self._native, query, documents, top_n)

    async def score(
        self,
        text: Prompt,
        continuations: Iterable[Prompt],
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Score]:
        """As `Engine.score`; `progress` is called on another thread."""
        vectors = Vectors(progress)
        return await _on_thread(vectors, vectors.score, self._native, text, continuations)

    def _start(self, prompt: Prompt, params: SamplingParams | None) -> NativeGeneration | asyncio.Task[NativeGeneration]:
        if isinstance(prompt, str) and len(prompt) >= LONG_TEXT:
            return asyncio.create_task(asyncio.to_thread(self._submit, prompt, params))
        return self._submit(prompt, params)

    def stream_chat(
        self, messages: Iterable[Message], params: SamplingParams | None = None, **template: Any
    ) -> AsyncStream:
        """Like `stream`, for a chat; `template` is passed to `chat_prompt`. The pieces are those of the content;
        `AsyncStream.deltas` has thoughts and calls, too."""
        return self.stream(self.chat_prompt(messages, **template), params)


async def _on_thread(vectors: Vectors, work: Callable[..., T], *args: Any) -> T:
    """Work on a thread, which ends soon after its task is cancelled."""
    try:
        return await asyncio.to_thread(work, *args)
    except asyncio.CancelledError:
        vectors.tick.stopped = True
        raise


class AsyncStream(BaseStream, AsyncIterator[str]):
    """The pieces of a text. Dropping or closing it, or cancelling the task that reads it, cancels the request."""

    def __init__(self, engine: AsyncEngine, start: NativeGeneration | asyncio.Task[NativeGeneration]) -> None:
        self._start = start if isinstance(start, asyncio.Task) else None
        super().__init__(engine, None if isinstance(start, asyncio.Task) else start)

    async def accepted(self) -> AsyncStream:
        """Waits until the engine has accepted the request, or raises its error; `async with` does the same."""
        if self._start is not None:
            start, self._start = self._start, None
            self._generation = await start
        return self

    async def __anext__(self) -> str:
        await self.accepted()
        while self._generation is not None:
            try:
                event = await self._generation.read_async()
            except BaseException:
                self._cancel()
                raise
            if text := self._take(event):
                return text
        raise StopAsyncIteration

    async def deltas(self) -> AsyncIterator[dict[str, Any]]:
        """The pieces as dicts, as `Stream.deltas` has them."""
        await self.accepted()
        while self._generation is not None:
            try:
                event = await self._generation.read_async()
            except BaseException:
                self._cancel()
                raise
            for delta in self._take_deltas(event):
                yield delta

    async def aclose(self) -> None:
        """Cancels the request if it is still running, and ends the iteration."""
        self._cancel()

    def _cancel(self) -> None:
        if self._start is not None:
            # A request that its thread still starts is garbage-collected, and so cancelled.
            self._start.cancel()
            self._start = None
        super()._cancel()

    def cancel(self) -> None:
        """Cancels the generation before its next token. Earlier output can still be read, and so can `result`."""
        if self._start is not None:
            self._cancel()  # the engine has not taken it, so there is nothing to read
        super().cancel()

    async def __aenter__(self) -> AsyncStream:
        return await self.accepted()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
