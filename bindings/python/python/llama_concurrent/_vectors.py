"""Vectors of texts, ranks of documents, and scores of continuations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import _native
from ._base import Progress, is_list
from ._errors import LlamaError
from ._native import NativeEngine
from ._types import Prompt

if TYPE_CHECKING:
    import numpy

    Floats = numpy.typing.NDArray[numpy.float32]

Pooling = Literal["mean", "cls", "last", "none"]
T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """A document and how well it answers a query.

    Attributes:
        index: The document's place in the list that was given.
        score: Higher is better; what it means is the model's own affair.
    """

    index: int
    score: float


@dataclass(frozen=True)
class Score:
    """A continuation and how likely the model finds it.

    Attributes:
        logprob: The natural logarithm of its probability: the sum of those of its tokens.
        is_greedy: Whether greedy sampling would have chosen it.
        tokens: Its tokens.
        logprobs: The natural logarithm of each token's probability; None for a token before which nothing stands.
    """

    logprob: float
    is_greedy: bool
    tokens: list[int]
    logprobs: list[float | None]


class Vectors:
    """The work of one call, for engines of threads and of tasks alike."""

    def __init__(self, progress: Callable[[int, int], object] | None = None) -> None:
        if progress is not None and not callable(progress):
            raise TypeError(f"progress is {progress!r:.80}, but must be a function or None")
        self.tick = Progress(progress)

    def embed(
        self, native: NativeEngine, texts: Prompt | Iterable[Prompt], pooling: Pooling | None, normalize: bool
    ) -> Any:
        numpy = _numpy()
        alone = not is_list(texts)
        prompts: list[Any] = [texts] if alone else list(texts)
        vectors = []
        for index, done in enumerate(_native.embed(native, prompts, pooling, normalize, self.tick)):
            values, n_vectors, _ = _whole(done, index, alone)
            vector = numpy.frombuffer(bytearray(values), dtype=numpy.float32)
            vectors.append(vector.reshape(n_vectors, -1) if pooling == "none" else vector)
        if alone:
            return vectors[0]
        if pooling == "none":
            return vectors
        return numpy.stack(vectors) if vectors else numpy.empty((0, 0), dtype=numpy.float32)

    def rank(self, native: NativeEngine, query: str, documents: Iterable[str], top_n: int | None) -> list[Rank]:
        documents = _list_of(documents, "documents")
        done = enumerate(_native.rank(native, query, documents, self.tick))
        ranks = [Rank(index, _whole(one, index)[0]) for index, one in done]
        return sorted(ranks, key=lambda rank: -rank.score)[:top_n]

    def score(self, native: NativeEngine, text: Prompt, continuations: Iterable[Prompt]) -> list[Score]:
        continuations = _list_of(continuations, "continuations")
        done = enumerate(_native.score(native, text, continuations, self.tick))
        return [Score(*_whole(one, index)) for index, one in done]


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("vectors are numpy arrays: pip install numpy") from error
    return numpy


def _list_of(values: Iterable[T], name: str) -> list[T]:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} is a {type(values).__name__}, but must be a list")
    return list(values)


def _whole(done: tuple[Any, ...] | LlamaError, index: int, alone: bool = False) -> tuple[Any, ...]:
    """The result; an error is raised, and says of which text of a list it is."""
    if isinstance(done, LlamaError):
        if not alone and hasattr(done, "add_note"):
            done.add_note(f"in number {index} of the list")
        raise done
    return done
