"""Concurrent text generation with one GGUF model, on CPU, for threads and asyncio.

    from llama_concurrent import Engine, SamplingParams

    with Engine("model.gguf", slots=8) as engine:
        print(engine.generate("Once upon a time", SamplingParams(max_tokens=64)).text)
        for piece in engine.stream("A small boat"):
            print(piece, end="", flush=True)
"""

from . import _builds

_build = _builds.load()

from ._async import AsyncEngine, AsyncStream
from ._base import DEMO_MODEL
from ._builds import BuildInfo
from ._engine import Engine, Stream
from ._errors import (
    ChatTemplateError,
    DecodeError,
    ForkError,
    InternalError,
    InvalidConfig,
    InvalidRequest,
    LlamaError,
    LoadCancelled,
    ModelInvalid,
    ModelLoadError,
    ModelNotFound,
    ModelUnsupported,
    NoChatTemplate,
    OutOfMemory,
    Overloaded,
    PromptTooLong,
    ShuttingDown,
)
from ._outcome import DeadlineExceeded
from ._requests import Request
from ._tools import ToolRun, tool_schema
from ._types import ChatPrompt, EngineStats, Message, Prompt, Result, Results, SamplingParams, TokenLogprobs
from ._vectors import Rank, Score

__version__ = _build.version

__all__ = [
    "DEMO_MODEL",
    "AsyncEngine",
    "AsyncStream",
    "BuildInfo",
    "ChatPrompt",
    "ChatTemplateError",
    "DeadlineExceeded",
    "DecodeError",
    "Engine",
    "EngineStats",
    "ForkError",
    "InternalError",
    "InvalidConfig",
    "InvalidRequest",
    "LlamaError",
    "LoadCancelled",
    "Message",
    "ModelInvalid",
    "ModelLoadError",
    "ModelNotFound",
    "ModelUnsupported",
    "NoChatTemplate",
    "OutOfMemory",
    "Overloaded",
    "Prompt",
    "PromptTooLong",
    "Rank",
    "Request",
    "Result",
    "Results",
    "SamplingParams",
    "Score",
    "ShuttingDown",
    "Stream",
    "TokenLogprobs",
    "ToolRun",
    "build_info",
    "tool_schema",
]


def build_info() -> BuildInfo:
    """Which native module runs, and why.

    >>> build_info().build in ("source", "x86-64-v3", "avx512-vnni", "armv8", "armv8-dotprod")
    True
    """
    return _build
