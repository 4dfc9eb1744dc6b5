"""Trains a model on the CPU and writes it as a GGUF: `python train.py stories` writes `models/demo.gguf`, `python train.py tools`
`models/tools.gguf`.

With `--tokens` alone the run is deterministic for a seed; `--minutes` may end it earlier, with the schedule shortened to fit.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gguf_file import read_gguf, write_gguf
from grammar import held_out_stories
from model import forward, init, loss, parameter_count
from optax.contrib import MuonDimensionNumbers, muon
from prompts import prompts
from recipe import RECIPES, STORIES, Recipe, loss_weights
from tokenizer import train_tokenizer
from tokenizers import Tokenizer

HELD_OUT_SEED = 1_000_003  # the training text starts from --seed


WARM_UP, COOL_DOWN = 0.02, 0.5  # shares of the run


def main() -> None:
    options = parse_options()
    recipe: Recipe = RECIPES[options.model]
    started = time.monotonic()
    tokenizer = None if options.go_on_from else train_tokenizer(recipe, options.seed)
    params = init(recipe.shape, options.seed)
    if options.go_on_from:
        params, _, tokenizer = read_gguf(options.go_on_from, recipe)
    print(f"{parameter_count(params):,} parameters, {recipe.shape.vocab} tokens; tokenizer took {time.monotonic() - started:.0f} s", flush=True)

    params = train(params, recipe, tokenizer, options)

    write_gguf(options.out, params, recipe, tokenizer)
    if recipe is STORIES:
        options.held_out.write_text(held_out_stories(HELD_OUT_SEED, 30_000), encoding="utf-8")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes after {(time.monotonic() - started) / 60:.1f} minutes\n")
    for shown, prompt in prompts(recipe):
        print(f"> {shown}\n{greedy(params, recipe, tokenizer, prompt)}\n", flush=True)


def parse_options() -> argparse.Namespace:
    models = Path(__file__).resolve().parents[2] / "models"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("--out", type=Path, help="default: its file in models/")
    parser.add_argument("--held-out", type=Path, default=models / "demo-heldout.txt", help="where to write stories that training did not see")
    parser.add_argument("--tokens", type=float, help="length of the training text; default: as in recipe.py")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end earlier, after this much time")
    parser.add_argument("--rate", type=float, default=6e-3, help="highest learning rate")
    parser.add_argument("--go-on-from", type=Path, help="a model to begin with, whose tokenizer is kept")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out = options.out or models / RECIPES[options.model].file
    options.tokens = options.tokens or RECIPES[options.model].tokens
    return options


def train(params: dict, recipe: Recipe, tokenizer: Tokenizer, options: argparse.Namespace) -> dict:
    shape = recipe.shape
    optimiser = make_optimiser(params)
    state = optimiser.init(params)
    text = recipe.documents(options.seed)
    start = tokenizer.encode(recipe.reply_start or "", add_special_tokens=False).ids
    no_thought = tokenizer.encode(recipe.no_thought, add_special_tokens=False).ids
    end = tokenizer.token_to_id(recipe.end)

    padding = tokenizer.token_to_id(recipe.bos)

    def batches(source: Iterator[tuple[np.ndarray, np.ndarray]], size: int):
        while True:
            tokens, documents = (np.stack(parts) for parts in zip(*islice(source, size)))
            weights = loss_weights(recipe, tokens, start, no_thought, end, padding)
            yield jnp.asarray(tokens), jnp.asarray(weights), None if recipe.reply_start is None else jnp.asarray(documents)

    def source_of(text: Iterator[str], length: int):
        return rows(text, tokenizer, length) if recipe.reply_start is None else whole_rows(text, tokenizer, length, padding)

    held_out = {stage.time: list(islice(batches(source_of(recipe.documents(HELD_OUT_SEED), stage.time), 2), 8)) for stage in recipe.stages}

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, tokens, weights, documents, rate):
        value, gradient = jax.value_and_grad(loss)(params, tokens, weights, documents, shape)
        updates, state = optimiser.update(gradient, state, params)
        return jax.tree.map(lambda p, u: p + rate * u, params, updates), state, value

    evaluate = jax.jit(partial(loss, shape=shape))
    training_started = time.monotonic()
    seen, progress, reported = 0, 0.0, []
    for stage in recipe.stages:
        source = batches(source_of(text, stage.time), stage.batch)
        while progress < stage.until:
            params, state, value = step(params, state, *next(source), options.rate * schedule(progress))
            reported.append(value)
            seen += stage.batch * stage.time
            minutes = (time.monotonic() - training_started) / 60
            before, progress = progress, max(seen / options.tokens, minutes / options.minutes)
            if len(reported) == 50:
                print(f"{seen:9,} tokens {progress:4.0%} {minutes:5.1f} min  loss {jnp.mean(jnp.stack(reported)):.4f}", flush=True)
                reported.clear()
            if int(before * 10) < int(progress * 10):  # a file to try while the rest is trained
                unseen = jnp.mean(jnp.stack([evaluate(params, *batch) for batch in held_out[stage.time]]))
                print(f"held-out loss {unseen:.4f} (contexts of {stage.time})", flush=True)
                write_gguf(options.out, params, recipe, tokenizer)
    return params


def make_optimiser(params: dict) -> optax.GradientTransformation:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms; the step scales by the learning rate."""
    is_layer_matrix = lambda path, leaf: MuonDimensionNumbers() if leaf.ndim == 2 and path[0].key == "layers" else None
    matrices = jax.tree_util.tree_map_with_path(is_layer_matrix, params)
    return muon(1.0, weight_decay=0.02, adam_b2=0.98, consistent_rms=0.2, muon_weight_dimension_numbers=matrices)


