"""Documents for the demo model: plain stories, plain facts and conversations, as the tokenizer will see them."""

from collections.abc import Iterator
from random import Random

from chat import animal, converse, job, thing
from stories import tell_story

BOS, END = "<|bos|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
CONTROL_TOKENS = [BOS, END, SYSTEM, USER, ASSISTANT]

# The layout of Phi-3, so that llama.cpp's built-in formatter, which knows it by its tokens, agrees with this template.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def render_chat(messages: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
    """What `CHAT_TEMPLATE` gives for `messages`."""
    text = "".join(f"<|{m['role']}|>\n{m['content']}{END}\n" for m in messages)
    return text + (f"{ASSISTANT}\n" if add_generation_prompt else "")


def plain_story(rng: Random) -> str:
    return tell_story(rng).text


def document(rng: Random) -> str:
    """One training document from `BOS` to its last `END`."""
    roll = rng.random()
    if roll < 0.50:
        return BOS + plain_story(rng) + END
    if roll < 0.52:
        return BOS + "\n\n".join(plain_story(rng) for _ in range(rng.randint(2, 5))) + END
    if roll < 0.55:
        turns = rng.choice([animal, job, thing])(rng)[:1]
        return BOS + rng.choice(["Q: {}\nA: {}", "Question: {}\nAnswer: {}", "{} {}"]).format(*turns[0]) + END
    return BOS + render_chat(converse(rng))


def documents(seed: int) -> Iterator[str]:
    rng = Random(seed)
    while True:
        yield document(rng)


def held_out_stories(seed: int, size: int) -> str:
    """Plain stories with an empty line between them, at least `size` bytes."""
    rng = Random(seed)
    text = plain_story(rng)
    while len(text.encode()) < size:
        text += "\n\n" + plain_story(rng)
    return text + "\n"
