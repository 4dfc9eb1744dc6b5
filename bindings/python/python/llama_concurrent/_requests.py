"""Generations as futures. One thread per engine delivers all results."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from ._errors import LlamaError, ShuttingDown
from ._native import NativeEngine, NativeFinished
from ._outcome import checked, outcome
from ._types import NativeSampling, Prompt, Result

_End = dict[str, Any] | LlamaError


class Request(Future[Result]):
    """A generation as a future. Forgetting it does not cancel it.

    Functions given to `add_done_callback` run one after another on a thread of the engine, and should not wait for other
    requests of it.
    """

    def __init__(self, native: NativeEngine, id: int) -> None:
        super().__init__()
        self._native = native
        self._id = id

    def cancel(self) -> bool:
        """Cancels the generation before its next token, even while it runs; False if it had finished already."""
        if self.done():
            return False
        try:
            self._native.cancel(self._id)
        except ShuttingDown:
            pass  # closing the engine cancels it
        return True

    def _end(self, end: _End) -> None:
        try:
            result = checked(outcome(end))
        except Exception as error:
            self.set_exception(error)
            return
        if result.finish_reason == "cancelled":
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_result(result)


class Requests:
    """The unfinished futures of an engine."""

    def __init__(self) -> None:
        # A request that waits for its result or, if that came first, a result that waits for its request.
        self._waiting: dict[int, Request | _End] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, native: NativeEngine, prompt: Prompt, sampling: NativeSampling) -> Request:
        """Starts a generation."""
        request = Request(native, native.submit_whole(prompt, sampling))
        self._start(native)
        end = self._waiting.setdefault(request._id, request)
        if not isinstance(end, Request):
            del self._waiting[request._id]
            request._end(end)
        return request

    def join(self) -> None:
        """After the engine is closed: waits until all results are delivered, but not for a callback that hangs."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _start(self, native: NativeEngine) -> None:
        with self._lock:
            if self._thread is None:
                # It does not own the engine, which must end when its last reference is dropped.
                self._thread = threading.Thread(
                    target=self._hand_out, args=(native.finished,), name="llama-requests", daemon=True
                )
                self._thread.start()

    def _hand_out(self, finished: NativeFinished) -> None:
        while (event := finished.next()) is not None:
            id, end = event
            request = self._waiting.setdefault(id, end)
            if isinstance(request, Request):
                del self._waiting[id]
                request._end(end)
            del event, end, request
