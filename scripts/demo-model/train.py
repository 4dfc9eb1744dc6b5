"""Trains the demo model on the CPU and writes it as a GGUF: `python train.py --out ../../models/demo.gguf`.

With `--tokens` alone the run is deterministic for a seed; `--minutes` may end it earlier, with the schedule shortened to fit.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gguf_file import write_gguf
from grammar import BOS, END, documents, held_out_stories, render_chat
from model import Shape, forward, init, loss, parameter_count
from optax.contrib import MuonDimensionNumbers, muon
from prompts import QUESTIONS, STORIES
from tokenizer import train_tokenizer
from tokenizers import Tokenizer

HELD_OUT_SEED = 1_000_003  # the training text starts from --seed


class Stage(NamedTuple):
    """Rows of `time` tokens, `batch` of them in a step, until the run has progressed to `until`."""

    until: float
    batch: int
    time: int


# Most rows hold a story or two; the last ones fill the whole context.
STAGES = [Stage(0.85, 8, 256), Stage(1.0, 2, 1024)]
WARM_UP, COOL_DOWN = 0.02, 0.5  # shares of the run


def main() -> None:
    options = parse_options()
    shape = Shape()
    started = time.monotonic()
    tokenizer = train_tokenizer(options.seed, shape.vocab)
    params = init(shape, options.seed)
    print(f"{parameter_count(params):,} parameters, {shape.vocab} tokens; tokenizer took {time.monotonic() - started:.0f} s", flush=True)

    params = train(params, shape, tokenizer, options, started)

    write_gguf(options.out, params, shape, tokenizer)
    options.held_out.write_text(held_out_stories(HELD_OUT_SEED, 30_000), encoding="utf-8")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes after {(time.monotonic() - started) / 60:.1f} minutes\n")
    for prompt in STORIES:
        print(f"> {prompt}\n{prompt}{greedy(params, shape, tokenizer, BOS + prompt)}\n")
    for question in QUESTIONS:
        chat = BOS + render_chat([{"role": "user", "content": question}], add_generation_prompt=True)
        print(f"> {question}\n{greedy(params, shape, tokenizer, chat)}\n")


def parse_options() -> argparse.Namespace:
    models = Path(__file__).resolve().parents[2] / "models"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=models / "demo.gguf")
    parser.add_argument("--held-out", type=Path, default=models / "demo-heldout.txt", help="where to write stories that training did not see")
    parser.add_argument("--tokens", type=float, default=6.144e6, help="length of the training text")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end earlier, after this much time")
    parser.add_argument("--rate", type=float, default=6e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def train(params: dict, shape: Shape, tokenizer: Tokenizer, options: argparse.Namespace, started: float) -> dict:
    optimiser = make_optimiser(params)
    state = optimiser.init(params)
    text = documents(options.seed)
    held_out = {stage.time: jnp.asarray(np.stack(list(islice(rows(documents(HELD_OUT_SEED), tokenizer, stage.time), 16)))) for stage in STAGES}

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, tokens, rate):
        value, gradient = jax.value_and_grad(loss)(params, tokens, shape)
        updates, state = optimiser.update(gradient, state, params)
        return jax.tree.map(lambda p, u: p + rate * u, params, updates), state, value

    evaluate = jax.jit(partial(loss, shape=shape))
    training_started = time.monotonic()
    seen, progress, reported = 0, 0.0, []
    for stage in STAGES:
        source = rows(text, tokenizer, stage.time)
        while progress < stage.until:
            tokens = jnp.asarray(np.stack(list(islice(source, stage.batch))))
            params, state, value = step(params, state, tokens, options.rate * schedule(progress))
            reported.append(value)
            seen += stage.batch * stage.time
            minutes = (time.monotonic() - training_started) / 60
            before, progress = progress, max(seen / options.tokens, minutes / options.minutes)
            if len(reported) == 50:
                print(f"{seen:9,} tokens {progress:4.0%} {minutes:5.1f} min  loss {jnp.mean(jnp.stack(reported)):.4f}", flush=True)
                reported.clear()
            if int(before * 10) < int(progress * 10):  # a file to try while the rest is trained
                unseen = jnp.mean(jnp.stack([evaluate(params, half) for half in jnp.split(held_out[stage.time], 8)]))
                print(f"held-out loss {unseen:.4f} (contexts of {stage.time})", flush=True)
                write_gguf(options.out, params, shape, tokenizer)
    return params


def make_optimiser(params: dict) -> optax.GradientTransformation:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms; the step scales by the learning rate."""
    is_layer_matrix = lambda path, leaf: MuonDimensionNumbers() if leaf.ndim == 2 and path[0].key == "layers" else None
    matrices = jax.tree_util.tree_map_with_path(is_layer_matrix, params)
    return muon(1.0, weight_decay=0.02, adam_b2=0.98, consistent_rms=0.2, muon_weight_dimension_numbers=matrices)


def schedule(progress: float) -> float:
    """Share of the highest learning rate: a short rise, a plateau, a long fall to zero."""
    return max(0.0, min(1.0, (progress + 1e-3) / WARM_UP, (1 - progress) / COOL_DOWN))


def rows(text: Iterator[str], tokenizer: Tokenizer, length: int) -> Iterator[np.ndarray]:
    """Rows of `length` + 1 tokens. Each begins with a document, as a prompt does; the last document is cut where the row ends."""
    row: list[int] = []
    while True:
        for encoding in tokenizer.encode_batch(list(islice(text, 64)), add_special_tokens=False):
            row += encoding.ids
            if len(row) > length:
                yield np.array(row[: length + 1], np.int32)
                row = []


def greedy(params: dict, shape: Shape, tokenizer: Tokenizer, prompt: str, limit: int = 300) -> str:
    """The most likely continuation up to the end token, by recomputing the whole context for each token."""
    return tokenizer.decode(greedy_tokens(params, shape, tokenizer, prompt, limit), skip_special_tokens=True)


def greedy_tokens(params: dict, shape: Shape, tokenizer: Tokenizer, prompt: str, limit: int) -> list[int]:
    start = tokenizer.encode(prompt, add_special_tokens=False).ids
    width = -(-(len(start) + limit) // 128) * 128  # few widths, so that few forwards are compiled
    tokens = np.zeros((1, width), np.int32)
    tokens[0, : len(start)] = start
    for at in range(len(start), len(start) + limit):
        best = int(_best_next(params, tokens, at - 1, shape))
        if best == tokenizer.token_to_id(END):
            return tokens[0, len(start) : at].tolist()
        tokens[0, at] = best
    return tokens[0, len(start) :].tolist()


@partial(jax.jit, static_argnames="shape")
def _best_next(params: dict, tokens, last: int, shape: Shape):
    return jnp.argmax(forward(params, tokens, shape)[0, last])


if __name__ == "__main__":
    main()
