"""Completes a JSONL of prompts: {"id": ..., "prompt": ...} in, one line with the completion out, in any order.

    python batch_jsonl.py prompts.jsonl answers.jsonl [--model MODEL] [--max-tokens N]

Resumable: lines whose id is in the output already are skipped, so run it again after an interruption. Lines without an
id are numbered. A prompt that cannot be served has an "error" in its line.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llama_concurrent import Engine, LlamaError, Request, SamplingParams
from tqdm import tqdm


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, numbered where they have no id; lines that are none are left out."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield {"id": number} | json.loads(line)
        except ValueError as error:
            print(f"{path}:{number}: left out, this is no JSON object: {error}")


def resume(path: Path) -> Iterator[dict[str, Any]]:
    """The answers that are there; a last one that was cut off is removed."""
    if not path.exists():
        return
    whole, newline, _ = path.read_text().rpartition("\n")
    path.write_text(whole + newline)
    yield from read(path)


def answer(request: Request) -> dict[str, Any]:
    try:
        result = request.result()
    except LlamaError as error:
        return {"error": str(error)}
    return {"completion": result.text, "finish_reason": result.finish_reason, "n_tokens": result.n_output_tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--max-tokens", type=int, default=128)
    options = parser.parse_args()

    done = {line["id"] for line in resume(options.answers)}
    todo = [line for line in read(options.prompts) if line["id"] not in done]
    params = SamplingParams(max_tokens=options.max_tokens, priority="batch")
    with Engine(options.model) as engine, options.answers.open("a") as out, tqdm(total=len(todo)) as bar:
        window = 2 * engine.stats().slots  # enough to keep every slot busy
        running: dict[concurrent.futures.Future[Any], Any] = {}

        def write_finished() -> None:
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for request in finished:
                print(json.dumps({"id": running.pop(request)} | answer(request)), file=out, flush=True)
                bar.update()

        for line in todo:
            try:
                running[engine.submit(line["prompt"], params)] = line["id"]
            except (LlamaError, KeyError) as error:
                print(json.dumps({"id": line["id"], "error": str(error)}), file=out, flush=True)
                bar.update()
            while len(running) >= window:
                write_finished()
        while running:
            write_finished()


if __name__ == "__main__":
    main()
