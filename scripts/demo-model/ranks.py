"""Trains a model that ranks documents on the CPU and writes it as a GGUF: `python ranks.py` writes `models/rerank.gguf`.

It is an encoder of the BERT architecture with a rank head, as llama.cpp computes it. It has learned one thing: a document is the
better, the more of the query's words it has, and best where they stand as in the query. With `--check URL` it asks a server that
runs the file, and compares its scores with those of the forward here.
"""

import argparse
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tool_catalogue
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, PoolingType
from gguf.quants import dequantize, quantize
from gguf_file import add_vocabulary
from grammar import plain_story
from recipe import TOOLS
from tokenizer import restore_tokenizer
from tokenizers import Tokenizer

MODELS = Path(__file__).resolve().parents[2] / "models"
DOCUMENTS = 6  # for each query: one that answers it, one that has some of its words, and others


class Shape(NamedTuple):
    vocab: int = 1536
    embd: int = 128
    ff: int = 256
    layers: int = 3
    heads: int = 4
    context: int = 512
    eps: float = 1e-12


SHAPE = Shape()
PLACES = 16  # dimensions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS / "rerank.gguf")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--queries", type=int, default=12, help="in a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", metavar="URL", help="compare a server that runs the file with the forward here")
    options = parser.parse_args()
    tokenizer = tokenizer_of_tools()
    if options.check:
        check(options, tokenizer)
    else:
        train(options, tokenizer)


def tokenizer_of_tools() -> Tokenizer:
    """Its words are the same tokens wherever they stand."""
    reader = GGUFReader(MODELS / TOOLS.file)
    tokens, merges = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    return restore_tokenizer(TOOLS, tokens, merges)


def documents(rng: Random) -> Iterator[str]:
    while True:
        for sentence in re.split(r"(?<=[.!?])\s+", plain_story(rng)):
            if rng.random() < 0.5:
                yield sentence.strip()
            if rng.random() < 0.5:  # words that nobody has seen, of any letters
                words = [made_up(rng) for _ in range(rng.randint(4, 14))]
                words[0] = words[0].capitalize()
                yield " ".join(words) + rng.choice(".?!")


def made_up(rng: Random) -> str:
    if rng.random() < 0.6:
        return tool_catalogue.syllables(rng, 1, 4).lower()
    return "".join(rng.choices("etaoinshrdlucmfywgpbvkxqjz", [12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1], k=rng.randint(2, 8)))


def lists(seed: int) -> Iterator[tuple[str, list[str]]]:
    """A query, and documents: the first answers it, the second has some of its words, the others have none but by chance."""
    rng = Random(seed)
    texts = documents(rng)
    while True:
        best, *others = (next(texts) for _ in range(DOCUMENTS))
        words = re.findall(r"[\w']+", best)
        if len(words) < 3:
            continue
        n = rng.randint(1, min(5, len(words)))
        start = rng.randint(0, len(words) - n)
        query = words[start : start + n] if rng.random() < 0.7 else rng.sample(words, n)
        if rng.random() < 0.5:
            query[0] = query[0].capitalize() if rng.random() < 0.5 else query[0].lower()
        if rng.random() < 0.5:  # longer, by what stands beside it
            best = " ".join([best, *(next(texts) for _ in range(rng.randint(1, 2)))])
        some = others[0].split(" ")
        for word in rng.sample(query, rng.randint(0, len(query) - 1) if len(query) > 1 else 0):
            some.insert(rng.randint(0, len(some)), word)
        yield " ".join(query) + rng.choice(["", "", "?", "."]), [best, " ".join(some), *others[1:]]


def encode(tokenizer: Tokenizer, query: str, document: str) -> list[int]:
    """As llama.cpp joins the two for a vocabulary with a token before a text and one behind it."""
    start, end = (tokenizer.token_to_id(token) for token in (TOOLS.bos, TOOLS.end))
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    return [start, *ids(query), end, *ids(document), end]


def batches(tokenizer: Tokenizer, seed: int, queries: int, length: int = 80) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    source = lists(seed)
    while True:
        tokens, lengths = np.zeros((queries * DOCUMENTS, length), np.int32), []
        while len(lengths) < len(tokens):
            query, found = next(source)
            rows = [encode(tokenizer, query, document) for document in found]
            if max(map(len, rows)) > length:
                continue
            for row in rows:
                tokens[len(lengths), : len(row)] = row
                lengths.append(len(row))
        yield tokens, np.array(lengths, np.int32)


