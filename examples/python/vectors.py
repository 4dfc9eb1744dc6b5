"""Texts as vectors, documents ranked by how well they answer a query, and given answers compared by their probability.

    python vectors.py [RERANKER [MODEL]]
"""

import sys
from pathlib import Path

from llama_concurrent import DEMO_MODEL, Engine

reranker = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "models" / "rerank.gguf"
model = sys.argv[2] if len(sys.argv) > 2 else DEMO_MODEL
documents = ["A fox eats mice and berries.", "The boat has a red sail.", "A fox ate the mice.", "It rained all day."]

with Engine(reranker) as engine:
    vectors = engine.embed(documents)  # an array with a row for each; one text gives one vector
    print(vectors.shape, vectors @ vectors[0])  # of vectors of length 1 these are cosines

    for rank in engine.rerank("What does a fox eat?", documents, top_n=3):
        print(f"{rank.score:6.2f} {documents[rank.index]}")

with Engine(model) as engine:
    answers = [" there was a fox.", " the engine was cold."]
    for answer, score in zip(answers, engine.score("Once upon a time", answers)):
        print(f"{score.logprob:8.2f}{answer}")
