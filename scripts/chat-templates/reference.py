#!/usr/bin/env python3
"""What Python's Jinja2, with the settings of transformers, makes of chat templates.

    reference.py expressions     writes crates/llama-concurrent-template/tests/data/expressions.json (committed)
    reference.py fetch DIR       downloads real templates (of the source distribution of llama-cpp-python) into DIR
    reference.py templates DIR   writes DIR/expected.json: every *.jinja of DIR times every conversation

Needs `pip install transformers==5.24.0 jinja2==3.1.6`. The comparison itself is the test `real` of the template crate:

    LLAMA_CONCURRENT_TEMPLATES=DIR cargo test --release -p llama-concurrent-template --test real -- --nocapture
"""

import copy
import datetime
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "crates/llama-concurrent-template/tests/data"
SDIST = "llama-cpp-python==0.3.36"
TEMPLATES = "/vendor/llama.cpp/models/templates/"
# Templates that print the date print this one in both engines.
DATE = datetime.datetime(2026, 1, 2, 3, 4, 5)


def fetch(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python"]
        subprocess.run([*pip, "--dest", scratch, SDIST], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            for member in tar:
                if TEMPLATES in member.name and member.name.endswith(".jinja"):
                    (folder / Path(member.name).name).write_bytes(tar.extractfile(member).read())
    print(len(list(folder.glob("*.jinja"))), "templates in", folder)


def render(source, conversation):
    """As `apply_chat_template` of transformers: nulls dropped, reasoning under its names, then the template."""
    from transformers.utils import chat_template_utils as utils

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return DATE

    utils.datetime = Fixed
    messages = utils._normalize_chat_messages(copy.deepcopy(conversation["messages"]))
    try:
        (text,), _ = utils.render_jinja_template(
            [messages],
            tools=conversation.get("tools"),
            chat_template=source,
            continue_final_message=conversation.get("continue_final_message", False),
            add_generation_prompt=conversation.get("add_generation_prompt", True),
            bos_token="<s>",
            eos_token="</s>",
            **conversation.get("extra", {}),
        )
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"text": text}


def with_objects(conversation):
    """The same conversation with the arguments of calls as objects, as the users of transformers give them."""
    conversation = copy.deepcopy(conversation)
    for message in conversation["messages"]:
        for call in message.get("tool_calls") or []:
            if isinstance(call["function"]["arguments"], str):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return conversation


def adapted(conversation):
    """The same conversation as llama-server gives it to a template that reads texts: parts joined, empty for null."""
    conversation = with_objects(conversation)
    for message in conversation["messages"]:
        if isinstance(message.get("content"), list):
            message["content"] = "\n".join(part["text"] for part in message["content"])
        elif message.get("content") is None:
            message["content"] = ""
    return conversation


def templates(folder):
    conversations = json.loads((DATA / "conversations.json").read_text())
    expected = {}
    for file in sorted(folder.glob("*.jinja")):
        source = file.read_text()
        expected[file.stem] = {}
        for name, conversation in conversations.items():
            expected[file.stem][name] = {
                "transformers": render(source, conversation),
                "objects": render(source, with_objects(conversation)),
                "adapted": render(source, adapted(conversation)),
            }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False))
    print(len(expected), "templates in", folder / "expected.json")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fetch", folder]:
            fetch(Path(folder))
        case ["templates", folder]:
            templates(Path(folder))
        case ["expressions"]:
            from expressions import write

            write(DATA / "expressions.json")
        case _:
            sys.exit(__doc__)
