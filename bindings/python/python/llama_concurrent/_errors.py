"""Errors: one base class, and one class for each cause. `DeadlineExceeded` is defined with the result that it carries."""

from __future__ import annotations


class LlamaError(Exception):
    """Base class of all errors of this package. The message says what was requested, which limit applied and what to do."""


class InvalidConfig(LlamaError, ValueError):
    """A parameter of `Engine` is out of range or conflicts with another."""


class InvalidRequest(LlamaError, ValueError):
    """The prompt, a message or a sampling parameter is out of range."""


class PromptTooLong(InvalidRequest):
    """Prompt and requested output do not fit into a slot; all numbers are in tokens."""

    def __init__(self, message: str, n_prompt_tokens: int = 0, max_tokens: int = 0, n_ctx: int = 0) -> None:
        super().__init__(message)
        self.n_prompt_tokens = n_prompt_tokens
        self.max_tokens = max_tokens
        self.n_ctx = n_ctx

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.n_prompt_tokens, self.max_tokens, self.n_ctx)


class Overloaded(LlamaError):
    """The queue is full; `retry_after` is the estimated time in seconds until it has room."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.retry_after)


class ModelLoadError(LlamaError, OSError):
    """The model cannot be loaded."""


class ModelNotFound(ModelLoadError, FileNotFoundError):
    """The model file does not exist or cannot be opened."""


class ModelInvalid(ModelLoadError):
    """The model file is corrupt, truncated or not a GGUF file."""


class ModelUnsupported(ModelLoadError):
    """The model file is valid, but this build cannot run it."""


class LoadCancelled(LlamaError):
    """`progress` returned False."""


class OutOfMemory(LlamaError, MemoryError):
    """Memory for weights, KV cache or buffers could not be allocated."""


class ChatTemplateError(LlamaError):
    """The chat template could not be compiled or rendered."""


class NoChatTemplate(ChatTemplateError):
    """The model has no chat template."""


class ShuttingDown(LlamaError):
    """The engine is draining or closed."""


class ForkError(LlamaError):
    """The engine was loaded before a fork, and is used in the child."""


class DecodeError(LlamaError):
    """A llama.cpp computation failed."""


class InternalError(LlamaError):
    """An internal error: a bug in this library."""
