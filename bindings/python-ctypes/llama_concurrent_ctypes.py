"""Many generations at once over one GGUF model, on CPU: libllama_concurrent from Python, with ctypes and nothing else.

    import llama_concurrent_ctypes as llama

    with llama.load("model.gguf", slots=8) as engine:
        print(engine.generate("Once upon a time", max_tokens=64).text)
        for piece in engine.stream("The little dog", max_tokens=64):
            print(piece, end="", flush=True)

Every method may be called from any thread, also from inside callbacks, except where it says otherwise. Calls that wait
release the GIL. Errors of the library are `LlamaError` and its subclasses; wrong Python types are `TypeError`.
"""

from __future__ import annotations

import _thread
import array
import atexit
import ctypes
import ctypes.util
import enum
import itertools
import json
import math
import operator
import os
import queue
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ctypes import POINTER, c_bool, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Engine",
    "EngineParams",
    "EngineStats",
    "Event",
    "InCallback",
    "InferParams",
    "InvalidConfig",
    "InvalidRequest",
    "LibraryNotFound",
    "LlamaError",
    "LoadCancelled",
    "Message",
    "ModelError",
    "Overloaded",
    "Prompt",
    "PromptTooLong",
    "Request",
    "Result",
    "ShuttingDown",
    "Status",
    "Stream",
    "Timeout",
    "load",
    "set_log",
    "version",
]

_POLL_SLICE_MS = 100
"""Waits inside the library are cut into slices of this length, so that Ctrl-C is noticed between two of them."""

# --- Numbers of the header -------------------------------------------------------------------------------------------


class Status(enum.IntEnum):
    """What a function of the library returned; `LlamaError.status` may also be a newer number that is not here."""

    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_HANDLE = 2
    INVALID_CONFIG = 3
    INVALID_REQUEST = 4
    PROMPT_TOO_LONG = 5
    MODEL_NOT_FOUND = 6
    MODEL_INVALID = 7
    MODEL_UNSUPPORTED = 8
    OUT_OF_MEMORY = 9
    OVERLOADED = 10
    NO_CHAT_TEMPLATE = 11
    CHAT_TEMPLATE = 12
    SHUTTING_DOWN = 13
    DECODE = 14
    LOAD_CANCELLED = 15
    INTERNAL = 16
    TIMEOUT = 17
    IN_CALLBACK = 18
    NOT_FOUND = 19
    BUFFER_TOO_SMALL = 20
    BUSY = 21


# header: begin

