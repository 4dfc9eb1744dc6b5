"""What `llama_concurrent._native` is in Rust, over the shared library: the engine and its generations."""

from __future__ import annotations

import array
import asyncio
import ctypes
import json
import math
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint64, c_void_p
from typing import Any

from . import _errors
from ._header import (
    ENUMS,
    CEngineParams,
    CEngineProgressCallback,
    CEngineStats,
    CInferCallback,
    CInferEvent,
    CInferLogitBias,
    CInferParams,
    CInferResult,
)
from ._library import STATUS, check, error_class, library
from ._texts import embed, rank, score

__all__ = ["NativeEngine", "NativeFinished", "NativeGeneration", "NativeReplyForm", "embed", "rank", "score", "system_info"]

_SLICE_MS = 50
"""Waits are cut into slices of this length, so that Ctrl-C is noticed between two of them."""
_FOR_EVER = 2**32 - 1
_CHOICES = {
    "strategy": "llama_engine_strategy",
    "type_k": "llama_engine_kv_type",
    "type_v": "llama_engine_kv_type",
    "placement": "llama_engine_placement",
    "replicate": "llama_engine_replicate",
    "wait_policy": "llama_engine_wait_policy",
    "speculation": "llama_speculation",
    "priority": "llama_infer_priority",
}
"""Fields that are numbers in the library and words here."""
_NO_CALLBACK = CInferCallback()


def system_info() -> str:
    """What the library is."""
    return str(library().llama_concurrent_version(), "utf-8")


def _name_of(number: int, enum: str) -> str:
    return next((name for name, known in ENUMS[enum].items() if known == number), f"unknown ({number})")


