"""Writes the trained model as a GGUF that llama.cpp loads, and reads it back for checks."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import dequantize, quantize
from model import Shape, parameter_count
from recipe import Recipe
from tokenizer import restore_tokenizer
from tokenizers import Tokenizer

Q8_0, F32 = GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32


def write_gguf(path: Path, params: dict, recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Matrices as Q8_0, norms as F32. The file appears under `path` complete or not at all."""
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(part, "llama")
    _describe(writer, params, recipe)
    add_vocabulary(writer, tokenizer, recipe)
    writer.add_eot_token_id(tokenizer.token_to_id(recipe.end))
    writer.add_add_bos_token(recipe.adds_bos)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(recipe.chat_template)
    for name, weight in _tensors(params):
        if weight.ndim == 1:
            writer.add_tensor(name, weight)
        else:
            writer.add_tensor(name, quantize(weight, Q8_0), raw_dtype=Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)


def read_gguf(path: Path, recipe: Recipe) -> tuple[dict, Shape, Tokenizer]:
    """The model as llama.cpp sees it: with the rounding of Q8_0."""
    reader = GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    shape = Shape(
        vocab=value("llama.vocab_size"), embd=value("llama.embedding_length"), ff=value("llama.feed_forward_length"),
        layers=value("llama.block_count"), heads=value("llama.attention.head_count"), kv_heads=value("llama.attention.head_count_kv"),
        head=value("llama.rope.dimension_count"), context=value("llama.context_length"), rope_base=value("llama.rope.freq_base"),
        eps=value("llama.attention.layer_norm_rms_epsilon"),
    )
    weights = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        weights[tensor.name.removesuffix(".weight")] = jnp.asarray(weight if tensor.name == "token_embd.weight" else weight.T)
    layers = [{name.removeprefix(f"blk.{i}."): w for name, w in weights.items() if name.startswith(f"blk.{i}.")} for i in range(shape.layers)]
    params = {"token_embd": weights["token_embd"], "layers": layers, "output_norm": weights["output_norm"]}
    return params, shape, restore_tokenizer(recipe, value("tokenizer.ggml.tokens"), value("tokenizer.ggml.merges"))


def _tensors(params: dict):
    yield "token_embd.weight", np.asarray(params["token_embd"], np.float32)
    for i, layer in enumerate(params["layers"]):
        for name, weight in layer.items():
            yield f"blk.{i}.{name}.weight", np.ascontiguousarray(np.asarray(weight, np.float32).T)
    yield "output_norm.weight", np.asarray(params["output_norm"], np.float32)


def _describe(writer: GGUFWriter, params: dict, recipe: Recipe) -> None:
    shape = recipe.shape
    writer.add_type("model")
    writer.add_name(recipe.name)
    writer.add_description(recipe.description)
    writer.add_license("MIT OR Apache-2.0")
    writer.add_languages(["en"])
    writer.add_size_label(f"{parameter_count(params) / 1e6:.1f}M")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embd)
    writer.add_feed_forward_length(shape.ff)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.eps)


def add_vocabulary(writer: GGUFWriter, tokenizer: Tokenizer, recipe: Recipe) -> None:
    """The tokens, their kinds and merges, and which of them begin and end a text."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(recipe.pretokenizer)
    kinds = dict.fromkeys(recipe.control_tokens, TokenType.CONTROL) | dict.fromkeys(recipe.markup, TokenType.USER_DEFINED)
    tokens = [tokenizer.id_to_token(i) for i in range(recipe.shape.vocab)]
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.token_to_id(recipe.bos))
    writer.add_eos_token_id(tokenizer.token_to_id(recipe.end))
