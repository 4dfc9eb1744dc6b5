"""The engine for tasks, with the demo model."""

import asyncio
import gc

import anyio
import llama_concurrent as llama
import pytest
from llama_concurrent import AsyncEngine, SamplingParams

PROMPT = "Once upon a time"
SHORT = SamplingParams(max_tokens=12, ignore_eos=True)
ENDLESS = SamplingParams(max_tokens=900, ignore_eos=True)
FOR_SECONDS = SamplingParams(max_tokens=8000, ignore_eos=True)
"""It needs a context longer than the model's, so that it outlasts the wait until it runs."""


async def eventually(condition) -> bool:
    for _ in range(6000):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


async def idle(engine) -> bool:
    return await eventually(lambda: engine.stats().requests_running + engine.stats().requests_waiting == 0)


@pytest.fixture
async def engine():
    async with await AsyncEngine.load(slots=8, threads=1, pin=False) as engine:
        yield engine


async def test_generate_and_stream(engine):
    result = await engine.generate(PROMPT, SHORT)
    assert result.n_output_tokens == 12
    stream = engine.stream(PROMPT, SHORT)
    assert "".join([piece async for piece in stream]) == result.text == stream.result.text
    messages = [{"role": "user", "content": "Hello!"}]
    answer = (await engine.chat(messages, SHORT)).text
    assert "".join([piece async for piece in engine.stream_chat(messages, SHORT)]) == answer


async def test_lists(engine):
    told = []
    results = await engine.generate(["A", "", "B"], SHORT, progress=lambda done, total: told.append(done))
    assert [bool(result.error) for result in results] == [False, True, False] and told[-1] == 3


async def test_errors(engine):
    with pytest.raises(llama.PromptTooLong):
        await engine.generate(PROMPT, SamplingParams(max_tokens=10**6))
    with pytest.raises(llama.DeadlineExceeded):
        await engine.generate(PROMPT, SamplingParams(max_tokens=900, ignore_eos=True, timeout=0.001))


async def test_long_texts_are_tokenized_elsewhere(engine, monkeypatch):
    long = "A fox and a boat. " * 100_000
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    for work in (lambda: engine.generate(long, SHORT), lambda: anext(engine.stream(long, SHORT))):
        ticks = 0
        with pytest.raises(llama.PromptTooLong):
            await work()
        assert ticks > 2
    ticking.cancel()
    with pytest.raises(llama.PromptTooLong):
        await engine.stream(long, SHORT).accepted()
    with pytest.raises(llama.PromptTooLong):
        async with engine.stream(long, SHORT):
            pass
    for forget in (engine.stream(long, SHORT), engine.stream("A fox. " * 600, ENDLESS)):
        await forget.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(forget)
    same = (await engine.generate(PROMPT, SHORT)).text
    monkeypatch.setattr("llama_concurrent._async.LONG_TEXT", 1)
    assert (await engine.generate(PROMPT, SHORT)).text == same
    assert "".join([piece async for piece in engine.stream(PROMPT, SHORT)]) == same
    assert await idle(engine)


async def test_two_hundred_tasks_get_what_they_would_get_alone():
    async with AsyncEngine(slots=8, threads=1, pin=False, reproducible=True, n_ctx=256) as engine:
        prompts = [f"Story {i}: once upon a time" for i in range(200)]
        alone = [(await engine.generate(prompt, SHORT)).text for prompt in prompts[:40]]
        together = await asyncio.gather(*(engine.generate(prompt, SHORT) for prompt in prompts))
        assert [result.text for result in together][:40] == alone


async def test_a_cancelled_task_cancels_its_request():
    async with AsyncEngine(slots=2, threads=1, pin=False, n_ctx=8192) as engine:

        async def read_all():
            async for _ in engine.stream(PROMPT, FOR_SECONDS):
                pass

        async def cancelled(cancel):
            before = engine.stats().requests_cancelled
            assert await eventually(lambda: engine.stats().requests_running > 0)
            cancel()
            assert await idle(engine)
            assert engine.stats().requests_cancelled > before

        for work in (
            lambda: engine.generate(PROMPT, FOR_SECONDS),
            lambda: engine.generate([PROMPT] * 50, FOR_SECONDS),
            read_all,
        ):
            task = asyncio.ensure_future(work())
            await cancelled(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
        with anyio.CancelScope() as scope:
            cancelling = asyncio.ensure_future(cancelled(scope.cancel))
            await engine.generate(PROMPT, FOR_SECONDS)
        assert scope.cancelled_caught
        await cancelling


async def test_a_cancelled_list_does_not_wait_for_its_prompts(engine):
    # One prompt runs, but pauses: a stream nobody reads holds the only slot, so no prompt of the list ever ends.
    async with AsyncEngine(slots=1, threads=1, pin=False, stream_buffer=4, park_after_ms=3_600_000) as narrow:
        stream = narrow.stream(PROMPT, ENDLESS)
        task = asyncio.ensure_future(narrow.generate([PROMPT] * 3, SHORT))
        assert await eventually(lambda: narrow.stats().requests_waiting > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await eventually(lambda: narrow.stats().requests_waiting == 0)
        await stream.aclose()


async def test_a_stream_that_is_closed_or_forgotten(engine):
    async with engine.stream(PROMPT, ENDLESS) as stream:
        await anext(stream)
    assert [piece async for piece in stream] == []
    async for _ in engine.stream(PROMPT, ENDLESS):
        break
    gc.collect()
    assert await idle(engine)


async def test_a_cancelled_stream_gives_what_it_has(engine):
    stream = await engine.stream(PROMPT, ENDLESS).accepted()
    text = await anext(stream)
    stream.cancel()
    async for piece in stream:
        text += piece
    assert stream.result.finish_reason == "cancelled" and stream.result.text == text


async def test_leaving_closes_streams_that_nobody_reads():
    async with AsyncEngine(slots=2, threads=1, pin=False) as engine:
        unread = engine.stream(PROMPT, ENDLESS)
    assert [piece async for piece in unread] == []


async def test_the_loop_goes_on_while_the_engine_computes():
    """What is awaited ends only after another task of the loop has let it."""
    async with AsyncEngine(slots=1, threads=1, pin=False, stream_buffer=4, park_after_ms=3_600_000) as engine:
        held = engine.stream(PROMPT, ENDLESS)
        await held.accepted()

        async def let():
            assert await eventually(lambda: engine.stats().requests_waiting == 1)
            await held.aclose()

        letting = asyncio.ensure_future(let())
        # A loop that stands still is an error, after a while, and not a test without end.
        result = await engine.generate(PROMPT, SamplingParams(max_tokens=12, ignore_eos=True, timeout=60))
        assert result.n_output_tokens == 12
        await letting
