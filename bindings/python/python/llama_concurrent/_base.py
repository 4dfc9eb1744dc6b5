"""The common base of the engines for threads and for asyncio: loading, tokens, statistics."""

from __future__ import annotations

import atexit
import os
import random
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from concurrent.futures import CancelledError
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from ._check import check
from ._errors import InvalidConfig, InvalidRequest, LlamaError
from ._native import NativeEngine, NativeGeneration
from ._outcome import checked, outcome
from ._requests import Requests
from ._tools import Tool, tool_schema
from ._types import (
    EngineStats,
    ChatPrompt,
    Message,
    NativeSampling,
    Event,
    Prompt,
    Result,
    SamplingParams,
    as_json,
    as_messages,
)

DEMO_MODEL = Path(__file__).parent / "demo.gguf"
"""The small model included in the package."""

_open: weakref.WeakSet[BaseEngine] = weakref.WeakSet()


class BaseEngine:
    """A loaded model with its contexts, threads and queue."""

    def __init__(
        self,
        model: os.PathLike[str] | str | None = None,
        *,
        # keywords: begin
        strategy: Literal["auto", "sequential", "round-robin", "batched"] = "auto",
        slots: int | None = None,
        n_ctx: int | None = None,
        n_batch: int = 512,
        threads: int | None = None,
        workers: int | None = None,
        max_stall_ms: int = 200,
        max_queued_requests: int = 1024,
        max_queued_tokens: int = 1000000,
        batch_aging_ms: int = 10000,
        stream_buffer: int = 256,
        type_k: Literal["f16", "q8_0", "f32", "q4_0"] = "f16",
        type_v: Literal["f16", "q8_0", "f32", "q4_0"] = "f16",
        poll: int = 50,
        prefix_reuse: bool = True,
        reproducible: bool = False,
        mmap: bool = True,
        repack: bool = True,
        check_tensors: bool = False,
        flash_attn: bool = True,
        pin: bool = True,
        kernels: Literal["auto", "off"] = "auto",
        placement: Literal["auto", "node", "l3", "none"] = "auto",
        replicate: Literal["auto", "always", "never"] = "auto",
        cpus: Collection[int] | None = None,
        nodes: Collection[int] | None = None,
        swa_full: bool = False,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        wait_policy: Literal["auto", "active", "passive"] = "auto",
        park_after_ms: int = 250,
        speculation: Literal["auto", "off", "lookup", "draft"] = "auto",
        draft_model: str | None = None,
        # keywords: end
        pack_cache: bool | os.PathLike[str] | str = False,
        progress: Callable[[float], bool | None] | None = None,
    ) -> None:
        """Loads a GGUF model. Blocks until it is loaded, without the GIL; Ctrl-C cancels it.

        Args:
            model: Path of the file. None: the small model that comes with the package.
            strategy: How requests share contexts and slots: the shape of the pool, whose size `slots` and `workers`
                set.
            slots: Number of requests that run at once, over all workers. Each costs KV memory for `n_ctx` tokens:
                22 MiB per 1024 tokens on a 1.1B model. None: 16 per worker, halved until all KV fits in a quarter of
                the free memory.
            n_ctx: Tokens of prompt and output that one slot holds. None: the model's trained length, at most 2048.
            n_batch: Maximum number of tokens in one `llama_decode`; compute buffers grow with it.
            threads: Number of compute threads over all workers. None: the physical cores that this process may use.
                A number larger than can run at once is lowered with a warning, because llama.cpp's barriers spin.
            workers: Number of threads that each own contexts and decode independently. None: as `placement` says, 1
                on a machine with one memory. More than one on the same memory is slower (35 instead of 45 tok/s at 16
                streams on two cores).
            max_stall_ms: How many milliseconds the prompts of other requests may hold up the next token of a
                running one. Smaller values give smoother streams and later first tokens; at least 16 prompt tokens are
                always processed.
            max_queued_requests: Maximum number of requests waiting for a slot; further ones are refused as
                overload.
            max_queued_tokens: Maximum number of prompt tokens waiting for a slot; what exceeds it is refused as
                overload.
            batch_aging_ms: Requests of the batch class are served as if they had arrived this many milliseconds
                later.
            stream_buffer: Maximum number of events waiting for their reader; at that point the request pauses until
                the reader catches up.
            type_k: Element type of the K cache.
            type_v: Element type of the V cache; a quantised type needs `flash_attn`.
            poll: How long idle compute threads spin before they sleep, from 0 (not at all) to 100.
            prefix_reuse: Reuse the KV of equal prompt beginnings instead of computing it again.
            reproducible: Generate bit-identical tokens whatever else is running. Free where this library's kernels
                compute the whole model (CPU with AVX2, architectures and formats as in DESIGN.md); elsewhere it means
                round-robin, fixed prefill chunks and no prefix reuse.
            mmap: Map the model file instead of reading it into private memory; all contexts and processes share the
                pages.
            repack: Repack weights for the CPU while loading: faster from about 4 requests on, at the cost of a
                second copy of the weights in memory (the mapped pages can then be reclaimed).
            check_tensors: Check every weight for NaN and infinity while loading; reads the whole file.
            flash_attn: Use llama.cpp's flash attention. Without it, prompts next to running streams are computed
                faster (9.6 instead of 11.5 ms per token in chunks of 32), but 16 short streams decode more slowly (165
                instead of 135 ms per step) and scratch memory grows with `n_batch` times `n_ctx`.
            pin: Pin each compute thread to its own core.
            kernels: "auto": Compute matrices and attention with this library's own kernels where the CPU supports
                them: two to three times as fast from about 4 requests on. Needs `repack`. Engines of one process that
                live at the same time share the attention kernels, or their absence, with the first of them. "off"
                leaves all to ggml.
            placement: How workers are laid out: one per NUMA node with a fair share of the cores (auto), one per
                NUMA node (node), one per group of cores that share a cache (l3), or a single one that is bound to
                nothing (none).
            replicate: Whether each NUMA node gets a copy of the weights, each of which takes their full size: where
                they fit (auto), always or never.
            cpus: CPUs that compute threads may use, numbered as by the operating system; one thread per physical
                core among them. None: all that this process may use; on machines with two kinds of cores, the faster
                ones.
            nodes: NUMA nodes whose cores and memory are used. None: all.
            swa_full: Keep the keys and values of all tokens also in layers with a sliding window (Gemma, gpt-oss
                and others), which otherwise keep only those of the window and of one batch. Prompts can then share a
                beginning long after its sequence went on, for the KV memory of a model without windows: with 2,048
                tokens per slot and a window of 512, twice as much.
            chat_template: Render chats with this template instead of the one in the model file: Jinja source, or
                the name of one that comes with this library, such as "chatml". None: the file's own, or ChatML where it
                has none.
            chat_template_kwargs: Variables for the chat template, such as `enable_thinking`; those of a call
                replace them one by one.
            wait_policy: How compute threads wait for each other: by spinning, which is fastest where each has a
                core to itself (active); by sleeping, with the work left to whoever runs, which is fastest beside busy
                programs (passive); or as the time that they wait for a core suggests, where the system tells it (auto).
            park_after_ms: How many milliseconds a request whose reader is behind keeps its slot while others wait
                for one. Then its KV is moved to memory, until the reader has caught up.
            speculation: Whether the next tokens of a request that does not say are guessed and computed beforehand,
                where the call has room: as costs and chances suggest (auto), not at all (off), whenever they can be
                looked up in what was written before (lookup), or by the draft model (draft). Generated tokens are the
                same, bit for bit, where this library's kernels compute the whole model; elsewhere auto is off.
            draft_model: Path of a smaller model with the same vocabulary, a GGUF file, that guesses the next
                tokens. It has a KV cache for as many slots. None: there is none.
            pack_cache: Keep weights as the kernels pack them in a file as large as the model, beside it (True) or in this
                folder: the first load writes it, later ones map it, and processes share it. Needs `mmap`.
            progress: Called with the completed fraction, 0 to 1. Return False to cancel the load.

        Raises:
            ModelLoadError: `ModelNotFound`, `ModelInvalid`, `ModelUnsupported`.
            InvalidConfig: A parameter is out of range.
            OutOfMemory: Weights or KV cache do not fit.
            LoadCancelled: `progress` returned False.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "model")}
        check(BaseEngine.__init__, {"model": model, **options}, InvalidConfig, most=sys.maxsize, poll=100)
        for name in ("cpus", "nodes"):
            options[name] = None if options[name] is None else list(options[name])
        options["kernels"] = kernels == "auto"
        if chat_template_kwargs is not None:
            options["chat_template_kwargs"] = as_json("chat_template_kwargs", chat_template_kwargs)
        # For the native part: no path is no file, an empty one is beside the model.
        options["pack_cache"] = None if pack_cache is False else "" if pack_cache is True else os.fspath(pack_cache)
        self._path = os.fspath(DEMO_MODEL if model is None else model)
        self._native = NativeEngine(self._path, options)
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._requests = Requests()
        _open.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path!r}>"

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Tokenizes a text. With both flags, the result is a prompt, followed by the tokens that some models expect at the
        end of a complete text."""
        return self._native.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Converts tokens to text. Special tokens are omitted unless `special`; incomplete characters become U+FFFD.

        Raises:
            InvalidRequest: A token is not in the vocabulary.
        """
        if isinstance(tokens, (str, bytes)) or not isinstance(tokens, Iterable):
            raise TypeError(f"tokens is {tokens!r:.80}, but must be a list of int")
        try:
            return self._native.detokenize(list(tokens), special)
        except OverflowError:
            raise InvalidRequest("a token is out of range: none is that large") from None

    def chat_prompt(
        self,
        messages: Iterable[Message],
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        tools: Iterable[Tool] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        parallel_tool_calls: bool = True,
        thinking_budget: int | None = None,
        variables: dict[str, Any] | None = None,
        parse_special: bool = False,
    ) -> ChatPrompt:
        """Renders messages with the chat template. The answer to the prompt is read into thoughts, content and calls.

        Args:
            messages: Dicts with `role` and `content`, and whatever else the template reads: `tool_calls`, `tool_call_id`,
                `name`, `reasoning_content`.
            add_generation_prompt: End with the header of an assistant message. None: unless a message is continued.
            continue_final_message: Have the model continue the last message: its content or, by name, its reasoning. None:
                if it is the assistant's.
            tools: The tools that the model may call: dicts as in OpenAI's API, or Python functions, whose annotations and
                docstrings describe them.
            tool_choice: Whether it calls them: "auto", "none", "required", or the name of one as
                `{"type": "function", "function": {"name": ...}}`. None: "auto".
            parallel_tool_calls: Whether it may make more than one call in its answer.
            thinking_budget: Tokens of thoughts at most, after which the thought is closed. None: no limit.
            variables: Further variables of the template, such as `{"enable_thinking": False}`.
            parse_special: Read special tokens also where they are written inside messages. By default a control token in
                a message is plain text, so that a message cannot end itself and impersonate another role.

        Raises:
            ChatTemplateError: The template refuses or cannot render the messages.
            InvalidRequest: The messages are not a chat.
        """
        if continue_final_message and add_generation_prompt:
            raise InvalidRequest("continue_final_message and add_generation_prompt cannot both be true")
        continued: str | None = continue_final_message if isinstance(continue_final_message, str) else None
        if isinstance(continue_final_message, bool):
            continued = "last" if continue_final_message else "never"
        elif continued not in (None, "content", "reasoning_content"):
            raise InvalidRequest(
                f"continue_final_message is {continued!r}, but must be True, False, 'content' or 'reasoning_content'"
            )
        if thinking_budget is not None and not 0 <= thinking_budget < 2**32:
            raise InvalidRequest(f"thinking_budget is {thinking_budget}, but must be a number of tokens, 0 or more, or None")
        text, plain, form = self._native.chat_prompt(
            as_messages(messages),
            add_generation_prompt is not False,
            continued,
            None if tools is None else as_json("tools", [tool_schema(tool) for tool in tools]),
            None if tool_choice is None else as_json("tool_choice", tool_choice),
            parallel_tool_calls,
            thinking_budget,
            None if variables is None else as_json("variables", variables),
            parse_special,
        )
        return ChatPrompt(text, plain, form)

    def stats(self) -> EngineStats:
        """A snapshot of the engine's configuration, counters and state. Cheap: it does not wait for the workers."""
        return EngineStats(**self._native.stats())

    def warnings(self) -> list[str]:
        """Settings that were requested and could not be applied, one sentence each."""
        return self._native.warnings()

    def close(self) -> None:
        """Cancels all requests, ends all threads and releases the memory. May be called again."""
        self._native.close()
        self._requests.join()

    def _close_streams(self) -> None:
        """Before a drain: a stream that is not read would never end."""
        for stream in list(self._streams):
            stream._cancel()

    def _submit(self, prompt: Prompt, params: SamplingParams | None) -> NativeGeneration:
        return self._native.submit(prompt, NativeSampling(params or SamplingParams()))