def _text(text: str, what: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    if "\0" in text:
        raise _errors.InvalidRequest(f"{what} has a NUL at position {text.index(chr(0))}, where texts end for the library")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _errors.InvalidRequest(f"{what} is not valid Unicode: {error}") from None


def _tokens(tokens: Sequence[int], what: str) -> Any:
    try:
        numbers = array.array("i", tokens)
    except OverflowError as error:
        raise _errors.InvalidRequest(f"{what} is out of range: {error}") from None
    return (c_int32 * len(numbers)).from_buffer_copy(numbers)


def _set(params: ctypes.Structure, name: str, ctype: Any, value: Any) -> None:
    """Sets a field to what the Python part has checked."""
    if name in _CHOICES:
        value = ENUMS[_CHOICES[name]][value]
    elif ctype is POINTER(c_char_p):
        texts = [value] if isinstance(value, str) else list(value)
        value = (c_char_p * len(texts))(*(_text(text, f"a text of {name}") for text in texts))
    elif ctype is POINTER(c_int32):
        value = _tokens(list(value), f"a token of {name}")
    elif ctype is POINTER(CInferLogitBias):
        value = (CInferLogitBias * len(value))(*(CInferLogitBias(int(token), bias) for token, bias in value.items()))
    elif ctype is c_char_p:
        value = os.fsencode(value) if name == "pack_cache" else _text(value, name)
    elif ctype in (ctypes.c_float, ctypes.c_double):
        value = float(value)
    else:  # ctypes alone would cut numbers that are too large
        value = min(int(value), 2 ** (8 * ctypes.sizeof(ctype)) - 1)
    setattr(params, name, value)
    if isinstance(value, ctypes.Array):
        setattr(params, f"n_{name}", len(value))


def _infer_params(sampling: Any) -> CInferParams:
    params = CInferParams()
    check(library().llama_infer_params_init(byref(params), ctypes.sizeof(params)))
    for name, ctype, *_ in CInferParams._fields_:
        value = getattr(sampling, name, None)
        if value is not None:
            _set(params, name, ctype, value)
    if sampling.max_tokens is not None and sampling.max_tokens == 0:
        raise _errors.InvalidRequest("max_tokens is 0, but must be at least 1, or None to fill the slot")
    for name in ("timeout", "queue_timeout"):
        seconds = getattr(sampling, name)
        if seconds is not None:
            setattr(params, f"{name}_ms", max(1, math.ceil(min(float(seconds) * 1000, _FOR_EVER))))
    return params


class _Queue:
    """A completion queue of the library."""

    def __init__(self) -> None:
        handle = c_void_p()
        check(library().llama_infer_queue_new(byref(handle)))
        self.handle = handle.value
        self._event = POINTER(CInferEvent)()
        weakref.finalize(self, _free_queue, self.handle, os.getpid()).atexit = False

    def poll(self, timeout_ms: int) -> CInferEvent | None:
        """The next event, valid until the next call; None if none came in time, or the queue was freed."""
        status = library().llama_infer_poll(self.handle, timeout_ms, byref(self._event))
        if status in (STATUS["timeout"], STATUS["invalid_handle"]):
            return None
        check(status)
        return self._event.contents

    def free(self) -> None:
        library().llama_infer_queue_free(self.handle)


def _free_queue(handle: int | None, process: int) -> None:
    if os.getpid() == process:  # a forked child has none of the threads that a free waits for
        library().llama_infer_queue_free(handle)


_EVENTS = ENUMS["llama_infer_event_type"]


def _deltas(event: CInferEvent) -> list[tuple[Any, ...]]:
    """Text, token and log probabilities of an event, and the deltas of an answer that are no text; one of several tokens has
    its text with the first."""
    text = ctypes.string_at(event.text, event.text_length).decode() if event.text else ""
    logprobs = None
    if event.n_logprobs:
        own, *top = event.logprobs[: event.n_logprobs]
        logprobs = (own.logprob, [(one.token, one.logprob) for one in top])
    first, *others = event.tokens[: event.n_tokens] or [None]
    rest = [("", token, None) for token in others]
    if event.type == _EVENTS["reasoning"]:
        return [("", first, logprobs, [{"reasoning_content": text}]), *rest]
    if event.type in (_EVENTS["tool_call"], _EVENTS["arguments"]):
        call = event.tool_call.contents
        delta: dict[str, Any] = {"index": call.index, "function": {"arguments": text}}
        if event.type == _EVENTS["tool_call"]:
            function = {"name": call.name.decode(), "arguments": ""}
            delta = {"index": call.index, "id": call.id.decode(), "type": "function", "function": function}
        return [("", first, logprobs, [{"tool_calls": [delta]}]), *rest]
    return [(text, first, logprobs), *rest]


def _finish(result: CInferResult) -> dict[str, Any]:
    """The end of a generation as arguments of `Result`."""
    end = {
        "finish_reason": _name_of(result.reason, "llama_infer_finish_reason"),
        "stop_index": result.stop_index if result.stop_index >= 0 else None,
        "queue_time": result.queue_ms / 1000,
        "ttft": result.ttft_ms / 1000 if result.ttft_ms >= 0 else None,
        "e2e_latency": result.e2e_ms / 1000,
        "itl": [gap / 1000 for gap in result.itl_ms[: result.n_itl]],
        "n_prompt_tokens": result.n_prompt_tokens,
        "n_cached_tokens": result.n_cached_tokens,
        "n_output_tokens": result.n_output_tokens,
        "n_drafted_tokens": result.n_drafted_tokens,
        "n_accepted_tokens": result.n_accepted_tokens,
    }
    if result.status != STATUS["ok"]:
        end["error"] = error_class(result.status)((result.error or b"").decode(errors="replace"))
    return end


class _Collected:
    """A whole generation as it grows."""

    def __init__(self) -> None:
        self.logprobs: list[tuple[float, list[tuple[int, float]]]] = []

    def take(self, event: CInferEvent) -> dict[str, Any] | _errors.LlamaError | None:
        """Takes an event; at the end, the arguments of `Result` or what failed."""
        if not event.result:
            self.logprobs += [delta[2] for delta in _deltas(event) if delta[2] is not None]
            return None
        result = event.result.contents
        end = _finish(result)
        error: _errors.LlamaError | None = end.get("error")
        if error is not None:
            return error
        text = ctypes.string_at(result.text, result.text_length).decode() if result.text else ""
        if result.message:
            end["message"] = json.loads(result.message.decode())
            if result.n_tool_calls and end["finish_reason"] == "stop":
                end["finish_reason"] = "tool_calls"
        return {**end, "text": text, "tokens": list(result.tokens[: result.n_tokens]), "logprobs": self.logprobs}


class NativeGeneration:
    """A generation; forgotten, it is cancelled."""

    def __init__(self, engine: NativeEngine, prompt: Any, sampling: Any) -> None:
        self._engine = engine
        self._queue = _Queue()
        self._events: deque[Any] = deque()
        self._collected = _Collected()
        self._is_over = False
        self._reading = threading.Lock()
        self.id = engine._start(prompt, sampling, self._queue)

    def read(self, timeout: float | None = None) -> Any:
        """The next event: (text, token or None, log probabilities or None), of a chat also with deltas, or at the end the arguments of `Result`, or the
        exception that it failed with; None if none came in `timeout` seconds or it is over."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._reading:
            while not self._events and not self._is_over:
                left = max(0.0, end - time.monotonic())
                event = self._queue.poll(math.ceil(min(_SLICE_MS, left * 1000)))
                if event is not None:
                    self._is_over = bool(event.result)
                    done = self._collected.take(event)
                    self._events.extend(_deltas(event) if done is None else [done])
                elif left == 0:
                    break
            return self._events.popleft() if self._events else None

    async def read_async(self) -> Any:
        """As `read`, to be awaited."""
        loop = asyncio.get_running_loop()
        descriptor = library().llama_infer_queue_fd(self._queue.handle)
        # It stays readable until everything was fetched, and may be so without an event.
        while (event := self.read(0.0)) is None and not (self._is_over and not self._events):
            readable = asyncio.Event()
            loop.add_reader(descriptor, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(descriptor)
        return event

    def wait(self) -> Any:
        """Waits for the end: the arguments of `Result`, or the exception that it failed with."""
        while isinstance(event := self.read(), tuple):
            pass
        return event

    async def wait_async(self) -> Any:
        """As `wait`, to be awaited."""
        while isinstance(event := await self.read_async(), tuple):
            pass
        return event

    def cancel(self) -> None:
        """Ends it before its next token; the end can still be read."""
        self._engine._cancel(self.id)


class NativeFinished:
    """Where whole generations end."""

    def __init__(self) -> None:
        self._queue = _Queue()
        self._collected: dict[int, _Collected] = {}
        self._pending = 0
        self._is_closed = False
        self._lock = threading.Lock()

    def start(self, engine: NativeEngine, prompt: Any, sampling: Any) -> int:
        with self._lock:
            id = engine._start(prompt, sampling, self._queue)
            self._pending += 1
            return id

    def close(self) -> None:
        self._is_closed = True

    def next(self) -> tuple[int, dict[str, Any] | _errors.LlamaError] | None:
        """The next number with a dict for `Result` or an exception; None when the engine is closed and all was told."""
        while True:
            event = self._queue.poll(_SLICE_MS)
            if event is None:
                with self._lock:
                    if self._is_closed and self._pending == 0:
                        return None
                continue
            id = event.id
            end = self._collected.setdefault(id, _Collected()).take(event)
            if end is not None:
                del self._collected[id]
                with self._lock:
                    self._pending -= 1
                return id, end


class _Chat(list[tuple[int, int]]):
    """Stands for the plain ranges of a chat's prompt: the chat itself, which the library renders once more."""

    messages: bytes
    options: dict[str, Any]


class NativeReplyForm:
    """How an answer is read in the package over Rust; here there is none, as the library reads it."""


class NativeEngine:
    """An engine of the library, and the process that loaded it."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        params = CEngineParams()
        check(library().llama_engine_params_init(byref(params), ctypes.sizeof(params)))
        for name, ctype, *_ in CEngineParams._fields_:
            value = options.get(name)
            if name in ("cpus", "nodes") and value is not None:
                value = ",".join(map(str, value))
            if value is not None and name != "progress":
                _set(params, name, ctype, value)
        self._process = os.getpid()
        self._handle: int | None = _load(os.fsencode(path), params, options["progress"])
        self.finished = NativeFinished()

    def _get(self) -> int:
        if self._process != os.getpid():
            raise _errors.ForkError(
                "this engine was loaded before a fork, and its threads are in the parent only; load it in the child, or start "
                "processes with 'spawn' or 'forkserver'"
            )
        if self._handle is None:
            raise _errors.ShuttingDown("the engine is closed; load a new one")
        return self._handle

    def _start(self, prompt: Any, sampling: Any, events: _Queue) -> int:
        """Starts a generation whose events go to a queue; its number."""
        params, engine, id = _infer_params(sampling), self._get(), c_uint64()
        params.queue = events.handle
        rest = (byref(params), _NO_CALLBACK, None, byref(id))
        chat = getattr(prompt, "plain", None)
        if isinstance(chat, _Chat) and sampling.parse_special:
            _chat_params(params, chat.messages, **chat.options)
            check(library().llama_infer_chat_async(engine, None, 0, *rest))
        elif isinstance(prompt, str):
            check(library().llama_infer_async(engine, _text(prompt, "the prompt"), *rest))
        else:
            tokens = _tokens(_as_tokens(prompt), "a token of the prompt")
            check(library().llama_infer_tokens_async(engine, tokens, len(tokens), *rest))
        return id.value

    def _cancel(self, id: int) -> None:
        if self._handle is not None and self._process == os.getpid():
            library().llama_infer_cancel(self._handle, id)

    def submit(self, prompt: Any, sampling: Any) -> NativeGeneration:
        return NativeGeneration(self, prompt, sampling)

    def submit_whole(self, prompt: Any, sampling: Any) -> int:
        """Starts a generation whose end arrives at `finished`; its number."""
        return self.finished.start(self, prompt, sampling)

    def cancel(self, id: int) -> None:
        self._get()
        self._cancel(id)

    def run_all(
        self, requests: Sequence[tuple[Any, Any]], tick: Callable[[int, int], object] | None
    ) -> list[dict[str, Any] | _errors.LlamaError]:
        """Runs many requests, as many at a time as keep the slots busy and leave others room in the queue."""
        window = 2 * self.stats()["slots"]
        results: list[Any] = [None] * len(requests)
        running: dict[int, tuple[int, _Collected]] = {}
        events, at, done = _Queue(), 0, 0
        try:
            while done < len(requests):
                while at < len(requests) and len(running) < window:
                    try:
                        running[self._start(*requests[at], events)] = (at, _Collected())
                    except _errors.Overloaded:
                        break
                    except _errors.ShuttingDown:
                        raise
                    except _errors.LlamaError as error:
                        results[at] = error
                        done += 1
                    at += 1
                event = events.poll(_SLICE_MS)
                if event is not None:
                    index, collected = running[event.id]
                    end = collected.take(event)
                    if end is not None:
                        del running[event.id]
                        results[index] = end
                        done += 1
                if tick is not None:
                    tick(done, len(requests))
        finally:
            events.free()
        return results

    def chat_prompt(
        self,
        messages: str,
        add_generation_prompt: bool,
        continue_final_message: str | None,
        tools: str | None,
        tool_choice: str | None,
        parallel_tool_calls: bool,
        thinking_budget: int | None,
        variables: str | None,
        parse_special: bool,
    ) -> tuple[str, list[tuple[int, int]], None]:
        """The prompt of messages in JSON, and what stands for its plain ranges. The library reads the answer itself."""
        chat = _Chat()
        chat.messages = _text(messages, "the messages")
        chat.options = {
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message or "auto",
            "tools": tools,
            "tool_choice": tool_choice,
            "parallel_tool_calls": parallel_tool_calls,
            "thinking_budget": thinking_budget,
            "variables": variables,
            "parse_special": parse_special,
        }
        params = CInferParams()
        check(library().llama_infer_params_init(byref(params), ctypes.sizeof(params)))
        _chat_params(params, chat.messages, **chat.options)
        return self._written("llama_engine_chat_prompt", None, 0, byref(params)), chat, None

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        data = _text(text, "the text")
        capacity = len(data) + 8
        tokens, length = (c_int32 * capacity)(), c_size_t()
        check(
            library().llama_engine_tokenize(
                self._get(), data, add_special, parse_special, tokens, capacity, byref(length)
            )
        )
        return tokens[: length.value]

    def detokenize(self, tokens: Sequence[int], special: bool) -> str:
        n_vocab = self.stats()["n_vocab"]
        for token in tokens:
            if not -(2**31) <= token < 2**31:
                raise OverflowError
            if not 0 <= token < n_vocab:
                message = f"token {token} is not in the vocabulary, which has the tokens 0 to {n_vocab - 1}"
                raise _errors.InvalidRequest(message)
        return self._written("llama_engine_detokenize_with", _tokens(tokens, "a token"), len(tokens), special)

    def warnings(self) -> list[str]:
        return self._written("llama_engine_warnings").splitlines()

    def _written(self, function: str, *what: Any) -> str:
        """The text that a function writes into a buffer."""
        capacity, length = 0, c_size_t()
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            status = getattr(library(), function)(self._get(), *what, buffer, capacity, byref(length))
            if status != STATUS["buffer_too_small"]:
                check(status)
                return buffer.raw[: length.value].decode()
            capacity = length.value + 1

    def stats(self) -> dict[str, Any]:
        """Keyword arguments of `EngineStats`."""
        raw = CEngineStats(size=ctypes.sizeof(CEngineStats))
        check(library().llama_engine_get_stats(self._get(), byref(raw)))
        stats = {name: getattr(raw, name) for name, *_ in CEngineStats._fields_ if name != "size"}
        stats = {name: value.decode() if isinstance(value, bytes) else value for name, value in stats.items()}
        for name in [name for name in stats if name.endswith("_ms")]:
            stats[f"{name.removesuffix('_ms')}_time"] = stats.pop(name) / 1000
        stats["strategy"] = _name_of(raw.strategy, "llama_engine_strategy")
        stats["local_fraction"] = raw.local_fraction if raw.local_fraction >= 0 else None
        stats["cpus"] = _numbers(stats["cpus"])
        return stats

    def drain(self, timeout: float | None = None) -> bool:
        """Takes no more requests and waits for the others; whether all were over within `timeout` seconds."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._handle is not None:
            left = max(0.0, end - time.monotonic())
            status = library().llama_engine_drain(self._get(), math.ceil(min(_SLICE_MS, left * 1000)))
            if status in (STATUS["ok"], STATUS["invalid_handle"]):
                return True
            if status != STATUS["timeout"]:
                check(status)
            if left == 0:
                return False
        return True

    def close(self) -> None:
        """Cancels what runs, ends the threads and gives the memory back. May be called again, and in a forked child, where it
        does nothing."""
        if self._process != os.getpid():
            return
        handle, self._handle = self._handle, None
        if handle is not None:
            library().llama_engine_free(handle)
            self.finished.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def _as_tokens(prompt: Any) -> list[int]:
    if not isinstance(prompt, (bytes, bytearray, Mapping, set, frozenset)):
        try:
            tokens = list(prompt)
        except TypeError:
            tokens = [None]
        if all(hasattr(token, "__index__") for token in tokens):
            return [token.__index__() for token in tokens]
    instead = ""
    if isinstance(prompt, (bytes, bytearray)):
        instead = "; decode the bytes, as in data.decode()"
    elif isinstance(prompt, (Mapping, set, frozenset)):
        instead = "; make a list of what is in it"
    kind = type(prompt).__name__
    raise TypeError(f"a prompt is a str or a list of tokens, which are int, not {kind}{instead}")


def _chat_params(
    params: CInferParams,
    messages: bytes,
    add_generation_prompt: bool,
    continue_final_message: str,
    tools: str | None,
    tool_choice: str | None,
    parallel_tool_calls: bool,
    thinking_budget: int | None,
    variables: str | None,
    parse_special: bool,
) -> None:
    if tool_choice is not None and isinstance(word := json.loads(tool_choice), str):
        tool_choice = word  # the library takes words as they are
    params.chat_tool_choice = None if tool_choice is None else tool_choice.encode()
    params.chat_parallel_tool_calls = parallel_tool_calls
    params.chat_thinking_budget = -1 if thinking_budget is None else min(thinking_budget, 2**31 - 1)
    params.chat_messages = messages
    params.add_generation_prompt = add_generation_prompt
    params.continue_final_message = ENUMS["llama_infer_continuation"][continue_final_message]
    params.chat_tools = None if tools is None else tools.encode()
    params.chat_variables = None if variables is None else variables.encode()
    params.chat_parse_special = parse_special


def _numbers(text: str) -> list[int]:
    """The numbers of a list such as "0-3,8"."""
    ends = [part.split("-") for part in text.split(",") if part]
    return [number for first, *last in ends for number in range(int(first), int(last[0] if last else first) + 1)]


def _load(path: bytes, params: CEngineParams, progress: Callable[[float], bool | None] | None) -> int:
    """Loads an engine on a thread of its own, so that this one can be interrupted; `progress` is called on this one."""
    fractions: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    engine, stopped, errors = c_void_p(), threading.Event(), []

    def ask(fraction: float, _: int | None) -> bool:
        if progress is None or stopped.is_set():
            return not stopped.is_set()
        fractions.put(fraction)
        return answers.get() and not stopped.is_set()

    def load() -> None:
        try:
            check(library().llama_engine_load(path, byref(params), byref(engine)))
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            fractions.put(None)

    params.progress = on_progress = CEngineProgressCallback(ask)
    thread = threading.Thread(target=load, name="llama-concurrent-load")
    thread.start()
    try:
        while (fraction := fractions.get()) is not None:
            answers.put(progress is None or progress(fraction) is not False)
        thread.join()
    except BaseException:
        stopped.set()
        answers.put(False)
        thread.join()
        if engine.value is not None:
            library().llama_engine_free(engine)
        raise
    del on_progress
    if errors:
        raise errors[0]
    assert engine.value is not None
    return engine.value
