"""How a generation ended: with a result to return or an error to raise."""

from __future__ import annotations

from typing import Any

from ._errors import LlamaError
from ._types import Result, TokenLogprobs


class DeadlineExceeded(LlamaError, TimeoutError):
    """`timeout` or `queue_timeout` passed; `partial` has what was generated until then."""

    def __init__(self, message: str, partial: Result | None = None) -> None:
        super().__init__(message)
        self.partial = partial

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.partial)


def checked(result: Result) -> Result:
    """The same result; one that failed or ran out of time is raised."""
    if result.error is not None:
        raise result.error
    if result.finish_reason == "deadline":
        message = f"the time was over after {result.e2e_latency:.2f} s and {result.n_output_tokens} tokens"
        raise DeadlineExceeded(message, result)
    return result


def outcome(done: dict[str, Any] | LlamaError) -> Result:
    """A result of a list, whose errors are kept in their places."""
    if isinstance(done, dict):
        done["logprobs"] = [TokenLogprobs(*one) for one in done["logprobs"]]
        return Result(**done)
    return Result(text="", tokens=[], finish_reason="error", error=done)
