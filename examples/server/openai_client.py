"""The official client of OpenAI, against `llama-concurrent serve`: one answer, a stream, many at once, a schema.

    pip install openai pydantic
    llama-concurrent serve &
    python openai_client.py [http://127.0.0.1:8080/v1]
"""

import asyncio
import sys

from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"


class Fox(BaseModel):
    name: str
    age: int


def one(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": "Tell me of a fox."}], max_tokens=32
    )
    print(answer.choices[0].message.content)


def stream(client: OpenAI) -> None:
    messages = [{"role": "user", "content": "Tell me of a boat."}]
    for chunk in client.chat.completions.create(model="default", messages=messages, max_tokens=32, stream=True):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


def schema(client: OpenAI) -> None:
    messages = [{"role": "user", "content": "A fox with its name and age, please."}]
    answer = client.chat.completions.parse(model="default", messages=messages, max_tokens=100, response_format=Fox)
    print(answer.choices[0].message.parsed)


async def many() -> None:
    """All of them are decoded together; each begins as soon as a slot is free."""
    async with AsyncOpenAI(base_url=URL, api_key="none") as client:
        prompts = [f"Story {number}: once upon a time" for number in range(8)]
        answers = await asyncio.gather(
            *(client.completions.create(model="default", prompt=prompt, max_tokens=16) for prompt in prompts)
        )
    for answer in answers:
        print("-", answer.choices[0].text.strip().splitlines()[0] if answer.choices[0].text.strip() else "")


if __name__ == "__main__":
    with OpenAI(base_url=URL, api_key="none") as sync_client:
        one(sync_client)
        stream(sync_client)
        try:
            schema(sync_client)
        except Exception as error:  # a small model may need more tokens than it got
            print("no fox:", error)
    asyncio.run(many())
