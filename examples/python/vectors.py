"""Texts as vectors, given answers compared by their probability, and documents ranked by how well they answer a query.

    python vectors.py [MODEL [RERANKER]]
"""

import sys
from pathlib import Path

from llama_concurrent import DEMO_MODEL, Engine

model = sys.argv[1] if len(sys.argv) > 1 else DEMO_MODEL
reranker = sys.argv[2] if len(sys.argv) > 2 else Path(__file__).resolve().parents[2] / "models" / "rerank.gguf"
documents = ["A fox eats mice and berries.", "The boat has a red sail.", "A fox ate the mice.", "It rained all day."]

with Engine(model) as engine:
    vectors = engine.embed(documents)  # an array with a row for each; one text gives one vector
    print(vectors.shape, vectors @ vectors[0])  # of vectors of length 1 these are cosines

    answers = [" there was a fox.", " the engine was cold."]
    for answer, score in zip(answers, engine.score("Once upon a time", answers)):
        print(f"{score.logprob:8.2f}{answer}")

with Engine(reranker) as engine:
    for rank in engine.rerank("What does a fox eat?", documents, top_n=3):
        print(f"{rank.score:6.2f} {documents[rank.index]}")
