"""Compares a GGUF in llama.cpp (the wheel `xllamacpp`) with the JAX forward that trained it: tokens and greedy text.

`python check.py stories` or `tools`, and the file if it is elsewhere than in `models`.
"""

import json
import sys
import urllib.request
from itertools import islice
from pathlib import Path

import xllamacpp
from gguf_file import read_gguf
from prompts import prompts
from recipe import RECIPES, Recipe
from train import greedy_tokens

LIMIT = 300


def main(recipe: Recipe, path: Path) -> None:
    params, _, tokenizer = read_gguf(path, recipe)
    server = start_server(path)
    texts = [*islice(recipe.documents(77), 400), "  two spaces\n\n\ttab 1234 naïve 日本語 😊🦙 it's I'll\r\n ", "a\n b  c   \n"]
    differ = [text for text in texts if tokenize(server, text) != tokenizer.encode(text, add_special_tokens=False).ids]
    print(f"tokenization: {len(texts) - len(differ)} of {len(texts)} texts agree")
    for text in differ[:3]:
        print(f"  differs: {text[:200]!r}")

    with_bos = post(server, "/tokenize", {"content": "Once", "add_special": True})["tokens"]
    print(f"BOS is added as it should be: {(with_bos[0] == tokenizer.token_to_id(recipe.bos)) == recipe.adds_bos}")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    applied = post(server, "/apply-template", {"messages": messages})["prompt"]
    print(f"chat template: {applied == recipe.render(messages, add_generation_prompt=True)}")

    same, shown = 0, list(prompts(recipe))
    for name, prompt in shown:
        ours = greedy_tokens(params, recipe, tokenizer, prompt, LIMIT)
        asked = {"prompt": tokenizer.encode(prompt, add_special_tokens=False).ids, "n_predict": LIMIT, "temperature": 0, "top_k": 1}
        theirs = post(server, "/completion", {**asked, "return_tokens": True})
        got = [token for token in theirs["tokens"] if token != tokenizer.token_to_id(recipe.end)]
        agree = next((i for i, (a, b) in enumerate(zip(ours, got)) if a != b), min(len(ours), len(got)))
        same += ours == got
        print(f"\n> {name}: {agree} of {len(ours)} tokens agree, stop: {theirs['stop_type']}, {len(got)} tokens\n{theirs['content']}")
    print(f"\ngreedy text: {same} of {len(shown)} prompts agree to the last token")


def start_server(path: Path) -> str:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.warmup = 1024, 1, 2, False
    main.server = xllamacpp.Server(params)  # kept alive with the process
    return main.server.listening_address


def post(server: str, route: str, body: dict) -> dict:
    request = urllib.request.Request(server + route, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def tokenize(server: str, text: str) -> list[int]:
    return post(server, "/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]


if __name__ == "__main__":
    chosen = RECIPES[sys.argv[1]]
    main(chosen, Path(__file__).resolve().parents[2] / "models" / chosen.file if len(sys.argv) < 3 else Path(sys.argv[2]))