class Stream:
    """The common base of streams for threads and for asyncio."""

    result: Result | None = None
    """The whole generation, once the last piece was read."""

    def __init__(self, engine: BaseEngine, generation: NativeGeneration | None) -> None:
        self._generation = generation
        engine._streams.add(self)

    def cancel(self) -> None:
        """Cancels the generation before its next token. Earlier output can still be read, and so can `result`."""
        if self._generation is not None:
            self._generation.cancel()

    def _take(self, event: Event | None) -> str:
        """The text of an event, which may be empty; at the end, drops the generation."""
        if isinstance(event, tuple):
            return event[0]
        self._generation = None
        if event is not None:
            self.result = finished(event)
        return ""

    def _take_deltas(self, event: Event | None) -> list[dict[str, Any]]:
        """The deltas of an event."""
        if isinstance(event, tuple) and len(event) == 4:
            return event[3]
        text = self._take(event)
        return [{"content": text}] if text else []

    def _cancel(self) -> None:
        generation, self._generation = self._generation, None
        if generation is not None:
            generation.cancel()


def finished(end: dict[str, Any] | LlamaError | None) -> Result:
    """The result of a single generation. Raises its error, or `DeadlineExceeded`."""
    assert end is not None, "a generation ends with its result"
    return checked(outcome(end))