def init(seed: int) -> dict:
    keys = iter(jax.random.split(jax.random.key(seed), 64))
    matrix = lambda rows, cols: jax.random.normal(next(keys), (rows, cols)) * 0.7 * rows**-0.5
    linear = lambda rows, cols: {"weight": matrix(rows, cols), "bias": jnp.zeros(cols)}
    norm = lambda: {"weight": jnp.ones(SHAPE.embd), "bias": jnp.zeros(SHAPE.embd)}
    embd, ff = SHAPE.embd, SHAPE.ff

    layer = lambda: {
        "attn_q": linear(embd, embd), "attn_k": linear(embd, embd), "attn_v": linear(embd, embd), "attn_output": linear(embd, embd),
        "attn_output_norm": norm(), "ffn_up": linear(embd, ff), "ffn_down": linear(ff, embd), "layer_output_norm": norm(),
    }
    table = lambda rows, scale: {"weight": jax.random.normal(next(keys), (rows, embd)) * scale}
    params = {
        "token_embd": table(SHAPE.vocab, 1.0), "token_types": table(1, 0.02), "position_embd": table(SHAPE.context, 0.02), "token_embd_norm": norm(),
        "layers": [layer() for _ in range(SHAPE.layers)], "cls": linear(embd, embd), "cls.output": linear(embd, 1),
    }
    # What it needs is there from the first step on: some dimensions say where a token stands and nothing else, and in the first layer
    # tokens attend to those that are like them, wherever they stand.
    angles = jnp.arange(SHAPE.context)[:, None] / 2.0 ** jnp.arange(1, PLACES // 2 + 1)
    places = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    params["position_embd"]["weight"] = params["position_embd"]["weight"].at[:, :PLACES].set(places)
    params["token_embd"]["weight"] = params["token_embd"]["weight"].at[:, :PLACES].set(0)
    alike = (matrix(embd, embd) * 2).at[:PLACES].set(0)
    for name in ("attn_q", "attn_k"):
        params["layers"][0][name]["weight"] = jnp.array(alike)
    return params


def forward(params: dict, tokens, lengths):
    """A score for each row."""
    linear = lambda name, x: x @ name["weight"] + name["bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + SHAPE.eps) * name["weight"] + name["bias"]

    rows, time = tokens.shape
    x = params["token_embd"]["weight"][tokens] + params["token_types"]["weight"][0] + params["position_embd"]["weight"][:time]
    x = norm(params["token_embd_norm"], x)
    mask = jnp.where(jnp.arange(time) < lengths[:, None], 0.0, -1e9)[:, None, None, :]
    heads = lambda x: x.reshape(rows, time, SHAPE.heads, -1).transpose(0, 2, 1, 3)
    for layer in params["layers"]:
        q, k, v = (heads(linear(layer[name], x)) for name in ("attn_q", "attn_k", "attn_v"))
        weights = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) * q.shape[-1] ** -0.5 + mask, -1)
        seen = (weights @ v).transpose(0, 2, 1, 3).reshape(rows, time, -1)
        x = norm(layer["attn_output_norm"], linear(layer["attn_output"], seen) + x)
        x = norm(layer["layer_output_norm"], linear(layer["ffn_down"], jax.nn.gelu(linear(layer["ffn_up"], x))) + x)
    return linear(params["cls.output"], jnp.tanh(linear(params["cls"], x[:, 0])))[:, 0]


def loss(params: dict, tokens, lengths):
    scores = forward(params, tokens, lengths).reshape(-1, DOCUMENTS)
    first = lambda scores: -jax.nn.log_softmax(scores, -1)[:, 0].mean()
    right = (scores.argmax(-1) == 0).mean()
    return first(scores) + 0.3 * first(scores[:, 1:]), right


