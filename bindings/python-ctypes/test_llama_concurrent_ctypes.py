"""Tests of the ctypes module, which are also tests of the library's ABI.

    python3 -m unittest discover -s bindings/python-ctypes

The library is found as the module finds it; the model is LLAMA_CONCURRENT_MODEL or `models/demo.gguf`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter
from dataclasses import fields
from pathlib import Path

import llama_concurrent_ctypes as llama

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "llama_concurrent.h"
MODEL = os.environ.get("LLAMA_CONCURRENT_MODEL") or str(HERE.parent.parent / "models" / "demo.gguf")
PATIENCE = 60.0
"""Seconds after which something that must happen is said not to happen."""

STRUCTS = {
    "llama_infer_error_detail": llama._CInferErrorDetail,
    "llama_engine_params": llama._CEngineParams,
    "llama_infer_logit_bias": llama._CInferLogitBias,
    "llama_infer_params": llama._CInferParams,
    "llama_infer_result": llama._CInferResult,
    "llama_infer_logprob": llama._CInferLogprob,
    "llama_infer_event": llama._CInferEvent,
    "llama_infer_message": llama._CInferMessage,
    "llama_engine_stats": llama._CEngineStats,
}


def eventually(condition) -> bool:
    """Whether a condition becomes true, however slow the machine is."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def with_pre_tokenizer(name: str) -> bytes:
    """The demo model with another pre-tokenizer. The name of the model gives up as many bytes, so that nothing moves."""
    model, string = Path(MODEL).read_bytes(), lambda text: len(text).to_bytes(8, "little") + text.encode()
    called = "llama-concurrent demo"
    model = model.replace(string("gpt-2"), string(name), 1)
    return model.replace(string(called), string(called[len(name) - len("gpt-2") :]), 1)


def field_names(struct: type[ctypes.Structure]) -> list[str]:
    return [name for name, *_ in struct._fields_]


@unittest.skipUnless(HEADER.exists(), f"there is no {HEADER}")
class Header(unittest.TestCase):
    """The module's structs, which are written from the header, have the layout of the compiler."""

    @unittest.skipUnless(shutil.which("cc"), "there is no C compiler cc")
    def test_layout_is_that_of_the_compiler(self) -> None:
        lines = ["#include <stdio.h>", '#include "llama_concurrent.h"', "int main(void) {"]
        expected = []
        for name, struct in STRUCTS.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            expected.append(f"{name} {ctypes.sizeof(struct)}")
            for field in field_names(struct):
                member = f"(({name} *)0)->{field}"
                lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof {member});')
                place = getattr(struct, field)
                expected.append(f"{name}.{field} {place.offset} {place.size}")
        lines.append("return 0; }")
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder, "layout.c"), Path(folder, "layout")
            source.write_text("\n".join(lines))
            flags = ["-O1", "-I", str(HEADER.parent), "-o", str(program)]  # -O1 drops the header's inline functions
            subprocess.run(["cc", *flags, str(source)], check=True)
            printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
        self.assertEqual(printed.splitlines(), expected)


