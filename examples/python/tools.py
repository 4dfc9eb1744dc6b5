"""A model that calls Python functions, and many such chats at once.

    python tools.py                     with the model in the package, which has to be made to call
    python tools.py models/tools.gguf   with a model that was trained for it, such as this one of the repository
"""

import asyncio
import sys
from typing import Literal

from llama_concurrent import AsyncEngine, SamplingParams

CITIES = ["Oslo", "Rome", "Lima", "Cairo"]


async def weather(city: str, unit: Literal["C", "F"] = "C") -> dict:
    """The weather of a city.

    Args:
        city: Its name.
        unit: Of the temperature.
    """
    await asyncio.sleep(0.1)  # an API somewhere
    return {"city": city, "temperature": 7 if unit == "C" else 45}


async def ask(engine: AsyncEngine, city: str, choice: str) -> None:
    messages = [{"role": "user", "content": f"How warm is it in {city}?"}]
    params = SamplingParams(max_tokens=120)
    run = await engine.run_tools(messages, [weather], params, max_turns=3, tool_choice=choice, parallel_tool_calls=False)
    for message in run.messages[1:]:
        for call in message.get("tool_calls", []):
            print(f"{city}: {call['function']['name']}({call['function']['arguments']})")
        if message["role"] == "tool":
            print(f"{city}: -> {message['content']}")
    print(f"{city}: {run.text.strip()[:200]}")


async def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else None
    async with await AsyncEngine.load(model, slots=len(CITIES)) as engine:
        await asyncio.gather(*(ask(engine, city, "auto" if model else "required") for city in CITIES))


asyncio.run(main())