def train(options: argparse.Namespace, tokenizer: Tokenizer) -> None:
    started, params = time.monotonic(), init(options.seed)
    print(f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters", flush=True)
    rate = optax.warmup_cosine_decay_schedule(0.0, options.rate, 200, options.steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=0.01))
    state = optimiser.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, tokens, lengths):
        (value, right), gradient = jax.value_and_grad(loss, has_aux=True)(params, tokens, lengths)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value, right

    source, reported = batches(tokenizer, options.seed, options.queries), []
    for n in range(1, options.steps + 1):
        params, state, *told = step(params, state, *next(source))
        reported.append(told)
        if n % 100 == 0:
            value, right = np.mean(np.array(reported), 0)
            print(f"{n:5} steps {(time.monotonic() - started) / 60:5.1f} min  loss {value:.4f}, the best first in {right:.1%}", flush=True)
            reported.clear()
        if n % 500 == 0:
            write(options.out, params, tokenizer)
    unseen = [loss(params, *next(held_out))[1] for held_out in [batches(tokenizer, 1_000_003, 32)] for _ in range(16)]
    print(f"{options.out}: {options.out.stat().st_size:,} bytes; of 512 unseen lists the best is first in {np.mean(unseen):.1%}")


def write(path: Path, params: dict, tokenizer: Tokenizer) -> None:
    """Matrices as Q8_0, vectors as F32. The file appears complete or not at all."""
    part = path.with_suffix(".part")
    writer = GGUFWriter(part, "bert")
    writer.add_type("model")
    writer.add_name("llama-concurrent rerank")
    writer.add_description("A very small model that ranks documents, for examples and tests; trained on lists composed by its own grammar.")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_context_length(SHAPE.context)
    writer.add_embedding_length(SHAPE.embd)
    writer.add_feed_forward_length(SHAPE.ff)
    writer.add_block_count(SHAPE.layers)
    writer.add_head_count(SHAPE.heads)
    writer.add_layer_norm_eps(SHAPE.eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_token_type_count(1)
    add_vocabulary(writer, tokenizer, TOOLS)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    for name, weight in tensors(params):
        if weight.ndim == 1 or name.startswith(("token_types", "position_embd", "cls.output")):
            writer.add_tensor(name, weight)
        else:
            q8 = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(weight, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)


def tensors(params: dict) -> Iterator[tuple[str, np.ndarray]]:
    """Matrices as GGUF stores them: those of tables by rows, the others turned."""
    for name, parts in params.items():
        groups = [(name, parts)] if name != "layers" else [(f"blk.{i}.{n}", p) for i, layer in enumerate(parts) for n, p in layer.items()]
        for group, leaves in groups:
            for kind, leaf in leaves.items():
                array = np.asarray(leaf, np.float32)
                is_table = group in ("token_embd", "token_types", "position_embd")
                yield f"{group}.{kind}", array if array.ndim == 1 or is_table else np.ascontiguousarray(array.T)


def read(path: Path) -> dict:
    """The weights as llama.cpp sees them: with the rounding of Q8_0."""
    stored = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(path).tensors}
    params = init(0)
    turned = dict(tensors(params))
    flat = {name: stored[name].reshape(turned[name].shape) for name in turned}
    back = lambda name, leaf: jnp.asarray(flat[name] if flat[name].shape == leaf.shape and "embd." in name or leaf.ndim == 1 or name.startswith("token_types") else flat[name].T)
    fill = lambda group, leaves: {kind: back(f"{group}.{kind}", leaf) for kind, leaf in leaves.items()}
    layers = [{name: fill(f"blk.{i}.{name}", leaves) for name, leaves in layer.items()} for i, layer in enumerate(params["layers"])]
    return {name: layers if name == "layers" else fill(name, leaves) for name, leaves in params.items()}


def check(options: argparse.Namespace, tokenizer: Tokenizer) -> None:
    params, worst = read(options.out), 0.0
    for query, found in [next(source) for source in [lists(1_000_003)] for _ in range(50)]:
        rows = [encode(tokenizer, query, document) for document in found]
        tokens, lengths = np.zeros((len(rows), max(map(len, rows))), np.int32), np.array(list(map(len, rows)), np.int32)
        for row, ids in zip(tokens, rows):
            row[: len(ids)] = ids
        expected = np.asarray(forward(params, tokens, lengths))
        body = json.dumps({"query": query, "documents": found}).encode()
        request = urllib.request.Request(options.check + "/v1/rerank", body, {"content-type": "application/json"})
        answer = json.load(urllib.request.urlopen(request))
        assert answer["usage"]["prompt_tokens"] == int(lengths.sum()), (query, answer["usage"])
        scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
        worst = max(worst, *(abs(scores[i] - expected[i]) for i in range(len(found))))
    print(f"50 queries with {DOCUMENTS} documents each: the tokens are the same, and scores differ by {worst:.4f} at most")


if __name__ == "__main__":
    main()
