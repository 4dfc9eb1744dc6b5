"""The engine for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from ._base import BaseEngine, Progress, finished, is_list, list_requests, refuse_keywords
from ._base import Stream as BaseStream
from ._outcome import outcome
from ._requests import Request
from ._tools import ToolRun
from ._types import Message, NativeSampling, Prompt, Result, Results, SamplingParams
from ._vectors import Pooling, Rank, Score, Vectors

if TYPE_CHECKING:
    from ._vectors import Floats


class Engine(BaseEngine):
    """Concurrent generations with one model, for any number of threads.

    >>> with Engine(slots=4) as engine:
    ...     engine.generate("Once upon a time", SamplingParams(max_tokens=8)).n_output_tokens
    8

    As a context manager: leaving it closes streams that were not read to their end and lets other requests end; an
    exception cancels all.
    """

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close_streams()
                self._native.drain()
        finally:
            self.close()

    def drain(self, timeout: float | None = None) -> bool:
        """Stops accepting requests and waits for the others. Returns whether all finished within `timeout` seconds."""
        return self._native.drain(timeout)

    @overload
    def generate(self, prompt: str, params: SamplingParams | None = None) -> Result: ...
    @overload
    def generate(
        self,
        prompt: list[str] | tuple[str, ...] | list[list[int]] | Iterator[str],
        params: SamplingParams | None = None,
        *,
        progress: bool | Callable[[int, int], object] = False,
    ) -> Results: ...
    @overload
    def generate(self, prompt: Sequence[int], params: SamplingParams | None = None) -> Result: ...
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt] | Iterator[Prompt],
        params: SamplingParams | None = None,
        *,
        progress: bool | Callable[[int, int], object] = False,
        **unknown: object,
    ) -> Result | Results:
        """Generates for one prompt, or for a list of any length, whose results keep its order.

        A list runs a few at a time, so that other callers are served too. `progress=True` shows a bar (needs tqdm), and
        a function is called with the number of finished prompts and of all. A prompt of a list that cannot be served
        has its error in `Result.error` and disturbs no other; one that stands alone raises it.

        >>> engine = Engine(slots=4)
        >>> [result.n_output_tokens for result in engine.generate(["A fox", "A boat"], SamplingParams(max_tokens=4))]
        [4, 4]
        >>> engine.close()

        Raises:
            InvalidRequest: The prompt or a parameter is out of range; `PromptTooLong` is one of these.
            Overloaded: The queue is full.
            DeadlineExceeded: `timeout` or `queue_timeout` expired.
        """
        refuse_keywords(unknown, "progress")
        if not isinstance(progress, bool) and not callable(progress):
            raise TypeError(f"progress is {progress!r:.80}, but must be True, False or a function")
        if not is_list(prompt):
            generation = self._submit(prompt, params)  # type: ignore[arg-type]
            try:
                return finished(generation.wait())
            except BaseException:
                generation.cancel()
                raise
        requests = list_requests(prompt, params)  # type: ignore[arg-type]
        if progress is not True:
            tick = Progress(progress) if progress else None
            return Results(map(outcome, self._native.run_all(requests, tick)))
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("progress=True needs tqdm: pip install tqdm, or pass a function instead") from error

        with tqdm(total=len(requests), unit="prompt") as bar:
            return Results(map(outcome, self._native.run_all(requests, Progress(lambda done, _: bar.update(done - bar.n)))))

    def chat(self, messages: Iterable[Message], params: SamplingParams | None = None, **template: Any) -> Result:
        """Like `generate`, for a chat; `template` is passed to `chat_prompt`, and may have `tools`. `Result.message` is the
        answer with its thoughts and calls.

        >>> with Engine() as engine:
        ...     engine.chat([{"role": "user", "content": "Hello"}], SamplingParams(max_tokens=4)).message["role"]
        'assistant'
        """
        return self.generate(self.chat_prompt(messages, **template), params)

    def run_tools(
        self,
        messages: Iterable[Message],
        tools: Iterable[Callable[..., Any]],
        params: SamplingParams | None = None,
        *,
        max_turns: int = 10,
        **template: Any,
    ) -> ToolRun:
        """Answers a chat, and calls the Python functions that the model asks for until it needs none.

        A function gets the arguments by name, and what it returns is told to the model: a str as it is, anything else as JSON.
        An exception is told to it, too. After `max_turns` answers with calls the model must answer without. A `tool_choice`
        holds for the first answer.

        >>> def add(a: int, b: int) -> int:
        ...     return a + b
        >>> with Engine(slots=1) as engine:
        ...     run = engine.run_tools([{"role": "user", "content": "2 + 2?"}], [add], SamplingParams(max_tokens=8))
        ...     run.messages[0]["role"]
        'user'
        """
        run = ToolRun(messages, tools, max_turns)
        while not run.is_over:
            run.add(self.chat(run.messages, params, **run.options(template)))
        return run

    def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> Stream:
        """Streams the text of a generation. Raises the same errors as `generate`.

        >>> with Engine() as engine:
        ...     "".join(engine.stream("Once", SamplingParams(max_tokens=2))) != ""
        True
        """
        return Stream(self, self._submit(prompt, params))

    def stream_chat(self, messages: Iterable[Message], params: SamplingParams | None = None, **template: Any) -> Stream:
        """Like `stream`, for a chat; `template` is passed to `chat_prompt`. The pieces are those of the content;
        `Stream.deltas` has thoughts and calls, too."""
        return self.stream(self.chat_prompt(messages, **template), params)

    def embed(
        self,
        texts: Prompt | Iterable[Prompt],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        progress: Callable[[int, int], object] | None = None,
    ) -> Floats:
        """Embeds a text, as an array of floats; or a list of any length, as an array with a row for each. Needs numpy.

        `pooling` is "mean", "cls" or "last"; None is as the model's file says. With "none" a text has an array with a row for
        each token, and a list of texts a list of these. With `normalize`, vectors have length 1, so that dot products are
        cosines. `progress` is called with the number of finished texts and of all. What is wrong with one text is raised.

        >>> with Engine(slots=1) as engine:
        ...     engine.embed(["A fox", "A boat"]).shape
        (2, 128)
        """
        return Vectors(progress).embed(self._native, texts, pooling, normalize)  # type: ignore[no-any-return]

    def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_n: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Rank]:
        """Ranks documents by how well they answer a query, the best first; `top_n` keeps so many. Needs a model with a rank
        head, and raises `InvalidRequest` with another."""
        return Vectors(progress).rank(self._native, query, documents, top_n)

    def score(
        self,
        text: Prompt,
        continuations: Iterable[Prompt],
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[Score]:
        """How likely the model finds each continuation of a text; the text is computed once.

        >>> with Engine(slots=2) as engine:
        ...     likely, unlikely = engine.score("Once upon a", [" time", " xylophone"])
        ...     likely.logprob > unlikely.logprob
        True
        """
        return Vectors(progress).score(self._native, text, continuations)

    def submit(self, prompt: Prompt, params: SamplingParams | None = None) -> Request:
        """Starts a generation and returns immediately; works with `concurrent.futures.wait` and `as_completed`.

        >>> with Engine() as engine:
        ...     requests = [engine.submit(prompt, SamplingParams(max_tokens=4)) for prompt in ("A fox", "A boat")]
        ...     [request.result().n_output_tokens for request in requests]
        [4, 4]
        """
        return self._requests.submit(self._native, prompt, NativeSampling(params or SamplingParams()))


class Stream(BaseStream, Iterator[str]):
    """The pieces of a text. Dropping or closing it cancels the request."""

    def __next__(self) -> str:
        while self._generation is not None:
            if text := self._take(self._generation.read()):
                return text
        raise StopIteration

    def deltas(self) -> Iterator[dict[str, Any]]:
        """The pieces as dicts in the form of OpenAI's deltas: `content`, `reasoning_content`, or `tool_calls`, whose name
        comes first and whose arguments come in pieces. Instead of the iteration over texts, or to go on from there."""
        while self._generation is not None:
            yield from self._take_deltas(self._generation.read())

    def close(self) -> None:
        """Cancels the request if it is still running, and ends the iteration."""
        self._cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