@atexit.register
def _close_all() -> None:
    for engine in list(_open):
        engine.close()


class Progress:
    """Reports the number of finished prompts, each number once; raises `CancelledError` once it was stopped."""

    def __init__(self, report: Callable[[int, int], object] | None) -> None:
        self._report = report
        self._reported = 0
        self.stopped = False

    def __call__(self, done: int, total: int) -> None:
        if self.stopped:
            raise CancelledError
        if done > self._reported and self._report is not None:
            self._reported = done
            self._report(done, total)


def list_requests(
    prompts: Iterable[Prompt], params: SamplingParams | None
) -> list[tuple[Prompt, NativeSampling]]:
    """The requests for a list of prompts: with batch priority, each with its own seed."""
    params = params or SamplingParams()
    first = random.randrange(2**32) if params.seed is None else params.seed
    seeds = ((first + index) % 2**32 for index in range(2**63))
    return [(prompt, NativeSampling(params, seed=seed, priority="batch")) for prompt, seed in zip(prompts, seeds)]


def refuse_keywords(unknown: Mapping[str, object], known: str) -> None:
    """Raises `TypeError` for unknown keyword arguments; most of them belong to `SamplingParams`."""
    for name in unknown:
        if name in SamplingParams.__dataclass_fields__:
            raise TypeError(f"{name} is a field of SamplingParams: pass SamplingParams({name}=...)")
        raise TypeError(f"there is no keyword argument {name!r}; there is {known}")


def is_list(prompts: object) -> bool:
    """Whether these are several prompts: neither a text nor the tokens of one. Iterators of prompts are, too."""
    # Bytes, dicts and sets are not prompts; the native part refuses them.
    if isinstance(prompts, (str, bytes, bytearray, Mapping, Set)) or not isinstance(prompts, Iterable):
        return False
    if isinstance(prompts, Sequence):
        return not (len(prompts) > 0 and isinstance(prompts[0], Integral))
    return not hasattr(prompts, "__array__")
