"""The llama architecture in JAX, exactly as llama.cpp's `llama` graph computes it (checked by `check.py`).

RoPE turns neighbouring pairs (llama.cpp's NORM layout), so that the weights go into a GGUF without a permutation. Matrices are
kept as (inputs, outputs), the transpose of what GGUF stores. The embedding is also the output matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Shape(NamedTuple):
    vocab: int = 1536
    embd: int = 128
    ff: int = 384
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head: int = 32
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-5


def init(shape: Shape, seed: int) -> dict:
    keys = iter(jax.random.split(jax.random.key(seed), 1 + 7 * shape.layers))
    deep = (2 * shape.layers) ** -0.5  # what is added to the residual stream starts small

    def matrix(rows: int, cols: int, scale: float = 1.0):
        return jax.random.normal(next(keys), (rows, cols)) * scale * rows**-0.5

    def layer() -> dict:
        q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
        return {
            "attn_norm": jnp.ones(shape.embd), "attn_q": matrix(shape.embd, q), "attn_k": matrix(shape.embd, kv),
            "attn_v": matrix(shape.embd, kv), "attn_output": matrix(q, shape.embd, deep),
            "ffn_norm": jnp.ones(shape.embd), "ffn_gate": matrix(shape.embd, shape.ff), "ffn_up": matrix(shape.embd, shape.ff),
            "ffn_down": matrix(shape.ff, shape.embd, deep),
        }

    return {
        "token_embd": jax.random.normal(next(keys), (shape.vocab, shape.embd)) * 0.05,
        "layers": [layer() for _ in range(shape.layers)],
        "output_norm": jnp.ones(shape.embd),
    }


def rms_norm(x, weight, eps: float):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * weight


def rope(x, base: float):
    """Turns each pair (2i, 2i+1) of a head by position * base^(-2i/head); `x` is (batch, time, heads, head)."""
    time, head = x.shape[1], x.shape[-1]
    angle = jnp.arange(time)[:, None] * base ** (-jnp.arange(0, head, 2) / head)
    cos, sin = jnp.cos(angle)[None, :, None, :], jnp.sin(angle)[None, :, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)


def attention(layer: dict, x, shape: Shape, mask=None):
    batch, time, _ = x.shape
    q = rope((x @ layer["attn_q"]).reshape(batch, time, shape.heads, shape.head), shape.rope_base)
    k = rope((x @ layer["attn_k"]).reshape(batch, time, shape.kv_heads, shape.head), shape.rope_base)
    v = (x @ layer["attn_v"]).reshape(batch, time, shape.kv_heads, shape.head)
    out = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=True)
    return out.reshape(batch, time, -1) @ layer["attn_output"]


def feed_forward(layer: dict, x):
    return (jax.nn.silu(x @ layer["ffn_gate"]) * (x @ layer["ffn_up"])) @ layer["ffn_down"]


def forward(params: dict, tokens, shape: Shape, documents=None):
    """Logits (batch, time, vocab) for `tokens` (batch, time). A token attends to none of another of the `documents`, numbers
    (batch, time), where they are given."""
    mask = None if documents is None else (documents[:, None, :, None] == documents[:, None, None, :])
    x = params["token_embd"][tokens]
    for layer in params["layers"]:
        x = x + attention(layer, rms_norm(x, layer["attn_norm"], shape.eps), shape, mask)
        x = x + feed_forward(layer, rms_norm(x, layer["ffn_norm"], shape.eps))
    return rms_norm(x, params["output_norm"], shape.eps) @ params["token_embd"].T


def loss(params: dict, tokens, weights, documents, shape: Shape):
    """Mean cross-entropy of predicting `tokens[:, 1:]`, each counted by its weight, in nats per token."""
    logits = forward(params, tokens[:, :-1], shape, None if documents is None else documents[:, :-1])
    target = jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]
    weights = weights[:, 1:]
    return jnp.sum((jax.nn.logsumexp(logits, -1) - target) * weights) / jnp.sum(weights)


def parameter_count(params: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