def schedule(progress: float) -> float:
    """Share of the highest learning rate: a short rise, a plateau, a long fall to zero."""
    return max(0.0, min(1.0, (progress + 1e-3) / WARM_UP, (1 - progress) / COOL_DOWN))


def rows(text: Iterator[str], tokenizer: Tokenizer, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of `length` + 1 tokens, and zeros. Each begins with a document, as a prompt does; the last document is cut where the row
    ends."""
    row: list[int] = []
    while True:
        for encoding in tokenizer.encode_batch(list(islice(text, 64)), add_special_tokens=False):
            row += encoding.ids
            if len(row) > length:
                yield np.array(row[: length + 1], np.int32), np.zeros(length + 1, np.int32)
                row = []


def whole_rows(text: Iterator[str], tokenizer: Tokenizer, length: int, padding: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of `length` + 1 tokens, and of the numbers of their documents, which are whole: longer ones are left out."""
    row: list[int] = []
    numbers: list[int] = []
    while True:
        for encoding in tokenizer.encode_batch(list(islice(text, 64)), add_special_tokens=False):
            if len(encoding.ids) > length + 1:
                continue
            if len(row) + len(encoding.ids) > length + 1:
                rest = length + 1 - len(row)
                yield np.array(row + [padding] * rest, np.int32), np.array(numbers + [-1] * rest, np.int32)
                row, numbers = [], []
            numbers += [numbers[-1] + 1 if numbers else 0] * len(encoding.ids)
            row += encoding.ids


def greedy(params: dict, recipe: Recipe, tokenizer: Tokenizer, prompt: str, limit: int = 300) -> str:
    """The most likely continuation up to the end token, by recomputing the whole context for each token."""
    return tokenizer.decode(greedy_tokens(params, recipe, tokenizer, prompt, limit), skip_special_tokens=False)


def greedy_tokens(params: dict, recipe: Recipe, tokenizer: Tokenizer, prompt: str, limit: int) -> list[int]:
    start = tokenizer.encode(prompt, add_special_tokens=False).ids
    width = -(-(len(start) + limit) // 128) * 128  # few widths, so that few forwards are compiled
    tokens = np.zeros((1, width), np.int32)
    tokens[0, : len(start)] = start
    for at in range(len(start), len(start) + limit):
        best = int(_best_next(params, tokens, at - 1, recipe.shape))
        if best == tokenizer.token_to_id(recipe.end):
            return tokens[0, len(start) : at].tolist()
        tokens[0, at] = best
    return tokens[0, len(start) :].tolist()


@partial(jax.jit, static_argnames="shape")
def _best_next(params: dict, tokens, last: int, shape):
    return jnp.argmax(forward(params, tokens, shape)[0, last])


if __name__ == "__main__":
    main()