_ENUMS: dict[str, dict[str, int]] = {
    "llama_infer_event_type": {"token": 1, "finished": 2},
    "llama_infer_finish_reason": {"stop": 1, "length": 2, "cancelled": 3, "deadline": 4, "error": 5},
    "llama_concurrent_log_level": {"error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5},
    "llama_infer_status": {
        "ok": 0,
        "invalid_argument": 1,
        "invalid_handle": 2,
        "invalid_config": 3,
        "invalid_request": 4,
        "prompt_too_long": 5,
        "model_not_found": 6,
        "model_invalid": 7,
        "model_unsupported": 8,
        "out_of_memory": 9,
        "overloaded": 10,
        "no_chat_template": 11,
        "chat_template": 12,
        "shutting_down": 13,
        "decode": 14,
        "load_cancelled": 15,
        "internal": 16,
        "timeout": 17,
        "in_callback": 18,
        "not_found": 19,
        "buffer_too_small": 20,
        "busy": 21,
    },
    "llama_engine_strategy": {"auto": 0, "sequential": 1, "round-robin": 2, "batched": 3},
    "llama_engine_kv_type": {"f16": 0, "q8_0": 1, "f32": 2},
    "llama_infer_priority": {"interactive": 0, "batch": 1},
    "llama_infer_continuation": {"auto": 0, "never": 1, "last": 2, "content": 3, "reasoning_content": 4},
    "llama_engine_placement": {"auto": 0, "node": 1, "l3": 2, "none": 3},
    "llama_engine_replicate": {"auto": 0, "always": 1, "never": 2},
}
"""Numbers by their names."""


class _CInferErrorDetail(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("status", c_int32),
        ("retry_after_ms", c_uint32),
        ("n_prompt_tokens", c_uint32),
        ("max_tokens", c_uint32),
        ("n_ctx", c_uint32),
        ("reserved", c_uint32),
    ]


_CEngineProgressCallback = ctypes.CFUNCTYPE(c_bool, c_float, c_void_p)


class _CEngineParams(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("strategy", c_int32),
        ("slots", c_uint32),
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("threads", c_uint32),
        ("workers", c_uint32),
        ("max_stall_ms", c_uint32),
        ("max_queued_requests", c_uint32),
        ("max_queued_tokens", c_uint64),
        ("batch_aging_ms", c_uint32),
        ("stream_buffer", c_uint32),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("poll", c_uint32),
        ("prefix_reuse", c_bool),
        ("reproducible", c_bool),
        ("mmap", c_bool),
        ("repack", c_bool),
        ("check_tensors", c_bool),
        ("flash_attn", c_bool),
        ("pin", c_bool),
        ("kernels", c_bool),
        ("progress", _CEngineProgressCallback),
        ("progress_user_data", c_void_p),
        ("pack_cache", c_char_p),
        ("placement", c_int32),
        ("replicate", c_int32),
        ("cpus", c_char_p),
        ("nodes", c_char_p),
        ("swa_full", c_bool),
        ("reserved", c_bool * 7),
        ("chat_template", c_char_p),
        ("chat_template_kwargs", c_char_p),
    ]


class _CInferLogitBias(ctypes.Structure):
    _fields_ = [
        ("token", c_int32),
        ("bias", c_float),
    ]


class _CInferParams(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("max_tokens", c_uint32),
        ("temperature", c_float),
        ("top_k", c_uint32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("frequency_penalty", c_float),
        ("presence_penalty", c_float),
        ("penalty_last_n", c_uint32),
        ("seed", c_uint32),
        ("priority", c_int32),
        ("queue_timeout_ms", c_uint32),
        ("timeout_ms", c_uint32),
        ("stop", POINTER(c_char_p)),
        ("n_stop", c_size_t),
        ("logit_bias", POINTER(_CInferLogitBias)),
        ("n_logit_bias", c_size_t),
        ("queue", c_void_p),
        ("chat_tools", c_char_p),
        ("chat_variables", c_char_p),
        ("ignore_eos", c_bool),
        ("parse_special", c_bool),
        ("add_generation_prompt", c_bool),
        ("reserved", c_bool * 5),
        ("json_schema", c_char_p),
        ("regex", c_char_p),
        ("grammar", c_char_p),
        ("logprobs", c_int32),
        ("prefix_reuse", c_bool),
        ("special", c_bool),
        ("reserved_2", c_bool * 2),
        ("stop_token_ids", POINTER(c_int32)),
        ("n_stop_token_ids", c_size_t),
        ("min_tokens", c_uint32),
        ("typical_p", c_float),
        ("top_n_sigma", c_float),
        ("xtc_probability", c_float),
        ("xtc_threshold", c_float),
        ("dynatemp_range", c_float),
        ("dynatemp_exponent", c_float),
        ("mirostat", c_uint32),
        ("mirostat_tau", c_float),
        ("mirostat_eta", c_float),
        ("chat_messages", c_char_p),
        ("continue_final_message", c_int32),
        ("chat_parse_special", c_bool),
        ("reserved_3", c_bool * 3),
        ("dry_multiplier", c_float),
        ("dry_base", c_float),
        ("dry_allowed_length", c_uint32),
        ("dry_penalty_last_n", c_uint32),
        ("dry_sequence_breakers", POINTER(c_char_p)),
        ("n_dry_sequence_breakers", c_size_t),
        ("adaptive_target", c_float),
        ("adaptive_decay", c_float),
    ]


class _CInferResult(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("reason", c_int32),
        ("status", c_int32),
        ("error", c_char_p),
        ("text", c_void_p),
        ("text_length", c_size_t),
        ("tokens", POINTER(c_int32)),
        ("n_tokens", c_size_t),
        ("stop_index", c_int32),
        ("n_prompt_tokens", c_uint32),
        ("n_cached_tokens", c_uint32),
        ("n_output_tokens", c_uint32),
        ("queue_ms", c_double),
        ("ttft_ms", c_double),
        ("e2e_ms", c_double),
        ("itl_ms", POINTER(c_double)),
        ("n_itl", c_size_t),
    ]


class _CInferLogprob(ctypes.Structure):
    _fields_ = [
        ("token", c_int32),
        ("logprob", c_float),
    ]


class _CInferEvent(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("type", c_int32),
        ("index", c_uint32),
        ("id", c_uint64),
        ("engine", c_void_p),
        ("user_data", c_void_p),
        ("text", c_void_p),
        ("text_length", c_size_t),
        ("tokens", POINTER(c_int32)),
        ("n_tokens", c_size_t),
        ("position", c_size_t),
        ("result", POINTER(_CInferResult)),
        ("n_remaining", c_size_t),
        ("logprobs", POINTER(_CInferLogprob)),
        ("n_logprobs", c_size_t),
    ]


_CInferCallback = ctypes.CFUNCTYPE(None, POINTER(_CInferEvent), c_void_p)


class _CInferMessage(ctypes.Structure):
    _fields_ = [
        ("role", c_char_p),
        ("content", c_char_p),
    ]


class _CEngineStats(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("strategy", c_int32),
        ("workers", c_uint32),
        ("contexts", c_uint32),
        ("slots", c_uint32),
        ("n_ctx", c_uint32),
        ("threads", c_uint32),
        ("n_ctx_train", c_uint32),
        ("n_vocab", c_uint32),
        ("model_bytes", c_uint64),
        ("repack_bytes", c_uint64),
        ("kv_bytes", c_uint64),
        ("compute_bytes", c_uint64),
        ("decode_calls", c_uint64),
        ("decode_rows", c_uint64),
        ("decode_ms", c_double),
        ("prefill_calls", c_uint64),
        ("prefill_rows", c_uint64),
        ("prefill_ms", c_double),
        ("output_tokens", c_uint64),
        ("cached_tokens", c_uint64),
        ("requests_submitted", c_uint64),
        ("requests_rejected", c_uint64),
        ("requests_stopped", c_uint64),
        ("requests_length", c_uint64),
        ("requests_cancelled", c_uint64),
        ("requests_deadline", c_uint64),
        ("requests_failed", c_uint64),
        ("requests_running", c_uint32),
        ("requests_waiting", c_uint32),
        ("kernels", c_char_p),
        ("weight_copies", c_uint32),
        ("strayed_threads", c_uint32),
        ("local_fraction", c_double),
        ("pack_cache", c_char_p),
        ("kernels_share", c_double),
        ("products", c_char_p),
    ]


_CConcurrentLogCallback = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_char_p, c_void_p)


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_infer_status_name": (c_char_p, [c_int32]),
    "llama_infer_last_error": (c_char_p, []),
    "llama_infer_last_error_detail": (c_int32, [POINTER(_CInferErrorDetail)]),
    "llama_engine_params_init": (c_int32, [POINTER(_CEngineParams), c_size_t]),
    "llama_infer_params_init": (c_int32, [POINTER(_CInferParams), c_size_t]),
    "llama_infer_queue_new": (c_int32, [POINTER(c_void_p)]),
    "llama_infer_queue_fd": (c_int, [c_void_p]),
    "llama_infer_poll": (c_int32, [c_void_p, c_int32, POINTER(POINTER(_CInferEvent))]),
    "llama_infer_queue_free": (c_int32, [c_void_p]),
    "llama_engine_load": (c_int32, [c_char_p, POINTER(_CEngineParams), POINTER(c_void_p)]),
    "llama_engine_free": (c_int32, [c_void_p]),
    "llama_engine_drain": (c_int32, [c_void_p, c_int32]),
    "llama_engine_warnings": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)]),
    "llama_infer_async": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            POINTER(_CInferParams),
            _CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_tokens_async": (
        c_int32,
        [
            c_void_p,
            POINTER(c_int32),
            c_size_t,
            POINTER(_CInferParams),
            _CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_chat_async": (
        c_int32,
        [
            c_void_p,
            POINTER(_CInferMessage),
            c_size_t,
            POINTER(_CInferParams),
            _CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_engine_chat_prompt": (
        c_int32,
        [
            c_void_p,
            POINTER(_CInferMessage),
            c_size_t,
            POINTER(_CInferParams),
            c_char_p,
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_infer_batch_async": (
        c_int32,
        [
            c_void_p,
            POINTER(c_char_p),
            c_size_t,
            POINTER(_CInferParams),
            _CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_cancel": (c_int32, [c_void_p, c_uint64]),
    "llama_infer_wait": (c_int32, [c_void_p, c_uint64, c_int32]),
    "llama_infer_wait_all": (c_int32, [c_void_p, c_int32]),
    "llama_engine_tokenize": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            c_bool,
            c_bool,
            POINTER(c_int32),
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_engine_count_tokens": (c_int32, [c_void_p, c_char_p, POINTER(c_size_t)]),
    "llama_engine_detokenize": (c_int32, [c_void_p, POINTER(c_int32), c_size_t, c_char_p, c_size_t, POINTER(c_size_t)]),
    "llama_engine_detokenize_with": (
        c_int32,
        [
            c_void_p,
            POINTER(c_int32),
            c_size_t,
            c_bool,
            c_char_p,
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_engine_get_stats": (c_int32, [c_void_p, POINTER(_CEngineStats)]),
    "llama_concurrent_set_log": (c_int32, [_CConcurrentLogCallback, c_int32, c_void_p]),
    "llama_concurrent_version": (c_char_p, []),
}
"""Result and arguments of each function."""

# header: end

_EVENT_TYPES = _ENUMS["llama_infer_event_type"]
_REASONS = _ENUMS["llama_infer_finish_reason"]
_LOG_LEVELS = _ENUMS["llama_concurrent_log_level"]
_STRATEGIES = _ENUMS["llama_engine_strategy"]
_CHOICES = {
    "strategy": _STRATEGIES,
    "type_k": _ENUMS["llama_engine_kv_type"],
    "type_v": _ENUMS["llama_engine_kv_type"],
    "priority": _ENUMS["llama_infer_priority"],
    "continue_final_message": _ENUMS["llama_infer_continuation"],
    "placement": _ENUMS["llama_engine_placement"],
    "replicate": _ENUMS["llama_engine_replicate"],
}
"""Fields that are numbers in the library and words here."""


def _name_of(number: int, names: Mapping[str, int]) -> str:
    return next((name for name, known in names.items() if known == number), f"unknown ({number})")


_NO_CALLBACK = _CInferCallback()

# --- Finding the library ---------------------------------------------------------------------------------------------

_LIBRARY_VARIABLE = "LLAMA_CONCURRENT_LIBRARY"
_loaded: ctypes.CDLL | None = None
_loading_library = threading.Lock()


class LibraryNotFound(ImportError):
    """libllama_concurrent was not found or cannot be loaded; the message says where it was looked for."""


def _library(wanted: str | os.PathLike[str] | None = None) -> ctypes.CDLL:
    """The library, loaded at the first call. Raises `LibraryNotFound`, or `ValueError` if another one is loaded."""
    global _loaded
    with _loading_library:
        if _loaded is None:
            _loaded = _open_first(_candidates(wanted))
            atexit.register(_at_exit)
            os.register_at_fork(after_in_child=_after_fork_in_child)
        elif wanted is not None and os.path.realpath(wanted) != os.path.realpath(_loaded._name):
            raise ValueError(f"library {os.fspath(wanted)} was asked for, but {_loaded._name} is loaded already")
        return _loaded


def _candidates(wanted: str | os.PathLike[str] | None) -> list[str]:
    """What to try with dlopen, in order. A place that was named is the only one."""
    named = wanted or os.environ.get(_LIBRARY_VARIABLE)
    if named:
        return [os.fspath(named)]
    plain = "libllama_concurrent.dylib" if sys.platform == "darwin" else "libllama_concurrent.so"
    names = [plain] if sys.platform == "darwin" else [f"{plain}.0", plain]
    here = Path(__file__).resolve().parent
    folders = [here, here.parent.parent / "target" / "release"]
    found = ctypes.util.find_library("llama_concurrent")
    return [str(folder / name) for folder in folders for name in names] + ([found] if found else []) + names


def _open_first(candidates: Iterable[str]) -> ctypes.CDLL:
    tried = []
    for candidate in candidates:
        try:
            library = ctypes.CDLL(candidate)
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
        except (OSError, AttributeError) as error:
            missing = os.path.isabs(candidate) and not os.path.exists(candidate)
            tried.append(f"  {candidate}: {'no such file' if missing else error}")
    raise LibraryNotFound(
        "libllama_concurrent was not found. Tried:\n"
        + "\n".join(tried)
        + "\nBuild it with `cargo build --release -p llama-concurrent-capi`, or say where it is: set"
        f" {_LIBRARY_VARIABLE} to its path, or pass library=PATH to load."
    )


def version(library: str | os.PathLike[str] | None = None) -> str:
    """The version of the library, such as "0.1.0". Raises `LibraryNotFound`."""
    return str(_library(library).llama_concurrent_version(), "utf-8")


# --- Errors ----------------------------------------------------------------------------------------------------------


class LlamaError(RuntimeError):
    """The library refused or failed something; the message says what was asked, which limit applied, what to do."""

    status: int
    """Number of the cause, one of `Status` or a newer one."""

    def __init__(self, message: str = "", status: int = Status.INTERNAL) -> None:
        super().__init__(message)
        self.status = int(status)

    @property
    def status_name(self) -> str:
        """The cause in words, such as "prompt too long"."""
        return str(_library().llama_infer_status_name(self.status), "utf-8")


class Overloaded(LlamaError):
    """The queue is full."""

    retry_after: float | None = None
    """Estimated seconds until a place becomes free; None if the library did not say."""


class PromptTooLong(LlamaError):
    """Prompt and requested output do not fit into a slot. The numbers are None in the results of a batch."""

    n_prompt_tokens: int | None = None
    """Tokens of the prompt."""
    max_tokens: int | None = None
    """Output tokens that were asked for."""
    n_ctx: int | None = None
    """Tokens that a slot holds."""


class ModelError(LlamaError, OSError):
    """The model file was not found, is damaged, or cannot be run by this build; `status` tells which."""


class InvalidRequest(LlamaError, ValueError):
    """A parameter of a request, the prompt or a message is out of range."""


class InvalidConfig(LlamaError, ValueError):
    """A parameter of `load` is out of range or contradicts another."""


class ShuttingDown(LlamaError):
    """The engine is draining or closed and takes no new requests."""


class LoadCancelled(LlamaError):
    """`progress` stopped the load."""


class Timeout(LlamaError, TimeoutError):
    """The time was over before that happened which was waited for."""


class InCallback(LlamaError):
    """Called from inside a callback that it would wait for; nothing was done."""


_ERRORS: dict[int, type[LlamaError]] = {
    Status.INVALID_HANDLE: ShuttingDown,
    Status.INVALID_CONFIG: InvalidConfig,
    Status.INVALID_REQUEST: InvalidRequest,
    Status.PROMPT_TOO_LONG: PromptTooLong,
    Status.MODEL_NOT_FOUND: ModelError,
    Status.MODEL_INVALID: ModelError,
    Status.MODEL_UNSUPPORTED: ModelError,
    Status.OVERLOADED: Overloaded,
    Status.SHUTTING_DOWN: ShuttingDown,
    Status.LOAD_CANCELLED: LoadCancelled,
    Status.TIMEOUT: Timeout,
    Status.IN_CALLBACK: InCallback,
}


def _error(status: int, message: str) -> LlamaError:
    return _ERRORS.get(status, LlamaError)(message, status)


def _last_error(status: int) -> LlamaError:
    """The exception for a call that just failed with `status` on this thread."""
    library = _library()
    message = library.llama_infer_last_error().decode(errors="replace")
    detail = _CInferErrorDetail(size=ctypes.sizeof(_CInferErrorDetail))
    known = library.llama_infer_last_error_detail(ctypes.byref(detail)) == Status.OK and detail.status == status
    error = _error(status, message if known else library.llama_infer_status_name(status).decode())
    if known and isinstance(error, Overloaded):
        error.retry_after = detail.retry_after_ms / 1000
    if known and isinstance(error, PromptTooLong):
        error.n_prompt_tokens = detail.n_prompt_tokens
        error.max_tokens = detail.max_tokens
        error.n_ctx = detail.n_ctx
    return error


def _check(status: int) -> None:
    if status != Status.OK:
        raise _last_error(status)


# --- What callers pass -----------------------------------------------------------------------------------------------

Prompt = str | Sequence[int]
"""A text, or tokens that are used as they are."""


class Message(TypedDict, total=False):
    """One message of a chat. The template sees all of its keys, also others than these."""

    role: str
    """Who speaks: mostly "system", "user", "assistant" or "tool"."""
    content: str | list[dict[str, Any]] | None
    """What is said: a text, or a list of parts."""
    name: str
    """Whose message it is, or of which tool."""
    tool_calls: list[dict[str, Any]]
    """The tools that the model called."""
    tool_call_id: str
    """The call that this is the result of."""
    reasoning_content: str | None
    """What the model thought before it answered."""


class EngineParams(TypedDict, total=False):
    """Keywords of `load`. None stands for the default."""

    strategy: Literal["auto", "sequential", "round-robin", "batched"] | None
    """How requests share contexts and slots. Default: "auto"."""
    slots: int | None
    """Requests that run at once; each costs KV memory for `n_ctx` tokens. 0 (default): 16 for each worker, fewer if memory is short."""
    n_ctx: int | None
    """Tokens of prompt and output that one slot holds. 0 (default): the trained length, at most 2048."""
    n_batch: int | None
    """Rows of one llama_decode at most. Default: 512."""
    threads: int | None
    """Compute threads. 0 (default): the physical cores that this process may use."""
    workers: int | None
    """Threads that each own contexts and decode. 0 (default): as `placement` says."""
    max_stall_ms: int | None
    """Milliseconds of other prompts between two tokens of a running request at most. Default: 200."""
    max_queued_requests: int | None
    """Requests that may wait for a slot; one more raises `Overloaded`. Default: 1024."""
    max_queued_tokens: int | None
    """Prompt tokens that may wait for a slot. Default: 1000000."""
    batch_aging_ms: int | None
    """A request of the batch class counts as if it had come so many milliseconds later. Default: 10000."""
    stream_buffer: int | None
    """Events that may wait for their reader; then the request pauses. Default: 256."""
    type_k: Literal["f16", "q8_0", "f32"] | None
    """Element type of the K cache. Default: "f16"."""
    type_v: Literal["f16", "q8_0", "f32"] | None
    """Element type of the V cache. Default: "f16"."""
    poll: int | None
    """How long idle compute threads spin before they sleep, 0 (not at all) to 100. Default: 50."""
    prefix_reuse: bool | None
    """Reuse what was computed for equal beginnings of prompts. Default: True."""
    reproducible: bool | None
    """Bit-identical tokens whoever else is running. Default: False."""
    mmap: bool | None
    """Map the model file instead of reading it. Default: True."""
    repack: bool | None
    """Repack weights for the CPU: faster from about 4 requests on, a second copy in memory. Default: True."""
    check_tensors: bool | None
    """Check every weight for NaN and infinity while loading. Default: False."""
    flash_attn: bool | None
    """Use flash attention; a "q8_0" V cache needs it. Default: True."""
    pin: bool | None
    """Pin each compute thread to its own core. Default: True."""
    kernels: bool | None
    """Compute with the library's own kernels where the CPU has what they need. Default: True."""
    pack_cache: bool | str | os.PathLike[str] | None
    """Keep weights as the kernels pack them in a file, beside the model (True) or in this folder: the first load writes it,
    later ones map it, and processes share it. Default: False."""
    placement: Literal["auto", "node", "l3", "none"] | None
    """One worker for each NUMA node or cache, or one that is bound to nothing. Default: "auto"."""
    replicate: Literal["auto", "always", "never"] | None
    """Whether each NUMA node gets a copy of the weights. Default: "auto", where they fit."""
    cpus: str | None
    """CPUs that compute threads may use, such as "0-7,16". Default: all that this process may use."""
    nodes: str | None
    """NUMA nodes whose cores and memory are used, such as "0,1". Default: all."""
    swa_full: bool | None
    """Keep KV of all tokens also in layers with a sliding window: more memory, and prompts can share a beginning long after
    its sequence went on. Default: False."""
    chat_template: str | None
    """Render chats with this template instead of the model's own: Jinja source, or a name such as "chatml"."""
    chat_template_kwargs: str | Mapping[str, Any] | None
    """Variables of the chat template; JSON text, or what `json.dumps` accepts."""


class InferParams(TypedDict, total=False):
    """Keywords of everything that generates. None stands for the default."""

    # parameters: begin
    max_tokens: int | None
    """Output tokens at most. None: until the slot is full."""
    temperature: float | None
    """0 takes the likeliest token each time (greedy); 1 samples the model's own distribution. Default: 0.0."""
    top_k: int | None
    """Keep so many of the likeliest tokens; 0 keeps all. Default: 40."""
    top_p: float | None
    """Keep the likeliest tokens whose probabilities add up to this; 1 keeps all. Default: 0.95."""
    min_p: float | None
    """Drop tokens less likely than this share of the likeliest; 0 keeps all. Default: 0.05."""
    repetition_penalty: float | None
    """Divides the logits of tokens seen in the last `penalty_last_n`; 1 is off. Default: 1.0."""
    frequency_penalty: float | None
    """Subtracted for each time that a token was seen in the last `penalty_last_n`; 0 is off. Default: 0.0."""
    presence_penalty: float | None
    """Subtracted once if a token was seen in the last `penalty_last_n`; 0 is off. Default: 0.0."""
    penalty_last_n: int | None
    """Window of the three penalties in tokens, over prompt and output; 0 turns them off. Default: 64."""
    seed: int | None
    """Seed of the random choice: equal seeds give equal draws from equal distributions. Prompt i of several uses the
    seed + i. Default: 0."""
    stop: str | Sequence[str] | None
    """Texts that end the generation and are never part of the output. One that is the text of a special token, such as
    `<|im_end|>`, ends it at that token, whether or not special tokens are written."""
    logit_bias: Mapping[int, float] | None
    """Added to the logits of single tokens; minus infinity forbids one."""
    ignore_eos: bool | None
    """Do not end at the model's end-of-generation tokens; they are made impossible instead. Default: False."""
    logprobs: int | None
    """With each token its log probability and so many of the likeliest tokens, at most 1000; with 0, its own alone.
    None: no log probabilities."""
    special: bool | None
    """Write special tokens into the text, such as `[TOOL_CALLS]` or `<|channel|>`, which are left out otherwise. The
    token that ends a generation is never part of it. Default: False."""
    stop_token_ids: Sequence[int] | None
    """Tokens that end the generation as the model's own end-of-generation tokens do, and are no part of the output."""
    min_tokens: int | None
    """Output tokens before which no token may end the generation; 0 is off. Stop strings end a text before, and so does
    a constraint under which it is complete. Default: 0."""
    typical_p: float | None
    """Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is
    off. Default: 1.0."""
    top_n_sigma: float | None
    """Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off. Default: 0.0."""
    xtc_probability: float | None
    """How probable it is that of the tokens above `xtc_threshold` only the least likely stays; 0 is off. Default:
    0.0."""
    xtc_threshold: float | None
    """Probability from which a token counts for XTC; above 0.5 it is off. Default: 0.1."""
    dynatemp_range: float | None
    """Moves the temperature by up to this, up where the model is undecided and down where it is sure; 0 is off.
    Default: 0.0."""
    dynatemp_exponent: float | None
    """How the uncertainty is mapped to `dynatemp_range`; 1 is linear. Default: 1.0."""
    mirostat: int | None
    """Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off. Default: 0."""
    mirostat_tau: float | None
    """Mirostat's target for the surprise, in bits. Default: 5.0."""
    mirostat_eta: float | None
    """Mirostat's learning rate. Default: 0.1."""
    dry_multiplier: float | None
    """DRY: how much is subtracted from the logit of a token that would continue a repetition; 0 is off. Default:
    0.0."""
    dry_base: float | None
    """DRY: by what that grows with each token by which the repetition is longer than `dry_allowed_length`. Default:
    1.75."""
    dry_allowed_length: int | None
    """DRY: tokens that may be repeated at no cost. Default: 2."""
    dry_penalty_last_n: int | None
    """DRY: window in tokens, over prompt and output, in which repetitions are looked for; 0 is off. Default: 64."""
    dry_sequence_breakers: str | Sequence[str] | None
    """DRY: texts across which nothing is a repetition, of at most 40 bytes each. Default: "\n", ":", "\"", "*"."""
    adaptive_target: float | None
    """Adaptive-p in place of the last draw: prefers tokens about as probable as this, as the cuts have left them; below
    0 it is off. Default: -1.0."""
    adaptive_decay: float | None
    """How long adaptive-p remembers how probable its tokens were: about 1 / (1 - this) of them. Default: 0.9."""
    # parameters: end

    priority: Literal["interactive", "batch"] | None
    """Who goes first. Default: "interactive"; batches always run as "batch"."""
    queue_timeout_ms: int | None
    """Give up if no slot was found after so many milliseconds; 0 (default): wait as long as it takes."""
    timeout_ms: int | None
    """Give up if not finished so many milliseconds after the submission; 0 (default): no limit."""
    chat_tools: str | Sequence[Mapping[str, Any]] | None
    """Chats: the tools that the model may call; JSON text, or what `json.dumps` accepts."""
    chat_variables: str | Mapping[str, Any] | None
    """Chats: further variables of the template; JSON text, or what `json.dumps` accepts."""
    parse_special: bool | None
    """Read special tokens written out in a prompt, such as "<|user|>". Default: True. Not for text you do not trust."""
    add_generation_prompt: bool | None
    """Chats: end the prompt with the opening of an answer. Default: True."""
    json_schema: str | Mapping[str, Any] | None
    """The output is JSON that is valid under this schema; JSON text, or what `json.dumps` accepts."""
    regex: str | None
    """A regular expression that the whole output matches."""
    grammar: str | None
    """A grammar of the output: llguidance's form of Lark, with a rule `start`, or llama.cpp's GBNF, with a rule `root`."""
    prefix_reuse: bool | None
    """Start from what is there already of equal prompt beginnings. Default: True."""
    chat_messages: str | Sequence[Message] | None
    """Chats: the messages, which the methods for chats take as an argument."""
    continue_final_message: Literal["auto", "never", "last", "content", "reasoning_content"] | None
    """Chats: whether the model continues the last message. Default: "auto", if it is the assistant's."""
    chat_parse_special: bool | None
    """Chats: read special tokens also where they are written inside messages. Default: False."""


def _engine_params(values: Mapping[str, Any]) -> _CEngineParams:
    params = _CEngineParams()
    _check(_library().llama_engine_params_init(ctypes.byref(params), ctypes.sizeof(params)))
    for name, ctype, value in _known(values, _CEngineParams, EngineParams):
        if name == "pack_cache":
            params.pack_cache = None if value is False else b"" if value is True else os.fsencode(value)
        elif name == "chat_template_kwargs":
            setattr(params, name, _encode(value if isinstance(value, str) else json.dumps(value), name))
        elif ctype is c_char_p:
            setattr(params, name, _encode(value, name))
        else:
            setattr(params, name, _scalar(name, ctype, value, Status.INVALID_CONFIG))
    return params


def _infer_params(values: Mapping[str, Any]) -> _CInferParams:
    params = _CInferParams()
    _check(_library().llama_infer_params_init(ctypes.byref(params), ctypes.sizeof(params)))
    for name, ctype, value in _known(values, _CInferParams, InferParams):
        if ctype in (POINTER(c_char_p), POINTER(c_int32), POINTER(_CInferLogitBias)):
            elements = _elements(name, ctype, value)
            setattr(params, name, elements)
            setattr(params, f"n_{name}", len(elements))
        elif name in ("chat_tools", "chat_variables", "chat_messages", "json_schema"):
            setattr(params, name, _encode(value if isinstance(value, str) else json.dumps(value), name))
        elif ctype is c_char_p:
            setattr(params, name, _encode(value, name))
        else:
            setattr(params, name, _scalar(name, ctype, value, Status.INVALID_REQUEST))
    return params


def _elements(name: str, ctype: Any, value: Any) -> Any:
    """The array for a field that is a list."""
    if ctype is POINTER(c_char_p):
        return _texts([value] if isinstance(value, str) else list(value), f"a text of {name}")
    if ctype is POINTER(c_int32):
        tokens = [_int32(token, f"a token of {name}") for token in value]
        return (c_int32 * len(tokens))(*tokens)
    biases = [_CInferLogitBias(_int32(token, "a token"), bias) for token, bias in value.items()]
    return (_CInferLogitBias * len(biases))(*biases)


def _refuse_logprobs(values: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` where log probabilities are asked for and nothing would have them."""
    if values.get("logprobs") is not None:
        message = "logprobs come with the events of infer_async, whose callback gets them; a result has none"
        raise _error(Status.INVALID_REQUEST, message)


def _known(values: Mapping[str, Any], struct: type[ctypes.Structure], allowed: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, C type and value of all that was set. Raises `TypeError` for a name that is not in `allowed`."""
    types = {name: ctype for name, ctype, *_ in struct._fields_}
    for name, value in values.items():
        if name not in allowed.__annotations__:
            raise TypeError(f"unknown parameter {name!r}; known are {', '.join(allowed.__annotations__)}")
        if value is not None:
            yield name, types[name], value


def _scalar(name: str, ctype: Any, value: Any, status: Status) -> Any:
    """The value for a field. ctypes alone would cut numbers that are too large."""
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise _error(status, f"{name} must be one of {', '.join(map(repr, _CHOICES[name]))}, not {value!r}")
        return _CHOICES[name][value]
    if ctype is c_bool:
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, not {value!r}")
        return value
    if ctype is c_float:
        if not hasattr(value, "__float__"):
            raise TypeError(f"{name} must be a number, not {value!r}")
        return float(value)
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {value!r}")
    number, limit = operator.index(value), 2 ** (8 * ctypes.sizeof(ctype)) - 1
    if not 0 <= number <= limit:
        raise _error(status, f"{name} must be 0 to {limit}, not {number}")
    return number


def _encode(text: str, what: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    if "\0" in text:
        raise ValueError(f'{what} contains "\\0" at position {text.index(chr(0))}: the library takes texts up to a NUL')
    return text.encode()


def _texts(texts: Sequence[str], what: str) -> Any:
    return (c_char_p * len(texts))(*(_encode(text, what) for text in texts))


def _int32(number: int, what: str) -> int:
    if not -(2**31) <= operator.index(number) < 2**31:
        raise _error(Status.INVALID_REQUEST, f"{what} must fit into 32 bits, not {number}")
    return number


def _tokens(tokens: Sequence[int]) -> Any:
    if isinstance(tokens, (str, bytes, bytearray)) or not hasattr(tokens, "__len__"):
        raise TypeError(f"tokens must be a sequence of int, not {type(tokens).__name__}")
    try:
        return (c_int32 * len(tokens)).from_buffer_copy(array.array("i", tokens))
    except OverflowError:
        raise _error(Status.INVALID_REQUEST, "a token does not fit into 32 bits") from None


def _messages(messages: Sequence[Message]) -> str:
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or "content" not in message:
            raise TypeError(f"a message is a dict with the keys 'role' and 'content', not {message!r}")
    return json.dumps(list(messages))


def _milliseconds(seconds: float) -> int:
    return max(0, math.ceil(seconds * 1000))


# --- What callers get ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How a generation ended, when what happened, and the whole output. All times count from the submission."""

    reason: str
    """"stop", "length", "cancelled", "deadline" or "error"; newer libraries may have more."""
    text: str
    """The whole output as it was delivered."""
    tokens: tuple[int, ...]
    """Its tokens."""
    stop_index: int | None
    """Which of `stop` ended it, from 0; None if none did."""
    n_prompt_tokens: int
    """Tokens of the prompt."""
    n_cached_tokens: int
    """Prompt tokens that were reused instead of computed."""
    n_output_tokens: int
    """Output tokens that were generated, without the end-of-generation token."""
    queue_ms: float
    """Milliseconds until a slot was found; the whole time if none was."""
    ttft_ms: float | None
    """Milliseconds until the first output token, queue time included; None if there was none."""
    e2e_ms: float
    """Milliseconds until the end."""
    itl_ms: tuple[float, ...] = field(repr=False)
    """Milliseconds of every gap between two output tokens, in order."""
    error: LlamaError | None = None
    """What failed where the reason is "error"; None otherwise."""


@dataclass(frozen=True)
class Event:
    """What a callback of `Engine.infer_async` gets."""

    type: Literal["token", "finished"]
    """Any number of "token" events come, then one "finished"."""
    request: Request
    """What `infer_async` returns, to cancel from inside the callback. Its first events may come before it returned."""
    text: str = ""
    """"token": the text that became certain; empty while a character or a possible stop string is incomplete."""
    tokens: tuple[int, ...] = ()
    """"token": the new tokens; empty where text that was held back is released without one."""
    position: int = 0
    """"token": position of the first of them in the output, from 0."""
    result: Result | None = None
    """"finished": how it ended."""
    logprobs: tuple[tuple[int, float], ...] = ()
    """"token", where `logprobs` asks for it: tokens and their log probabilities, first the new token, then the likeliest
    ones in its place, the likeliest first."""


@dataclass(frozen=True)
class EngineStats:
    """The state of an engine at one moment. Counts are since it was loaded."""

    strategy: str
    """How requests share contexts and slots, never "auto"."""
    workers: int
    """Threads that own contexts."""
    contexts: int
    """Contexts over all workers."""
    slots: int
    """Requests that can run at once."""
    n_ctx: int
    """Tokens of prompt and output that one slot holds."""
    threads: int
    """Compute threads."""
    n_ctx_train: int
    """Tokens that the model was trained to look back on."""
    n_vocab: int
    """Tokens in the vocabulary."""
    model_bytes: int
    """Bytes of the weights as they lie in the file."""
    repack_bytes: int
    """Bytes of the weights that were repacked for this CPU."""
    kv_bytes: int
    """Bytes of the K and V caches."""
    compute_bytes: int
    """Bytes of scratch memory."""
    decode_calls: int
    """llama_decode calls that generated tokens."""
    decode_rows: int
    """Rows in them, which are tokens."""
    decode_ms: float
    """Milliseconds in them."""
    prefill_calls: int
    """llama_decode calls that computed prompts."""
    prefill_rows: int
    """Rows in them, which are prompt tokens."""
    prefill_ms: float
    """Milliseconds in them."""
    output_tokens: int
    """Output tokens."""
    cached_tokens: int
    """Prompt tokens that were reused instead of computed."""
    requests_submitted: int
    """Prompts that were accepted."""
    requests_rejected: int
    """Prompts that were refused because the queue was full."""
    requests_stopped: int
    """Ended by the model or a stop string."""
    requests_length: int
    """Ended by `max_tokens` or a full slot."""
    requests_cancelled: int
    """Cancelled."""
    requests_deadline: int
    """Out of time."""
    requests_failed: int
    """Failed."""
    requests_running: int
    """Prompts in a slot now."""
    requests_waiting: int
    """Prompts that wait for a slot now."""
    kernels: str
    """Instruction set of the library's kernels that compute weights, such as "avx512vnni"; "off" where ggml's compute all."""
    weight_copies: int
    """Copies of the weights: more than one on machines with several NUMA nodes."""
    strayed_threads: int
    """Compute threads that the system does not keep on the CPUs that they were meant for."""
    local_fraction: float
    """The least share of a worker's memory that lies on its NUMA node; -1 where the system does not tell."""
    pack_cache: str
    """Packed weights: "mapped" from the file of an earlier load, "written" by this one, or "off"."""
    kernels_share: float
    """The share of the products of the model's matrices that the library's kernels compute, 0 to 1."""
    products: str
    """Which kernels compute which share, by the formats of the weights: "ggml 61 % (Q4_1), avx2 39 % (Q6_K)"."""


def _text(address: int | None, length: int) -> str:
    return ctypes.string_at(address, length).decode() if address else ""


def _result(raw: _CInferResult) -> Result:
    failed = raw.status != Status.OK
    return Result(
        reason=_name_of(raw.reason, _REASONS),
        text=_text(raw.text, raw.text_length),
        tokens=tuple(raw.tokens[: raw.n_tokens]),
        stop_index=raw.stop_index if raw.stop_index >= 0 else None,
        n_prompt_tokens=raw.n_prompt_tokens,
        n_cached_tokens=raw.n_cached_tokens,
        n_output_tokens=raw.n_output_tokens,
        queue_ms=raw.queue_ms,
        ttft_ms=raw.ttft_ms if raw.ttft_ms >= 0 else None,
        e2e_ms=raw.e2e_ms,
        itl_ms=tuple(raw.itl_ms[: raw.n_itl]),
        error=_error(raw.status, (raw.error or b"").decode(errors="replace")) if failed else None,
    )


# --- Requests --------------------------------------------------------------------------------------------------------

_requests: dict[int, Request] = {}
"""Requests whose last event has not come yet, by the number that the library has as their `user_data`."""

_request_keys = itertools.count(1)


class Request:
    """A generation that was started by `Engine.infer_async`. Forgetting it does not cancel it."""

    def __init__(self, engine: Engine, callback: Callable[[Event], object] | None) -> None:
        self._engine = engine
        self._callback = callback
        self._id = 0
        self._result: Result | None = None
        self._failure: BaseException | None = None
        self._failure_told = False
        self._callback_thread: int | None = None
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"<Request {self._id}, {self._result.reason if self._result else 'running'}>"

    @property
    def id(self) -> int:
        """Number of the request, never given out twice in a process."""
        return self._id

    def cancel(self) -> None:
        """Ends the request soon; allowed in callbacks and when it is over. The "finished" event comes as always."""
        self._engine._cancel(self._id)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits at most `timeout` seconds until the last callback returned; tells whether it did.

        Raises what the callback raised, and `InCallback` inside the request's own callback.
        """
        if self._callback_thread == threading.get_ident():
            raise _error(Status.IN_CALLBACK, f"request {self._id} cannot be waited for inside its own callback")
        if not self._over.wait(timeout):
            return False
        if self._failure is not None:
            self._failure_told = True
            raise self._failure
        return True

    def result(self, timeout: float | None = None) -> Result:
        """Waits at most `timeout` seconds for the end.

        Raises `Timeout`, what the callback raised, `InCallback` inside the request's own callback, and the error with
        which the request failed. One that was cancelled or ran out of time has a result with what there is.
        """
        if not self.wait(timeout):
            raise _error(Status.TIMEOUT, f"request {self._id} was not over after {timeout} s")
        assert self._result is not None
        if self._result.error is not None:
            raise self._result.error
        return self._result

    def _receive(self, raw: _CInferEvent) -> None:
        """Takes one event, on a thread of the library. No exception leaves it."""
        try:
            self._id = raw.id
            if raw.result:
                self._result = _result(raw.result.contents)
            if self._callback is not None and self._failure is None:
                self._call_back(raw)
        except BaseException as error:  # noqa: BLE001 - told by wait and result
            self._failure = error
            self._engine._cancel(raw.id)

    def _call_back(self, raw: _CInferEvent) -> None:
        assert self._callback is not None
        if raw.type == _EVENT_TYPES["token"]:
            tokens = tuple(raw.tokens[: raw.n_tokens])
            logprobs = tuple((one.token, one.logprob) for one in raw.logprobs[: raw.n_logprobs])
            text = _text(raw.text, raw.text_length)
            event = Event("token", self, text, tokens, raw.position, logprobs=logprobs)
        elif raw.type == _EVENT_TYPES["finished"]:
            event = Event("finished", self, result=self._result)
        else:
            return
        self._callback_thread = threading.get_ident()
        try:
            self._callback(event)
        finally:
            self._callback_thread = None

    def __del__(self) -> None:
        if self._failure is not None and not self._failure_told:
            raise self._failure  # nobody asked for it: Python shows it through sys.unraisablehook


@_CInferCallback
def _on_event(event: Any, key: int) -> None:
    request = _requests.get(key)
    if request is None:
        return
    try:
        request._receive(event.contents)
    finally:
        if event.contents.n_remaining == 0:
            request._over.set()
            _requests.pop(key, None)


class _Queue:
    """A completion queue of the library."""

    def __init__(self) -> None:
        handle = c_void_p()
        self._library = _library()
        _check(self._library.llama_infer_queue_new(ctypes.byref(handle)))
        self.handle = handle.value
        self._event = POINTER(_CInferEvent)()

    def poll(self) -> _CInferEvent | None:
        """The next event, valid until the next call; None if none came in a short time."""
        status = self._library.llama_infer_poll(self.handle, _POLL_SLICE_MS, ctypes.byref(self._event))
        if status == Status.TIMEOUT:
            return None
        _check(status)
        return self._event.contents

    def free(self) -> None:
        """Frees the queue and cancels the requests that still use it. May be called again."""
        handle, self.handle = self.handle, None
        if handle is not None:
            self._library.llama_infer_queue_free(handle)


class Stream(Iterator[str]):
    """The text of a generation piece by piece, from `Engine.stream`. Closing or dropping it cancels the request.

    One thread reads it at a time; `close` may be called from any.
    """

    result: Result | None = None
    """How it ended, once the last piece was read; None before, and if it was closed early."""

    def __init__(self, engine: Engine, submit: _Submission, values: Mapping[str, Any]) -> None:
        params = _infer_params(values)
        self._engine = engine
        self._queue = _Queue()
        weakref.finalize(self, self._queue.free).atexit = False
        self._closed = False
        self._reading = threading.Lock()
        self._thread = threading.get_ident()
        params.queue = self._queue.handle
        self._id = submit(params, _NO_CALLBACK, None)
        engine._streams[self._id] = self

    def __next__(self) -> str:
        if not self._reading.acquire(blocking=False):
            if self._closed:  # another thread is just closing it
                raise StopIteration
            raise ValueError("this stream is being read already")
        try:
            self._thread = threading.get_ident()
            piece = self._read()
        except BaseException:
            self._closed = True
            raise
        finally:
            self._reading.release()
            if self._closed:
                self.close()
        if piece is None:
            raise StopIteration
        return piece

    def _read(self) -> str | None:
        """The next piece that is not empty; None at the end."""
        while not self._closed:
            raw = self._queue.poll()
            if raw is None:
                continue
            if raw.result:
                self.result = _result(raw.result.contents)
                self._closed = True
                if self.result.error is not None:
                    raise self.result.error
            elif raw.type == _EVENT_TYPES["token"] and raw.text_length:
                return _text(raw.text, raw.text_length)
        return None

    def close(self) -> None:
        """Cancels the request, if it still runs, and ends the iteration. May be called again."""
        self._closed = True
        if self._reading.acquire(blocking=False):  # else the reader sees `_closed`, and closes
            try:
                self._queue.free()
            finally:
                self._reading.release()
        else:
            self._engine._cancel(self._id)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- Engines ---------------------------------------------------------------------------------------------------------

_Submission = Callable[[_CInferParams, Any, int | None], int]
"""Starts something, given parameters, callback and `user_data`, and returns its id."""

_open_handles: set[_Handle] = set()
"""Engines that were not freed yet."""


class _Handle:
    """An engine of the library. It does not refer to the `Engine`, so that a forgotten one can be freed."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.freeing: set[int] = set()
        """Threads that are inside `free`."""
        _open_handles.add(self)

    def free(self) -> None:
        """Frees the engine; returns at once where that has been done or is being done. Raises `InCallback`."""
        thread = threading.get_ident()
        try:
            self.freeing.add(thread)
            status = _library().llama_engine_free(self.value)
            if status == Status.OK:
                _open_handles.discard(self)
            elif status not in (Status.INVALID_HANDLE, Status.SHUTTING_DOWN):
                raise _last_error(status)
        finally:
            self.freeing.discard(thread)

    def free_elsewhere(self) -> None:
        """Frees a forgotten engine. On a thread of its own, because garbage is collected anywhere: inside callbacks of
        the engine, where freeing is refused, and under locks that its callbacks wait for."""
        if self in _open_handles:
            _thread.start_new_thread(self.free, ())


class Engine:
    """A loaded model with its contexts, threads and queue. Made by `load`.

    As a context manager: leaving it lets running requests end, then frees it; an exception frees it at once. Streams
    that the leaving thread did not read to their end are closed. An engine that is forgotten is freed when its last
    request is over, and those that are left when Python ends are freed then.
    """

    def __init__(self, handle: _Handle, path: str) -> None:
        self._library = _library()
        self._handle = handle
        self._closed = False
        self._path = path
        self._streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
        weakref.finalize(self, handle.free_elsewhere).atexit = False

    def __repr__(self) -> str:
        return f"<Engine {self._path!r}{', closed' if self._closed else ''}>"

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._closed:
                self._close_own_streams()
                self.drain()
        except ShuttingDown:
            pass  # another thread closed it meanwhile
        finally:
            self.close()

    def _close_own_streams(self) -> None:
        """Closes the streams of this thread: it cannot read them while it drains, and that would wait for them."""
        for reference in self._streams.valuerefs():
            stream = reference()
            if stream is not None and stream._thread == threading.get_ident():
                stream.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Cancels what runs, waits until the last callbacks returned, ends all threads, gives the memory back.

        May be called again. Raises `InCallback` inside the engine's callbacks; the engine lives on then.
        """
        self._handle.free()
        self._closed = True

    def drain(self, timeout: float | None = None) -> None:
        """Takes no more requests and waits until all accepted ones are over, at most `timeout` seconds.

        Raises `Timeout`; the engine stays closed for new requests then. Raises `InCallback` inside the engine's
        callbacks. A stream is over when it was read to its end or closed: not to be waited for by who reads it.
        """
        if self._closed:
            return
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            status = self._library.llama_engine_drain(
                self._handle.value, min(_POLL_SLICE_MS, _milliseconds(left)) if left < math.inf else _POLL_SLICE_MS
            )
            if status == Status.OK:
                return
            if status != Status.TIMEOUT or time.monotonic() >= end:
                raise _last_error(status)

    # Generating

    def infer_async(
        self, prompt: Prompt, callback: Callable[[Event], object] | None = None, **params: Unpack[InferParams]
    ) -> Request:
        """Starts a generation and returns at once; `callback` gets its events, one after the other.

        They come on threads of the library. A callback that blocks pauses its own request only. One that raises is not
        called again: the request is cancelled, and `Request.result` raises the exception.

        Raises `InvalidRequest`, `PromptTooLong`, `Overloaded`, `ShuttingDown`, and `TypeError` for unknown keywords.
        """
        return self._start(self._prompt(prompt), callback, params)

    def generate(self, prompt: Prompt, **params: Unpack[InferParams]) -> Result:
        """Generates and waits. An exception in the waiting, such as KeyboardInterrupt, cancels the request.

        Raises what `infer_async` raises, and the error with which the request failed.
        """
        _refuse_logprobs(params)
        return self._finish(self._start(self._prompt(prompt), None, params))

    def chat(self, messages: Sequence[Message], **params: Unpack[InferParams]) -> Result:
        """As `generate`, with messages of a chat, rendered with the model's template."""
        _refuse_logprobs(params)
        return self._finish(self._start(self._chat(messages), None, params))

    def stream(self, prompt: Prompt, **params: Unpack[InferParams]) -> Stream:
        """Starts a generation whose text is iterated over. Closing or dropping the stream cancels it.

        Raises what `infer_async` raises; the iteration raises the error with which the request failed.
        """
        _refuse_logprobs(params)
        return Stream(self, self._prompt(prompt), params)

    def stream_chat(self, messages: Sequence[Message], **params: Unpack[InferParams]) -> Stream:
        """As `stream`, with messages of a chat, rendered with the model's template."""
        _refuse_logprobs(params)
        return Stream(self, self._chat(messages), params)

    def generate_batch(
        self,
        prompts: Sequence[str],
        *,
        progress: Callable[[int, int], object] | None = None,
        **params: Unpack[InferParams],
    ) -> list[Result]:
        """Generates for each of many texts and waits. The results are in the order of the prompts.

        A prompt that failed has a result with the reason "error" and its `error`; the others are not disturbed.
        `progress` gets how many prompts are over and how many there are, on this thread. An exception in it, or in the
        waiting, cancels all.

        Raises `InvalidRequest` for bad parameters, `ShuttingDown`, and `TypeError` for unknown keywords.
        """
        if isinstance(prompts, str):
            raise TypeError("prompts must be a sequence of str, not one str")
        _refuse_logprobs(params)
        raw = _infer_params(params)
        if not prompts:
            return []
        texts = _texts(prompts, "a prompt of a batch")
        results: list[Result | None] = [None] * len(prompts)
        events = _Queue()
        try:
            raw.queue = events.handle
            self._submission("llama_infer_batch_async", texts, len(prompts))(raw, _NO_CALLBACK, None)
            n_over = 0
            while n_over < len(prompts):
                event = events.poll()
                if event is not None and event.result:
                    results[event.index] = _result(event.result.contents)
                    n_over += 1
                    if progress is not None:
                        progress(n_over, len(prompts))
        finally:
            events.free()
        return [result for result in results if result is not None]

    def _prompt(self, prompt: Prompt) -> _Submission:
        if isinstance(prompt, str):
            return self._submission("llama_infer_async", _encode(prompt, "the prompt"))
        if not hasattr(prompt, "__len__"):
            raise TypeError(f"a prompt must be a str or a sequence of tokens, not {type(prompt).__name__}")
        return self._submission("llama_infer_tokens_async", _tokens(prompt), len(prompt))

    def _chat(self, messages: Sequence[Message]) -> _Submission:
        text = _encode(_messages(messages), "the messages")

        def submit(params: _CInferParams, callback: Any, user_data: int | None) -> int:
            params.chat_messages = text
            return self._submission("llama_infer_chat_async", None, 0)(params, callback, user_data)

        return submit

    def _submission(self, function: str, *what: Any) -> _Submission:
        def submit(params: _CInferParams, callback: Any, user_data: int | None) -> int:
            number = c_uint64()
            _check(
                getattr(self._library, function)(
                    self._handle.value, *what, ctypes.byref(params), callback, user_data, ctypes.byref(number)
                )
            )
            return number.value

        return submit

    def _start(
        self, submit: _Submission, callback: Callable[[Event], object] | None, values: Mapping[str, Any]
    ) -> Request:
        params = _infer_params(values)
        request = Request(self, callback)
        key = next(_request_keys)
        _requests[key] = request
        try:
            request._id = submit(params, _on_event, key)
        except LlamaError:
            del _requests[key]
            raise
        return request

    @staticmethod
    def _finish(request: Request) -> Result:
        try:
            return request.result()
        except BaseException:
            request.cancel()
            raise

    def _cancel(self, number: int) -> None:
        status = self._library.llama_infer_cancel(self._handle.value, number)
        if status not in (Status.OK, Status.INVALID_HANDLE, Status.SHUTTING_DOWN):
            raise _last_error(status)

    # Text and tokens

    def chat_prompt(self, messages: Sequence[Message], **params: Unpack[InferParams]) -> str:
        """The prompt that the model's template makes of messages, as text: to have it answered, use `chat`, which knows what in
        it is plain text."""
        raw = _infer_params({**params, "chat_messages": _messages(messages)})
        return self._written("llama_engine_chat_prompt", None, 0, ctypes.byref(raw))

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """The tokens of a text.

        `add_special` adds BOS and the like where the model wants them; `parse_special` reads special tokens that are
        written out. With both, the tokens are those that `generate` makes of the text, and behind them what some models
        want at the end of a text that is complete.
        """
        data = _encode(text, "the text")
        capacity = len(data) + 8
        tokens, length = (c_int32 * capacity)(), c_size_t()
        _check(
            self._library.llama_engine_tokenize(
                self._handle.value, data, add_special, parse_special, tokens, capacity, ctypes.byref(length)
            )
        )
        return tokens[: length.value]

    def detokenize(self, tokens: Sequence[int], special: bool = False) -> str:
        """The text of tokens. Special tokens have none unless `special`; incomplete characters become U+FFFD."""
        return self._written("llama_engine_detokenize_with", _tokens(tokens), len(tokens), special)

    def count_tokens(self, text: str) -> int:
        """The number of tokens that a text has as a prompt."""
        length = c_size_t()
        data = _encode(text, "the text")
        _check(self._library.llama_engine_count_tokens(self._handle.value, data, ctypes.byref(length)))
        return length.value

    def stats(self) -> EngineStats:
        """What the engine is and does at this moment. Cheap."""
        raw = _CEngineStats(size=ctypes.sizeof(_CEngineStats))
        _check(self._library.llama_engine_get_stats(self._handle.value, ctypes.byref(raw)))
        values = {f.name: getattr(raw, f.name) for f in fields(EngineStats)}
        texts = {name: value.decode() for name, value in values.items() if isinstance(value, bytes)}
        return EngineStats(**{**values, **texts, "strategy": _name_of(raw.strategy, _STRATEGIES)})

    def warnings(self) -> list[str]:
        """What was wished in the parameters and not granted, one sentence each."""
        return self._written("llama_engine_warnings").splitlines()

    def _written(self, function: str, *what: Any) -> str:
        """The text that a function writes into a buffer."""
        capacity, length = 0, c_size_t()
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            status = getattr(self._library, function)(self._handle.value, *what, buffer, capacity, ctypes.byref(length))
            if status == Status.OK:
                return buffer.raw[: length.value].decode()
            if status != Status.BUFFER_TOO_SMALL:
                raise _last_error(status)
            capacity = length.value + 1


# --- Loading ---------------------------------------------------------------------------------------------------------


class _Loading:
    """One load, on a thread of its own: so that the caller's thread can be interrupted while it waits."""

    def __init__(self, path: bytes, params: _CEngineParams, progress: Callable[[float], bool | None] | None) -> None:
        self._path = path
        self._params = params
        self._progress = progress
        self._shares: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._stopped = False
        self._handle: _Handle | None = None
        self._error: BaseException | None = None
        params.progress = self._on_progress = _CEngineProgressCallback(self._ask)

    def run(self) -> _Handle:
        """Loads. `progress` is called on this thread."""
        thread = threading.Thread(target=self._load, name="llama-concurrent-load")
        thread.start()
        try:
            for share in iter(self._shares.get, None):
                self._answers.put(self._progress is None or self._progress(share) is not False)
            thread.join()
        except BaseException:
            self._stopped = True
            self._answers.put(False)
            thread.join()
            if self._handle is not None:
                self._handle.free()
            raise
        if self._handle is None:
            assert self._error is not None
            raise self._error
        return self._handle

    def _load(self) -> None:
        engine = c_void_p()
        try:
            _check(_library().llama_engine_load(self._path, ctypes.byref(self._params), ctypes.byref(engine)))
            assert engine.value is not None
            self._handle = _Handle(engine.value)
        except BaseException as error:  # noqa: BLE001 - raised by run
            self._error = error
        finally:
            self._shares.put(None)

    def _ask(self, share: float, _: int | None) -> bool:
        """Whether to go on, asked by the library on the loading thread."""
        if self._progress is None or self._stopped:
            return not self._stopped
        self._shares.put(share)
        return self._answers.get() and not self._stopped


def load(
    path: str | os.PathLike[str],
    *,
    progress: Callable[[float], bool | None] | None = None,
    library: str | os.PathLike[str] | None = None,
    **params: Unpack[EngineParams],
) -> Engine:
    """Loads a GGUF model and starts an engine on it, which takes from milliseconds to minutes.

    `progress` is called on this thread with the share that is done, 0 to 1. If it returns False, the load stops with
    `LoadCancelled`; what it raises stops the load and is raised here. So does KeyboardInterrupt.

    `library` is the path of libllama_concurrent, at the first use of this module. Without it: the environment variable
    LLAMA_CONCURRENT_LIBRARY; else beside this module, `../../target/release`, and where the system finds libraries.

    Raises `ModelError`, `InvalidConfig`, `LlamaError` if memory was refused, `TypeError` for unknown keywords, and
    `LibraryNotFound`.
    """
    _library(library)
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError('the path contains "\\0"')
    return Engine(_Loading(name, _engine_params(params), progress).run(), os.fsdecode(name))


# --- Log -------------------------------------------------------------------------------------------------------------

_log_callback: Callable[[str, str, str], object] | None = None


def set_log(callback: Callable[[str, str, str], object] | None, level: str = "warn") -> None:
    """Sets who gets the messages of the library and of llama.cpp; one for the whole process. None turns them off.

    `callback` gets level, target (which part speaks) and message, of all levels from "error" up to `level`: "error",
    "warn", "info", "debug" or "trace". It is called on any thread, also on several at once, and should be quick. What
    it raises is printed to stderr.

    Raises `InCallback` inside the callback, and `InvalidConfig` for an unknown level.
    """
    global _log_callback
    if level not in _LOG_LEVELS:
        raise _error(Status.INVALID_CONFIG, f"level must be one of {', '.join(map(repr, _LOG_LEVELS))}, not {level!r}")
    before, _log_callback = _log_callback, callback
    on_message = _CConcurrentLogCallback() if callback is None else _on_log
    status = _library().llama_concurrent_set_log(on_message, _LOG_LEVELS[level], None)
    if status != Status.OK:
        _log_callback = before
        raise _last_error(status)


@_CConcurrentLogCallback
def _on_log(level: int, target: bytes, message: bytes, _: int | None) -> None:
    try:
        callback = _log_callback
        if callback is not None:
            callback(_name_of(level, _LOG_LEVELS), target.decode(errors="replace"), message.decode(errors="replace"))
    except BaseException:  # noqa: BLE001 - nobody above could take it
        traceback.print_exc()


# --- The end ---------------------------------------------------------------------------------------------------------


def _at_exit() -> None:
    """Frees what is left while callbacks can still run: a thread that enters Python after its end would be killed."""
    for handle in tuple(_open_handles):
        handle.free()
        while handle.freeing:  # by other threads
            time.sleep(0.001)
    _library().llama_concurrent_set_log(_CConcurrentLogCallback(), _LOG_LEVELS["error"], None)


def _after_fork_in_child() -> None:
    """The child has none of the threads: there is nothing that could be freed or waited for."""
    _open_handles.clear()
    _requests.clear()
