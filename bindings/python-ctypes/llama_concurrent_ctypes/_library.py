"""The shared library: where it is found, and what its statuses are in Python."""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from . import _errors
from ._header import ENUMS, FUNCTIONS, CConcurrentLogCallback, CInferErrorDetail

VARIABLE = "LLAMA_CONCURRENT_LIBRARY"
STATUS = ENUMS["llama_infer_status"]
_LEVELS = ENUMS["llama_concurrent_log_level"]
_CLASSES = {
    "invalid_handle": _errors.ShuttingDown,
    "model_not_found": _errors.ModelNotFound,
    "model_invalid": _errors.ModelInvalid,
    "model_unsupported": _errors.ModelUnsupported,
    "out_of_memory": _errors.OutOfMemory,
    "chat_template": _errors.ChatTemplateError,
    "decode": _errors.DecodeError,
    "internal": _errors.InternalError,
}

_loaded: ctypes.CDLL | None = None
_loading = threading.Lock()


class LibraryNotFound(ImportError):
    """libllama_concurrent was not found or cannot be loaded; the message says where it was looked for."""


def library() -> ctypes.CDLL:
    """The library, loaded at the first call. Raises `LibraryNotFound`."""
    global _loaded
    with _loading:
        if _loaded is None:
            _loaded = _open_first()
            atexit.register(_loaded.llama_concurrent_set_log, CConcurrentLogCallback(), _LEVELS["error"], None)
        return _loaded


def _candidates() -> list[str]:
    """What to try with dlopen, in order. A place that was named is the only one."""
    if named := os.environ.get(VARIABLE):
        return [named]
    plain = "libllama_concurrent.dylib" if sys.platform == "darwin" else "libllama_concurrent.so"
    names = [plain] if sys.platform == "darwin" else [f"{plain}.0", plain]
    here = Path(__file__).resolve().parent
    folders = [here, here.parent, here.parents[2] / "target" / "release"]
    found = ctypes.util.find_library("llama_concurrent")
    return [str(folder / name) for folder in folders for name in names] + ([found] if found else []) + names


def _open_first() -> ctypes.CDLL:
    tried = []
    for candidate in _candidates():
        try:
            opened = ctypes.CDLL(candidate)
            for name, (result, arguments) in FUNCTIONS.items():
                function = getattr(opened, name)
                function.restype, function.argtypes = result, arguments
            return opened
        except (OSError, AttributeError) as error:
            missing = os.path.isabs(candidate) and not os.path.exists(candidate)
            tried.append(f"  {candidate}: {'no such file' if missing else error}")
    raise LibraryNotFound(
        "libllama_concurrent was not found. Tried:\n"
        + "\n".join(tried)
        + f"\nBuild it with `cargo build --release -p llama-concurrent-capi`, or set {VARIABLE} to its path."
    )


def version() -> str:
    """The version of the library, such as "0.1.0". Raises `LibraryNotFound`."""
    return str(library().llama_concurrent_version(), "utf-8")


def error_class(status: int) -> type[_errors.LlamaError]:
    """The exception of a status: that of the same name, or an internal error."""
    name = next((name for name, number in STATUS.items() if number == status), "internal")
    by_name = getattr(_errors, "".join(map(str.capitalize, name.split("_"))), _errors.InternalError)
    return _CLASSES.get(name, by_name)


def check(status: int) -> None:
    """Raises what a function that returned `status` failed with on this thread."""
    if status == STATUS["ok"]:
        return
    message = library().llama_infer_last_error().decode(errors="replace")
    detail = CInferErrorDetail(size=ctypes.sizeof(CInferErrorDetail))
    library().llama_infer_last_error_detail(ctypes.byref(detail))
    kind = error_class(status)
    if kind is _errors.PromptTooLong:
        raise kind(message, detail.n_prompt_tokens, detail.max_tokens, detail.n_ctx)
    if kind is _errors.Overloaded:
        raise kind(message, detail.retry_after_ms / 1000)
    raise kind(message)


_log: tuple[object, object] | None = None
"""The callback that the library has, which must live as long."""


def set_log(callback: Callable[[str, str, str], object] | None, level: str = "warn") -> None:
    """Sets who gets the messages of the library and of llama.cpp; one for the whole process. None turns them off.

    `callback` gets level, target (which part speaks) and message, of all levels from "error" up to `level`: "error",
    "warn", "info", "debug" or "trace". It is called on any thread, also on several at once, and should be quick. What
    it raises is printed to stderr.
    """
    global _log
    if level not in _LEVELS:
        raise _errors.InvalidConfig(f"level is {level!r}, but must be {' or '.join(map(repr, _LEVELS))}")

    def on_message(number: int, target: bytes, message: bytes, _: object) -> None:
        try:
            assert callback is not None
            name = next((name for name, known in _LEVELS.items() if known == number), "trace")
            callback(name, target.decode(errors="replace"), message.decode(errors="replace"))
        except BaseException:  # noqa: BLE001 - nobody above could take it
            traceback.print_exc()

    native = CConcurrentLogCallback() if callback is None else CConcurrentLogCallback(on_message)
    check(library().llama_concurrent_set_log(native, _LEVELS[level], None))
    _log = (native, callback)
