"""Many generations at once over one GGUF model, on CPU, in threads and in asyncio.

    from llama_concurrent import Engine, SamplingParams

    with Engine("model.gguf", slots=8) as engine:
        print(engine.generate("Once upon a time", SamplingParams(max_tokens=64)).text)
        for piece in engine.stream("A small boat"):
            print(piece, end="", flush=True)
"""

from importlib.metadata import version as _version

from ._async import AsyncEngine, AsyncStream
from ._base import DEMO_MODEL
from ._engine import Engine, Request, Stream
from ._errors import (
    ChatTemplateError,
    DeadlineExceeded,
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
from ._types import EngineStats, Message, Prompt, Result, Results, SamplingParams

__version__ = _version("llama-concurrent")

__all__ = [
    "DEMO_MODEL",
    "AsyncEngine",
    "AsyncStream",
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
    "Request",
    "Result",
    "Results",
    "SamplingParams",
    "ShuttingDown",
    "Stream",
]
