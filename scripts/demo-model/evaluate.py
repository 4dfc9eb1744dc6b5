"""How often the tool model says what it should, on conversations that training did not see, by a server that runs it:

    llama-concurrent serve -m models/tools.gguf
    python evaluate.py http://127.0.0.1:8080 [COUNT]
"""

import json
import re
import sys
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from recipe import TOOLS
from train import HELD_OUT_SEED


def main(server: str, count: int) -> None:
    right, seen, wrong = Counter(), Counter(), []

    def ask(document: str) -> tuple[str, str, str]:
        at = document.rindex(TOOLS.reply_start) + len(TOOLS.reply_start)
        at += len(TOOLS.no_thought) if document.startswith(TOOLS.no_thought, at) else 0
        body = {"prompt": document[:at], "n_predict": 300, "temperature": 0, "special": True}
        request = urllib.request.Request(f"{server}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            return document[:at], document[at:].removesuffix(TOOLS.end), json.load(reply)["content"]

    documents = islice(TOOLS.documents(HELD_OUT_SEED), count)
    with ThreadPoolExecutor(8) as pool:
        for prompt, wanted, got in pool.map(ask, documents):
            kind = kind_of(prompt, wanted)
            seen[kind] += 1
            right[kind] += said(wanted) == said(got)
            if said(wanted) != said(got):
                wrong.append((prompt[-200:], wanted, got))
    for kind in sorted(seen):
        print(f"{kind:12} {right[kind]:4} of {seen[kind]:4} ({right[kind] / seen[kind]:.0%})")
    for prompt, wanted, got in wrong[:5]:
        print(f"\n{prompt}\n  wanted {wanted!r}\n  got    {got!r}")


def kind_of(prompt: str, wanted: str) -> str:
    calls = wanted.count("<tool_call>")
    if calls:
        return "one call" if calls == 1 else "many calls"
    if prompt.rstrip().endswith("assistant") and "<tool_response>" in prompt[prompt.rindex("user") :]:
        return "answer"
    return "declines" if "I have no tool" in wanted else "talk"


def said(reply: str) -> tuple:
    """Calls and text of a reply, without its thoughts."""
    text = re.sub(r"<think>.*?</think>", "", reply, flags=re.DOTALL)
    calls = re.findall(r"<tool_call>\s*(.*?)\s*</tool_call>", text, flags=re.DOTALL)
    rest = re.sub(r"<tool_call>.*?</tool_call>", "", text, flags=re.DOTALL)
    return tuple(calls), " ".join(rest.split())


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), int(sys.argv[2]) if len(sys.argv) > 2 else 500)
