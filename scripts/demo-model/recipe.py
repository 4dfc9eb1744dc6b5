"""What sets the models apart: their texts, vocabularies, shapes and descriptions; the training is the same."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import grammar
import numpy as np
import tool_chats
from model import Shape


class Stage(NamedTuple):
    """Rows of `time` tokens, `batch` of them in a step, until the run has progressed to `until`."""

    until: float
    batch: int
    time: int


class Recipe(NamedTuple):
    file: str
    name: str
    description: str
    documents: Callable[[int], Iterator[str]]  # endless, for a seed
    render: Callable[..., str]  # messages as the chat template writes them
    control_tokens: list[str]
    markup: list[str]  # tokens that are text: a reader of calls looks for them
    bos: str
    adds_bos: bool
    end: str
    chat_template: str
    pretokenizer: str  # its name in llama.cpp
    shape: Shape
    stages: list[Stage]
    tokens: float  # length of the training text
    spaces_apart: bool = False  # a space is no part of a token with letters
    # What a prompt ends with. Where it is given the loss is mainly that of replies, and rows have whole documents.
    reply_start: str | None = None
    no_thought: str = ""  # what a prompt may have behind that, so that nothing is thought


STORIES = Recipe(
    file="demo.gguf", name="llama-concurrent demo",
    description="A very small model for demos and tests; trained on stories and answers composed by its own grammar.",
    documents=grammar.documents, render=grammar.render_chat, control_tokens=grammar.CONTROL_TOKENS, markup=[], bos=grammar.BOS, adds_bos=True, end=grammar.END,
    chat_template=grammar.CHAT_TEMPLATE, pretokenizer="gpt-2", shape=Shape(),
    # Most rows hold a story or two; the last ones fill the whole context.
    stages=[Stage(0.85, 8, 256), Stage(1.0, 2, 1024)], tokens=6.144e6,
)
TOOLS = Recipe(
    file="tools.gguf", name="llama-concurrent tools",
    description="A very small model that calls tools, for examples and tests; trained on conversations composed by its own grammar.",
    documents=tool_chats.documents, render=tool_chats.render, control_tokens=tool_chats.CONTROL_TOKENS, markup=tool_chats.MARKUP, bos=tool_chats.UNUSED, adds_bos=False,
    end=tool_chats.END, chat_template=tool_chats.CHAT_TEMPLATE, pretokenizer="qwen2",
    # Words are the same tokens behind a space as behind a quote: most of what it does is to copy them.
    spaces_apart=True, shape=Shape(vocab=1536, embd=128, ff=384, layers=7, heads=4, kv_heads=4, context=4096),
    stages=[Stage(0.9, 6, 384), Stage(1.0, 2, 1024)], tokens=1e7, reply_start=f"{tool_chats.START}assistant\n",
    no_thought="<think>\n\n</think>\n\n",
)
RECIPES = {"stories": STORIES, "tools": TOOLS}


def loss_weights(recipe: Recipe, rows: np.ndarray, start: list[int], no_thought: list[int], end: int, padding: int) -> np.ndarray:
    """What predicting each token of `rows` counts in the loss: all the same, or a tenth of that outside of replies, which go
    from behind the tokens `start` up to and with `end`; nothing for `padding`, for `no_thought` at their beginning, and for whether
    those begin with a thought that are followed by more: earlier thoughts are not shown."""
    weights = np.ones(rows.shape, np.float32)
    if recipe.reply_start is None:
        return weights
    for row, row_weights in zip(rows.tolist(), weights):
        within, first = False, 0
        for i, token in enumerate(row):
            row_weights[i] = 1.0 if within else 0.0 if token == padding else 0.1
            if within and token == end:
                within = False
                if row[i + 1 : i + 2] == start[-1:]:  # a line break, which the last message has not
                    row_weights[first] = 0.0
            elif row[max(0, i + 1 - len(start)) : i + 1] == start:
                within, first = True, i + 1
            elif no_thought and row[max(0, i + 1 - len(no_thought)) : i + 1] == no_thought:
                row_weights[i + 1 - len(no_thought) : i + 1] = 0.0
    return weights
