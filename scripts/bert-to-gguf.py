#!/usr/bin/env python3
"""Converts a BERT checkpoint of transformers to GGUF: an encoder for vectors of texts, or a reranker with its classifier.

    pip install gguf numpy safetensors
    scripts/bert-to-gguf.py FOLDER OUT.gguf [--type f32|f16|q8_0]

FOLDER has config.json, model.safetensors and vocab.txt (WordPiece), and may have 1_Pooling/config.json, as models of
sentence-transformers do. For other architectures llama.cpp has convert_hf_to_gguf.py.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, PoolingType, TokenType
from gguf.quants import quantize
from safetensors.numpy import load_file

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
IN_A_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
OUTSIDE = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
RANK_HEAD = {"pooler.dense": "cls", "classifier": "cls.output"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="f16", help="of the matrices; all else is F32")
    options = parser.parse_args()
    config = json.loads((options.folder / "config.json").read_text())
    if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
        raise SystemExit(f"{options.folder}: only BERT with gelu is converted here; llama.cpp has convert_hf_to_gguf.py for others")
    weights = load_file(options.folder / "model.safetensors")
    names = dict(tensor_names(weights, config["num_hidden_layers"]))
    matrices, file_type = TYPES[options.type]

    part = options.out.with_suffix(".part")
    writer = GGUFWriter(part, "bert")
    writer.add_type("model")
    writer.add_name(options.folder.resolve().name)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling(options.folder, names.values()))
    add_vocabulary(writer, options.folder, config)
    for source, name in names.items():
        weight = weights[source].astype(np.float32)
        if weight.ndim == 1 or name.startswith(("position_embd", "token_types")):
            writer.add_tensor(name, weight)
        elif matrices == GGMLQuantizationType.F16:
            writer.add_tensor(name, weight.astype(np.float16))
        else:
            writer.add_tensor(name, quantize(weight, matrices), raw_dtype=matrices)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(options.out)
    print(f"{options.out}: {len(names)} tensors, {options.out.stat().st_size:,} bytes")


def tensor_names(weights: dict[str, Any], n_layer: int) -> Iterator[tuple[str, str]]:
    """The tensors of the checkpoint that are wanted, and their names in GGUF."""
    prefix = "bert." if any(name.startswith("bert.") for name in weights) else ""
    known = {f"{prefix}{source}": name for source, name in OUTSIDE.items()}
    for i in range(n_layer):
        known |= {f"{prefix}encoder.layer.{i}.{source}": f"blk.{i}.{name}" for source, name in IN_A_LAYER.items()}
    if "classifier.weight" in weights:
        known |= {(source if source == "classifier" else f"{prefix}{source}"): name for source, name in RANK_HEAD.items()}
    missing = sorted(f"{source}.weight" for source in known if f"{source}.weight" not in weights)
    if missing:
        raise SystemExit(f"the checkpoint has no {', '.join(missing)}")
    for source, name in known.items():
        for kind in ("weight", "bias"):
            if f"{source}.{kind}" in weights:
                yield f"{source}.{kind}", f"{name}.{kind}"


def pooling(folder: Path, names: Any) -> PoolingType:
    if "cls.output.weight" in names:
        return PoolingType.RANK
    described = folder / "1_Pooling" / "config.json"
    if described.exists() and json.loads(described.read_text()).get("pooling_mode_mean_tokens"):
        return PoolingType.MEAN
    return PoolingType.CLS


def add_vocabulary(writer: GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    """WordPiece, as llama.cpp wants it: what begins a word has a mark in front, what goes on with one has none."""
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[: config["vocab_size"]]
    if len(words) != config["vocab_size"]:
        raise SystemExit(f"vocab.txt has {len(words)} tokens and the model {config['vocab_size']}")
    is_special = lambda word: word.startswith("[") and word.endswith("]") and len(word) > 2
    marked = lambda word: word if is_special(word) else word[2:] if word.startswith("##") else f"\u2581{word}"
    ids = {word: i for i, word in enumerate(words)}
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list([marked(word) for word in words])
    named = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")
    writer.add_token_types([TokenType.CONTROL if word in named else TokenType.NORMAL for word in words])
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])


if __name__ == "__main__":
    main()
