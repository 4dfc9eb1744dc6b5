"""Many chats at once in one event loop: each gets a question from the list, and all answers grow side by side.

    python async_chat.py [MODEL]
"""

from __future__ import annotations

import asyncio
import sys

from llama_concurrent import AsyncEngine, SamplingParams

QUESTIONS = ["What is the capital of France?", "What is 2 plus 3?", "Who are you?", "What color is the sky?"]


async def chat(engine: AsyncEngine, number: int, question: str) -> None:
    messages = [{"role": "user", "content": question}]
    stream = engine.stream_chat(messages, SamplingParams(max_tokens=60))
    line = ""
    async for piece in stream:
        line += piece
        if line.endswith((".", "!", "?", "\n")):
            print(f"[{number}] {line.strip()}")
            line = ""
    if line.strip():
        print(f"[{number}] {line.strip()}")
    assert stream.result is not None
    print(f"[{number}] ({stream.result.n_output_tokens} tokens, the first after {stream.result.ttft:.3f} s)")


async def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else None
    async with await AsyncEngine.load(model, slots=len(QUESTIONS)) as engine:
        await asyncio.gather(*(chat(engine, number, question) for number, question in enumerate(QUESTIONS)))


if __name__ == "__main__":
    asyncio.run(main())
