"""Vectors of texts, ranks of documents, and scores of continuations, over the shared library."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_uint64
from typing import TYPE_CHECKING, Any

from . import _errors
from ._header import ENUMS, CInferEvent, CInferParams
from ._library import STATUS, check, error_class, library

if TYPE_CHECKING:
    from ._native import NativeEngine

_Tick = Callable[[int, int], object] | None
_POOLING = ENUMS["llama_infer_pooling"]
_REASONS = ENUMS["llama_infer_finish_reason"]


def embed(
    engine: NativeEngine, texts: Sequence[Any], pooling: str | None, normalize: bool, tick: _Tick
) -> list[tuple[bytes, int, int] | _errors.LlamaError]:
    """For each text the bytes of its floats, the number of its vectors and of its tokens; or an exception."""
    if pooling == "auto" or (pooling is not None and pooling not in _POOLING):
        known = ", ".join(name for name in _POOLING if name != "auto")
        raise _errors.InvalidRequest(f"unknown pooling {pooling!r}; use one of {known}")

    def vectors(event: CInferEvent) -> tuple[bytes, int, int]:
        result = event.result.contents
        values = ctypes.string_at(result.embedding, 4 * result.n_embedding)
        return values, result.n_vectors, result.n_prompt_tokens

    how = (_POOLING[pooling or "auto"], normalize)
    return _run(engine, "llama_infer_embed_async", [], texts, how, vectors, tick)


def rank(
    engine: NativeEngine, query: str, documents: Sequence[str], tick: _Tick
) -> list[tuple[float, int] | _errors.LlamaError]:
    """For each document its score and the number of tokens of query and document; or an exception."""

    def score(event: CInferEvent) -> tuple[float, int]:
        result = event.result.contents
        return result.embedding[0], result.n_prompt_tokens

    return _run(engine, "llama_infer_rank_async", [_utf8(query)], documents, (), score, tick)


def score(
    engine: NativeEngine, text: Any, continuations: Sequence[Any], tick: _Tick
) -> list[tuple[float, bool, list[int], list[float | None]] | _errors.LlamaError]:
    """For each continuation its log probability, whether it is greedy, its tokens and theirs; or an exception."""

    def found(event: CInferEvent) -> tuple[float, bool, list[int], list[float | None]]:
        result, each = event.result.contents, event.logprobs[: event.n_logprobs]
        logprobs = [None if math.isnan(one.logprob) else one.logprob for one in each]
        return result.logprob, result.is_greedy, [one.token for one in each], logprobs

    return _run(engine, "llama_infer_score_async", [_utf8(text)], continuations, (), found, tick)


def _utf8(text: Any) -> bytes:
    from ._native import _text

    if not isinstance(text, str):
        raise TypeError(f"over the C library this is text, not {type(text).__name__}; the compiled package takes tokens, too")
    return _text(text, "the text")


def _run(
    engine: NativeEngine,
    function: str,
    before: list[bytes],
    texts: Sequence[Any],
    behind: tuple[Any, ...],
    read: Callable[[CInferEvent], Any],
    tick: _Tick,
) -> list[Any]:
    """Calls a function for all texts, and reads what comes of each."""
    from ._native import _NO_CALLBACK, _SLICE_MS, _Queue

    if not texts:
        return []
    params, id, events = CInferParams(), c_uint64(), _Queue()
    check(library().llama_infer_params_init(byref(params), ctypes.sizeof(params)))
    params.queue, params.priority = events.handle, ENUMS["llama_infer_priority"]["batch"]
    encoded = (c_char_p * len(texts))(*map(_utf8, texts))
    results: list[Any] = [None] * len(texts)
    done = 0
    try:
        call = getattr(library(), function)
        check(call(engine._get(), *before, encoded, len(texts), *behind, byref(params), _NO_CALLBACK, None, byref(id)))
        while done < len(texts):
            event = events.poll(_SLICE_MS)
            if event is not None and event.result:
                results[event.index] = _error(event) or read(event)
                done += 1
            if tick is not None:
                tick(done, len(texts))
    finally:
        events.free()
    return results


def _error(event: CInferEvent) -> _errors.LlamaError | None:
    result = event.result.contents
    if result.status != STATUS["ok"]:
        error: _errors.LlamaError = error_class(result.status)((result.error or b"").decode(errors="replace"))
        return error
    if result.reason not in (_REASONS["stop"], _REASONS["length"]):
        return _errors.ShuttingDown("it was cancelled before it was computed")
    return None
