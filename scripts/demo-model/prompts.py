"""What the models are shown with: story openings to continue, questions to answer, and questions for tools."""

from collections.abc import Iterator

import tool_chats
from grammar import BOS, render_chat
from recipe import STORIES as STORY_MODEL
from recipe import Recipe

STORIES = [
    "Once upon a time there was a small fox who",
    "The old lighthouse keeper",
    "A curious girl named Mia lived",
    "In a land far away there lived a shy dragon",
    "One rainy morning, a little robot",
    "There was once a brave mouse who was afraid of",
    "High in the mountains, there lived",
    "This is the story of a lonely baker who",
]
QUESTIONS = [
    "Who are you?",
    "What is an otter?",
    "What is 3 + 4?",
    "What day comes after Friday?",
    "What is a thread?",
    "Tell me a story about a penguin who found a golden key.",
    "How do you say hello in French?",
    "Show me a fox.",
]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Get the current weather for a city.", "parameters": CITY}},
    {"type": "function", "function": {"name": "add", "description": "Add two numbers.", "parameters": NUMBERS}},
]
ERRANDS = ["How warm is it in Oslo?", "What is 17 plus 25?", "What is the weather in Lima and Rome?", "Write a poem about the sea.", "Hello!"]


def prompts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What to show of a prompt, and the prompt itself."""
    if recipe is STORY_MODEL:
        yield from ((story, BOS + story) for story in STORIES)
        for question in QUESTIONS:
            yield question, BOS + render_chat([{"role": "user", "content": question}], add_generation_prompt=True)
        return
    for errand in ERRANDS:
        asked = [{"role": "user", "content": errand}]
        for thinks in (True, False):
            shown = f"{errand} ({'with' if thinks else 'without'} thoughts)"
            yield shown, tool_chats.render(asked, tools=TOOLS, add_generation_prompt=True, enable_thinking=thinks)
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    asked = [{"role": "user", "content": "How warm is it in Oslo?"}, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "7 degrees"}]
    yield "Oslo: 7 degrees", tool_chats.render(asked, tools=TOOLS, add_generation_prompt=True, enable_thinking=False)