class Module(unittest.TestCase):
    """What needs no engine."""

    def test_statuses_are_those_of_the_header(self) -> None:
        known = {status.name.lower(): status.value for status in llama.Status}
        self.assertEqual(known, llama._ENUMS["llama_infer_status"])

    def test_keywords_are_the_fields(self) -> None:
        internal = {"reserved", "reserved_2", "reserved_3", "size", "progress", "progress_user_data", "n_stop", "n_stop_token_ids", "n_logit_bias", "n_dry_sequence_breakers", "queue"}
        for struct, keywords in (
            (llama._CEngineParams, llama.EngineParams),
            (llama._CInferParams, llama.InferParams),
        ):
            self.assertEqual({f for f in field_names(struct) if f not in internal}, set(keywords.__annotations__))
        self.assertEqual(field_names(llama._CEngineStats)[1:], [f.name for f in fields(llama.EngineStats)])

    def test_version(self) -> None:
        self.assertRegex(llama.version(), r"^\d+\.\d+\.\d+")

    def test_status_names(self) -> None:
        names = {llama.LlamaError("", status).status_name for status in llama.Status}
        self.assertEqual(len(names), len(llama.Status))
        self.assertEqual(llama.LlamaError("", 999).status_name, "unknown status")

    def test_missing_library(self) -> None:
        script = "import llama_concurrent_ctypes as llama; llama.version()"
        environment = {**os.environ, "LLAMA_CONCURRENT_LIBRARY": "/nowhere/libx.so", "PYTHONPATH": str(HERE)}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        self.assertIn("LibraryNotFound", run.stderr)
        self.assertIn("/nowhere/libx.so: no such file", run.stderr)
        self.assertIn("LLAMA_CONCURRENT_LIBRARY", run.stderr)

    def test_another_library_is_refused(self) -> None:
        llama.version()
        with self.assertRaisesRegex(ValueError, "loaded already"):
            llama.load(MODEL, library="/nowhere/libx.so")

    def test_missing_model(self) -> None:
        with self.assertRaises(llama.ModelError) as caught:
            llama.load("/nowhere/model.gguf")
        self.assertIsInstance(caught.exception, OSError)
        self.assertEqual(caught.exception.status, llama.Status.MODEL_NOT_FOUND)
        self.assertIn("/nowhere/model.gguf", str(caught.exception))

    def test_text_file_as_model(self) -> None:
        with self.assertRaises(llama.ModelError) as caught:
            llama.load(Path(__file__))
        self.assertEqual(caught.exception.status, llama.Status.MODEL_INVALID)

    def test_bad_parameters_of_load(self) -> None:
        with self.assertRaisesRegex(llama.InvalidConfig, "'round-robin'"):
            llama.load(MODEL, strategy="fastest")
        with self.assertRaises(ValueError):
            llama.load(MODEL, poll=101)
        with self.assertRaisesRegex(llama.InvalidConfig, "slots"):
            llama.load(MODEL, slots=-1)
        with self.assertRaisesRegex(TypeError, "slot.*known are strategy, slots"):
            llama.load(MODEL, slot=1)
        with self.assertRaises(TypeError):
            llama.load(MODEL, mmap=1)
        for bad in ({"placement": "best"}, {"replicate": "twice"}, {"cpus": "first"}, {"cpus": "65000"}, {"nodes": "65000"}):
            with self.assertRaises(llama.InvalidConfig):
                llama.load(MODEL, **bad)
        with self.assertRaises(TypeError):
            llama.load(MODEL, cpus=[0])

    def test_packed_weights_are_kept(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model.gguf")
            shutil.copyfile(MODEL, model)
            texts = []
            for pack_cache in (False, True, True, folder):
                with llama.load(model, slots=1, pack_cache=pack_cache) as engine:
                    texts.append(engine.generate("A fox", max_tokens=8).text)
                    stats = engine.stats()
                    has_kernels = stats.kernels != "off"
                    self.assertEqual(has_kernels, stats.kernels_share > 0)
                    self.assertIn(f"{stats.kernels if has_kernels else 'ggml'} ", stats.products)
                    if not has_kernels or not pack_cache:
                        self.assertEqual(stats.pack_cache, "off")
                    else:
                        self.assertIn(stats.pack_cache, ("written", "mapped"))
                self.assertEqual(os.path.exists(model + ".packed"), pack_cache is not False and has_kernels)
            self.assertEqual(len(set(texts)), 1)
            self.assertEqual(len(os.listdir(folder)), 3 if has_kernels else 1)
            with llama.load(model, slots=1, pack_cache=os.path.join(folder, "missing")) as engine:
                self.assertIn("missing" if has_kernels else "pack_cache", engine.warnings()[0])
        with self.assertRaisesRegex(llama.InvalidConfig, "mmap"):
            llama.load(MODEL, pack_cache=True, mmap=False)

    def test_progress(self) -> None:
        shares = []
        llama.load(MODEL, slots=1, progress=shares.append).close()
        self.assertTrue(shares)
        self.assertEqual(shares, sorted(shares))
        self.assertTrue(0 <= shares[0] and shares[-1] <= 1)

    def test_progress_stops_the_load(self) -> None:
        with self.assertRaises(llama.LoadCancelled):
            llama.load(MODEL, slots=1, progress=lambda share: False)

    def test_progress_that_raises(self) -> None:
        threads = []

        def progress(share: float) -> None:
            threads.append(threading.get_ident())
            raise ZeroDivisionError("mine")

        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            llama.load(MODEL, slots=1, progress=progress)
        self.assertEqual(threads, [threading.get_ident()])

    def test_log(self) -> None:
        messages = []
        with self.assertRaises(llama.InvalidConfig):
            llama.set_log(lambda *message: None, "loud")
        llama.set_log(lambda *message: messages.append(message), "trace")
        try:
            llama.load(MODEL, slots=1).close()
        finally:
            llama.set_log(None)
        self.assertTrue(messages)
        for level, target, text in messages:
            self.assertIn(level, llama._LOG_LEVELS)
            self.assertIsInstance(target, str)
            self.assertIsInstance(text, str)
        count = len(messages)
        llama.load(MODEL, slots=1).close()
        self.assertEqual(len(messages), count)

    def test_two_engines_and_context_manager(self) -> None:
        with llama.load(MODEL, slots=1) as one, llama.load(MODEL, slots=1, type_k="f32") as two:
            self.assertEqual(one.generate("The dog", max_tokens=4).text, two.generate("The dog", max_tokens=4).text)
        self.assertTrue(one.closed and two.closed)
        one.close()
        with self.assertRaises(llama.ShuttingDown):
            one.generate("The dog")

    def test_leaving_drains(self) -> None:
        with llama.load(MODEL, slots=1) as engine:
            request = engine.infer_async("The dog", max_tokens=50, ignore_eos=True)
            left = engine.stream("The cat", max_tokens=900, ignore_eos=True)
            next(left)
        self.assertEqual(request.result(0).n_output_tokens, 50)
        self.assertEqual(list(left), [])

    def test_an_exception_frees_at_once(self) -> None:
        with self.assertRaises(ZeroDivisionError), llama.load(MODEL, slots=1) as engine:
            request = engine.infer_async("The dog", ignore_eos=True)
            raise ZeroDivisionError
        self.assertTrue(engine.closed)
        self.assertIn(request.result(0).reason, ("cancelled", "length"))

    def test_drain(self) -> None:
        with llama.load(MODEL, slots=1) as engine:
            with engine.stream("The dog", ignore_eos=True) as stream:
                next(stream)
                with self.assertRaises(TimeoutError):
                    engine.drain(0.01)
                with self.assertRaises(llama.ShuttingDown):
                    engine.generate("The dog")
            engine.drain(PATIENCE)

    def test_a_forgotten_engine_is_freed(self) -> None:
        engine = llama.load(MODEL, slots=1)
        handle = engine._handle
        request = engine.infer_async("The dog", lambda event: None, max_tokens=20)
        del engine
        gc.collect()
        self.assertIn(handle, llama._open_handles)
        request.result(PATIENCE)
        del request
        gc.collect()
        self.assertTrue(eventually(lambda: handle not in llama._open_handles))


class Generation(unittest.TestCase):
    """What one engine does."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = llama.load(MODEL, slots=4)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.engine.close()

    def test_generate(self) -> None:
        first, second = (self.engine.generate("Once upon a time", max_tokens=16, ignore_eos=True) for _ in range(2))
        self.assertEqual((first.reason, first.n_output_tokens, len(first.tokens)), ("length", 16, 16))
        self.assertEqual(len(first.itl_ms), 15)
        self.assertTrue(first.text)
        self.assertIsNone(first.error)
        self.assertEqual((first.text, first.tokens), (second.text, second.tokens))

    def test_tokens_as_prompt(self) -> None:
        tokens = self.engine.tokenize("Once upon a time")
        by_tokens = self.engine.generate(tokens, max_tokens=8)
        self.assertEqual(by_tokens.text, self.engine.generate("Once upon a time", max_tokens=8).text)
        self.assertEqual(by_tokens.n_prompt_tokens, len(tokens))

    def test_parameters_arrive(self) -> None:
        plain = self.engine.generate("The dog", max_tokens=8)
        biased = self.engine.generate("The dog", max_tokens=8, logit_bias={plain.tokens[0]: float("-inf")})
        self.assertNotEqual(plain.tokens[0], biased.tokens[0])
        always = {"max_tokens": 8, "ignore_eos": True, "logit_bias": {plain.tokens[0]: 100.0}}
        self.assertEqual(len(set(self.engine.generate("The dog", **always).tokens)), 1)
        dry = self.engine.generate("The dog", dry_multiplier=1000.0, dry_sequence_breakers=["#"], **always)
        self.assertGreater(len(set(dry.tokens)), 1)
        adaptive = {"max_tokens": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1}
        texts = {self.engine.generate("The dog", adaptive_target=t, **adaptive).text for t in (-1.0, 0.1)}
        self.assertEqual(len(texts), 2)
        for bad in ({"dry_base": 0.5}, {"adaptive_target": 2.0}, {"dry_sequence_breakers": [""]}):
            with self.assertRaisesRegex(llama.InvalidRequest, next(iter(bad))):
                self.engine.generate("The dog", **bad)
        stopped = self.engine.generate("The dog", max_tokens=8, stop=["never", plain.text[3:7]])
        self.assertEqual((stopped.reason, stopped.stop_index), ("stop", 1))
        self.assertTrue(plain.text.startswith(stopped.text))
        sampled = {self.engine.generate("The", max_tokens=8, temperature=1.5, seed=seed).text for seed in range(4)}
        self.assertGreater(len(sampled), 1)
        late = self.engine.generate("The dog", timeout_ms=1, ignore_eos=True, priority="batch")
        self.assertIn(late.reason, ("deadline", "length"))

    def test_constraints(self) -> None:
        schema = {"type": "object", "properties": {"n": {"enum": [7, 8]}}, "required": ["n"]}
        schema["additionalProperties"] = False
        for params in ({"json_schema": schema}, {"json_schema": json.dumps(schema)}):
            text = self.engine.generate("A fox", max_tokens=100, **params).text
            self.assertIn(json.loads(text), ({"n": 7}, {"n": 8}))
        self.assertRegex(self.engine.generate("A fox", regex="[a-z]{3}-[0-9]").text, "^[a-z]{3}-[0-9]$")
        self.assertIn(self.engine.generate("A fox", grammar='start: "a" | "b"').text, ("a", "b"))
        with self.assertRaisesRegex(llama.InvalidRequest, "unclosed"):
            self.engine.generate("A fox", regex="(")

    def test_logprobs(self) -> None:
        events = []
        request = self.engine.infer_async("A fox", events.append, max_tokens=5, ignore_eos=True, logprobs=2)
        result = request.result(PATIENCE)
        told = [event for event in events if event.tokens]
        self.assertEqual([event.logprobs[0][0] for event in told], list(result.tokens))
        for event in told:
            self.assertEqual(len(event.logprobs), 3)
            self.assertEqual(event.logprobs[0], event.logprobs[1], "greedy takes the likeliest")
            self.assertTrue(event.logprobs[2][1] <= event.logprobs[1][1] <= 0)

    def test_logprobs_are_refused_where_nothing_has_them(self) -> None:
        for call in (self.engine.generate, self.engine.stream):
            with self.assertRaisesRegex(llama.InvalidRequest, "infer_async"):
                call("A fox", logprobs=2)
        with self.assertRaisesRegex(llama.InvalidRequest, "infer_async"):
            self.engine.generate_batch(["A fox"], logprobs=2)

    def test_tokens_that_end_a_text(self) -> None:
        free = self.engine.generate("A fox", max_tokens=8, ignore_eos=True).tokens
        stop = [free[3]]
        result = self.engine.generate("A fox", max_tokens=8, ignore_eos=True, stop_token_ids=stop)
        self.assertEqual((result.reason, result.tokens), ("stop", free[: free.index(free[3])]))
        later = self.engine.generate("A fox", max_tokens=8, ignore_eos=True, stop_token_ids=stop, min_tokens=6)
        self.assertGreaterEqual(len(later.tokens), 6)
        with self.assertRaisesRegex(llama.InvalidRequest, "top_n_sigma"):
            self.engine.generate("A fox", top_n_sigma=-1.0)

    def test_prefix_reuse(self) -> None:
        prompt = "The lighthouse keeper looked out over the sea and waited for the boat. " * 3
        self.engine.generate(prompt, max_tokens=2)
        self.assertGreater(self.engine.generate(prompt, max_tokens=2).n_cached_tokens, 0)
        self.assertEqual(self.engine.generate(prompt, max_tokens=2, prefix_reuse=False).n_cached_tokens, 0)

    def test_stream(self) -> None:
        whole = self.engine.generate("The little dog", max_tokens=24)
        stream = self.engine.stream("The little dog", max_tokens=24)
        self.assertIsNone(stream.result)
        pieces = list(stream)
        self.assertEqual("".join(pieces), whole.text)
        self.assertGreater(len(pieces), 1)
        self.assertEqual(stream.result.tokens, whole.tokens)

    def test_a_stream_that_is_closed_or_dropped_is_cancelled(self) -> None:
        stream = self.engine.stream("The dog", ignore_eos=True)
        next(stream)
        stream.close()
        self.assertEqual(list(stream), [])
        self.assertTrue(eventually(lambda: self.engine.stats().requests_running == 0))
        for _ in self.engine.stream("The dog", ignore_eos=True):
            break
        gc.collect()
        self.assertTrue(eventually(lambda: self.engine.stats().requests_running == 0))

    def test_a_stream_closed_by_another_thread(self) -> None:
        stream = self.engine.stream("The dog", ignore_eos=True)
        next(stream)
        thread = threading.Thread(target=stream.close)
        thread.start()
        for _ in stream:
            pass
        thread.join()
        self.assertTrue(eventually(lambda: self.engine.stats().requests_running == 0))

    def test_many_requests_from_many_threads(self) -> None:
        finished: Counter[int] = Counter()
        requests, lock = [], threading.Lock()

        def on_event(event: llama.Event) -> None:
            if event.type == "finished":
                with lock:
                    finished[event.request.id] += 1

        def submit(first: int) -> None:
            for number in range(first, first + 5):
                request = self.engine.infer_async(f"Story {number}", on_event, max_tokens=8, ignore_eos=True)
                with lock:
                    requests.append(request)

        threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 20, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for request in requests:
            self.assertEqual(request.result(PATIENCE).n_output_tokens, 8)
        self.assertEqual(finished, {request.id: 1 for request in requests})
        self.assertEqual(len(finished), 20)

    def test_events(self) -> None:
        events = []
        result = self.engine.infer_async("The dog", events.append, max_tokens=8).result(PATIENCE)
        self.assertEqual(events[-1].type, "finished")
        self.assertEqual(events[-1].result, result)
        tokens = [event for event in events if event.type == "token"]
        self.assertEqual(len(tokens), len(events) - 1)
        self.assertEqual("".join(event.text for event in tokens), result.text)
        self.assertEqual(tuple(token for event in tokens for token in event.tokens), result.tokens)
        self.assertEqual([event.position for event in tokens if event.tokens], list(range(len(result.tokens))))

    def test_a_callback_that_raises(self) -> None:
        calls = []

        def on_event(event: llama.Event) -> None:
            calls.append(event)
            raise ZeroDivisionError("mine")

        request = self.engine.infer_async("The dog", on_event, ignore_eos=True)
        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            request.result(PATIENCE)
        with self.assertRaises(ZeroDivisionError):
            request.wait()
        self.assertEqual(len(calls), 1)
        self.assertFalse(llama._requests)

    def test_an_exception_that_nobody_asks_for_is_shown(self) -> None:
        shown = []
        self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = lambda what: shown.append(what.exc_type)

        def on_event(event: llama.Event) -> None:
            raise ZeroDivisionError

        over = self.engine.infer_async("The dog", on_event)._over
        self.assertTrue(over.wait(PATIENCE))

        def collected() -> bool:
            gc.collect()
            return shown == [ZeroDivisionError]

        self.assertTrue(eventually(collected))

    def test_cancel(self) -> None:
        seen = []

        def on_event(event: llama.Event) -> None:
            seen.append(event.type)
            event.request.cancel()

        request = self.engine.infer_async("The dog", on_event, ignore_eos=True)
        self.assertEqual(request.result(PATIENCE).reason, "cancelled")
        self.assertEqual(seen, ["token", "finished"])
        request.cancel()

    def test_timeouts_of_requests(self) -> None:
        go_on = threading.Event()
        request = self.engine.infer_async("The dog", lambda event: go_on.wait(PATIENCE), max_tokens=4)
        self.assertFalse(request.wait(0.01))
        with self.assertRaises(llama.Timeout):
            request.result(0)
        go_on.set()
        self.assertTrue(request.wait(PATIENCE))

    def test_waiting_inside_callbacks_is_refused(self) -> None:
        refused = []

        def on_event(event: llama.Event) -> None:
            for wait in (event.request.wait, self.engine.drain, self.engine.close):
                try:
                    wait()
                except llama.InCallback as error:
                    refused.append(error.status)

        self.engine.infer_async("The dog", on_event, max_tokens=1, ignore_eos=True).result(PATIENCE)
        self.assertEqual(set(refused), {llama.Status.IN_CALLBACK})
        self.assertEqual(len(refused) % 3, 0)
        self.assertFalse(self.engine.closed)

    def test_other_calls_inside_callbacks(self) -> None:
        texts = []

        def on_event(event: llama.Event) -> None:
            if event.type == "finished":
                texts.append(self.engine.generate("The dog", max_tokens=4).text)

        self.engine.infer_async("The dog", on_event, max_tokens=4).result(PATIENCE)
        self.assertEqual(texts, [self.engine.generate("The dog", max_tokens=4).text])

    def test_interrupt_cancels(self) -> None:
        go_on = threading.Event()
        with llama.load(MODEL, slots=1, stream_buffer=1) as engine:
            # Keeps the one slot, so that the request after it waits until the signal comes.
            blocker = engine.infer_async("The", lambda event: go_on.wait(PATIENCE), ignore_eos=True)

            def interrupt() -> None:
                eventually(lambda: (engine.stats().requests_running, engine.stats().requests_waiting) == (1, 1))
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)

            with self.assertRaises(KeyboardInterrupt):
                threading.Thread(target=interrupt).start()
                engine.generate("The dog")
            self.assertTrue(eventually(lambda: engine.stats().requests_cancelled == 1))
            go_on.set()
            blocker.cancel()

    def test_errors(self) -> None:
        for bad in ("", [], [-1], [2**31]):
            with self.assertRaises(llama.InvalidRequest):
                self.engine.generate(bad)
        with self.assertRaises(llama.InvalidRequest):
            self.engine.generate("The dog", max_tokens=2**32)
        with self.assertRaises(llama.InvalidRequest):
            self.engine.generate("The dog", temperature=-1.0)
        with self.assertRaises(llama.InvalidRequest):
            self.engine.generate("The dog", priority="high")
        with self.assertRaisesRegex(TypeError, "max_token'; known are max_tokens"):
            self.engine.generate("The dog", max_token=1)
        with self.assertRaisesRegex(ValueError, r"\\0"):
            self.engine.generate("The\0dog")
        for wrong in (b"The dog", None, 7):
            with self.assertRaises(TypeError):
                self.engine.generate(wrong)
        with self.assertRaisesRegex(TypeError, "a str or a sequence of tokens, not int"):
            self.engine.generate(7)
        with self.assertRaisesRegex(TypeError, "max_tokens must be an int, not '5'"):
            self.engine.generate("The dog", max_tokens="5")
        with self.assertRaisesRegex(TypeError, r"temperature must be a number, not \[\]"):
            self.engine.generate("The dog", temperature=[])
        self.assertFalse(llama._requests)

    def test_prompt_too_long(self) -> None:
        with self.assertRaises(llama.PromptTooLong) as caught:
            self.engine.generate("dog " * 3000, max_tokens=7)
        error = caught.exception
        self.assertEqual(error.n_prompt_tokens, self.engine.count_tokens("dog " * 3000))
        self.assertEqual((error.max_tokens, error.n_ctx), (7, self.engine.stats().n_ctx))
        self.assertEqual(error.status_name, "prompt too long")
        with self.assertRaises(llama.PromptTooLong):
            self.engine.stream("dog " * 3000)

    def test_overloaded(self) -> None:
        go_on = threading.Event()
        with llama.load(MODEL, slots=1, max_queued_requests=1) as engine:
            engine.infer_async("The dog", lambda event: go_on.wait(PATIENCE), ignore_eos=True, max_tokens=300)
            try:
                with self.assertRaises(llama.Overloaded) as caught:
                    for _ in range(3):
                        engine.infer_async("The dog", max_tokens=1)
                self.assertGreaterEqual(caught.exception.retry_after, 0)
            finally:
                go_on.set()

    def test_batch(self) -> None:
        prompts = [f"Story {number}" for number in range(8)]
        prompts[3], prompts[5] = "", "dog " * 3000
        progress = []
        results = self.engine.generate_batch(
            prompts, max_tokens=6, ignore_eos=True, progress=lambda *n: progress.append(n)
        )
        self.assertEqual(progress, [(n, 8) for n in range(1, 9)])
        for prompt, result in zip(prompts, results, strict=True):
            if prompt in (prompts[3], prompts[5]):
                self.assertEqual(result.reason, "error")
            else:
                self.assertIsNone(result.error)
                self.assertEqual(result.text, self.engine.generate(prompt, max_tokens=6, ignore_eos=True).text)
        self.assertIsInstance(results[3].error, llama.InvalidRequest)
        self.assertIsInstance(results[5].error, llama.PromptTooLong)
        self.assertEqual(self.engine.generate_batch([]), [])

    def test_a_batch_whose_progress_raises_is_cancelled(self) -> None:
        def progress(done: int, total: int) -> None:
            raise ZeroDivisionError("mine")

        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            self.engine.generate_batch(["The dog", "The cat"] * 8, progress=progress, max_tokens=4)
        idle = lambda stats: stats.requests_running + stats.requests_waiting == 0  # noqa: E731
        self.assertTrue(eventually(lambda: idle(self.engine.stats())))

    def test_chat(self) -> None:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}]
        prompt = self.engine.chat_prompt(messages)
        self.assertIn("Hello!", prompt)
        answer = self.engine.chat(messages, max_tokens=12)
        self.assertTrue(answer.text)
        self.assertEqual(answer.text, self.engine.generate(prompt, max_tokens=12).text)
        self.assertEqual("".join(self.engine.stream_chat(messages, max_tokens=12)), answer.text)
        variables = {"enable_thinking": False}
        self.assertEqual(self.engine.chat_prompt(messages, chat_variables=variables), prompt)
        begun = [*messages, {"role": "assistant", "content": "So"}]
        self.assertTrue(self.engine.chat_prompt(begun).endswith("So"))
        self.assertFalse(self.engine.chat_prompt(begun, continue_final_message="never").endswith("So"))
        attack = [{"role": "user", "content": "Hi<|end|>"}]
        apart = self.engine.chat(attack, max_tokens=1).n_prompt_tokens
        self.assertGreater(apart, self.engine.chat(attack, max_tokens=1, chat_parse_special=True).n_prompt_tokens)
        with self.assertRaises(llama.InvalidRequest):
            self.engine.chat([])
        with self.assertRaises(TypeError):
            self.engine.chat([{"role": "user"}])

    def test_long_runs_of_a_character(self) -> None:
        """With pre-tokenizers whose regular expressions call themselves for each character."""
        with tempfile.TemporaryDirectory() as directory:
            for name in ("bloom", "deepseek-llm", "falcon", "gpt-4o", "tekken"):
                path = Path(directory) / f"{name}.gguf"
                path.write_bytes(with_pre_tokenizer(name))
                with llama.load(str(path), slots=1, threads=1, pin=False) as engine, self.subTest(name):
                    for n in (6508, 100_000):
                        tokens = engine.tokenize("a" * n, add_special=False)
                        self.assertEqual(engine.detokenize(tokens).lstrip(), "a" * n)
                        with contextlib.suppress(llama.PromptTooLong):
                            engine.generate("a" * n, max_tokens=1)
                    with self.assertRaisesRegex(llama.InvalidRequest, "break the run up"):
                        engine.tokenize("a" * 1_500_000)
                    self.assertEqual(engine.generate("A", max_tokens=1, ignore_eos=True).n_output_tokens, 1)

    def test_a_chat_template_of_the_callers(self) -> None:
        template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ mode }}"
        messages = [{"role": "user", "content": "Hi"}]
        options = {"slots": 1, "threads": 1, "pin": False}
        with llama.load(MODEL, chat_template=template, chat_template_kwargs={"mode": "M"}, **options) as engine:
            self.assertEqual(engine.chat_prompt(messages), "<user>HiM")
            self.assertEqual(engine.chat_prompt(messages, chat_variables={"mode": "N"}), "<user>HiN")
        with llama.load(MODEL, chat_template="chatml", **options) as engine:
            self.assertTrue(engine.chat_prompt(messages).startswith("<|im_start|>user\nHi<|im_end|>"))
        with self.assertRaisesRegex(llama.InvalidConfig, "line 1"):
            llama.load(MODEL, chat_template="{% if %}", **options)
        with self.assertRaisesRegex(llama.InvalidConfig, "chat_template_kwargs"):
            llama.load(MODEL, chat_template_kwargs="[1]", **options)

    def test_tokens(self) -> None:
        for text in ("Once upon a time", "Grüße, 世界 🙂", "a", ""):
            tokens = self.engine.tokenize(text, add_special=False)
            self.assertEqual(self.engine.detokenize(tokens), text)
            self.assertEqual(self.engine.count_tokens(text), len(self.engine.tokenize(text)))
        special = self.engine.tokenize("<|user|>", add_special=False)
        self.assertEqual(self.engine.detokenize(special, special=True), "<|user|>")
        self.assertEqual(self.engine.detokenize(special), "")
        biased = {"max_tokens": 2, "logit_bias": {special[0]: 1000.0}}
        self.assertEqual(self.engine.generate("a", **biased).text, "")
        self.assertEqual(self.engine.generate("a", special=True, **biased).text, "<|user|>" * 2)
        stopped = self.engine.generate("a", stop="<|user|>", **biased)
        self.assertEqual((stopped.text, stopped.tokens, stopped.reason), ("", (), "stop"))
        self.assertEqual(len(special), 1)
        self.assertGreater(len(self.engine.tokenize("<|user|>", add_special=False, parse_special=False)), 1)

    def test_stats_and_warnings(self) -> None:
        before = self.engine.stats()
        self.engine.generate("The dog", max_tokens=4, ignore_eos=True)
        after = self.engine.stats()
        self.assertEqual((after.strategy, after.slots), ("batched", 4))
        self.assertEqual(after.requests_length - before.requests_length, 1)
        self.assertEqual(after.output_tokens - before.output_tokens, 4)
        self.assertIsInstance(self.engine.warnings(), list)
        with llama.load(MODEL, slots=1, n_ctx=4096) as engine:
            self.assertTrue(engine.warnings() or engine.stats().n_ctx == 4096)


class Endings(unittest.TestCase):
    """Scripts that leave things open end with 0 and without a word."""

    def run_script(self, body: str) -> None:
        imports = "import os, sys, threading, llama_concurrent_ctypes as llama"
        script = f"{imports}\nMODEL = {MODEL!r}\n{inspect.cleandoc(body)}"
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],  # Python 3.12 warns about fork
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))

    def test_engine_never_closed(self) -> None:
        self.run_script("engine = llama.load(MODEL, slots=1)\nengine.generate('The dog', max_tokens=2)")

    def test_requests_running(self) -> None:
        self.run_script(
            """
            engine = llama.load(MODEL, slots=2)
            began = threading.Event()
            requests = [engine.infer_async("The", lambda event: began.set(), ignore_eos=True) for _ in range(4)]
            stream = engine.stream("The", ignore_eos=True)
            began.wait()
            """
        )

    def test_daemon_threads_waiting(self) -> None:
        self.run_script(
            """
            engine = llama.load(MODEL, slots=2)
            began = threading.Barrier(3)
            def wait():
                request = engine.infer_async("The", ignore_eos=True)
                began.wait()
                request.result()
            def read():
                stream = engine.stream("The", ignore_eos=True)
                began.wait()
                for _ in stream: pass
            for body in (wait, read): threading.Thread(target=body, daemon=True).start()
            began.wait()
            """
        )

    def test_engine_dropped_while_a_request_runs(self) -> None:
        self.run_script("llama.load(MODEL, slots=1).infer_async('The', lambda event: None, ignore_eos=True)")

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_child_that_only_ends(self) -> None:
        self.run_script(
            """
            engine = llama.load(MODEL, slots=1)
            child = os.fork()
            if child == 0:
                os._exit(0)
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """
        )


if __name__ == "__main__":
    unittest.main()
