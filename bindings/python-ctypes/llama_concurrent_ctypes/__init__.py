"""The package `llama_concurrent` over the shared library `libllama_concurrent`, by ctypes: the same names, nothing to compile.

    from llama_concurrent_ctypes import Engine, SamplingParams

    with Engine("model.gguf", slots=8) as engine:
        print(engine.generate("Once upon a time", SamplingParams(max_tokens=64)).text)
        for piece in engine.stream("A small boat"):
            print(piece, end="", flush=True)

Engine, parameters, results and errors are the package's own Python files, over a native part in ctypes (`_native`).
"""

from pathlib import Path

_beside = Path(__file__).resolve().parent
if not (_beside / "_types.py").exists():  # in the repository: the package's files are where the package is
    __path__.append(str(_beside.parent.parent / "python" / "python" / "llama_concurrent"))

from ._async import AsyncEngine, AsyncStream
from ._base import DEMO_MODEL
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
from ._library import LibraryNotFound, set_log, version
from ._outcome import DeadlineExceeded
from ._requests import Request
from ._tools import ToolRun, tool_schema
from ._types import ChatPrompt, EngineStats, Message, Prompt, Result, Results, SamplingParams, TokenLogprobs
from ._vectors import Rank, Score

__all__ = [
    "DEMO_MODEL",
    "AsyncEngine",
    "AsyncStream",
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
    "LibraryNotFound",
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
    "set_log",
    "tool_schema",
    "version",
]
