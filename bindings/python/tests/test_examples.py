"""The examples, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/python"


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_async_chat():
    text = run("async_chat.py")
    assert all(f"[{number}] (" in text for number in range(4))


def test_batch_jsonl_resumes(tmp_path):
    prompts, answers = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    lines = [{"id": f"p{i}", "prompt": f"{i} foxes"} for i in range(50)] + [{"id": "bad", "prompt": ""}, {"id": "none"}]
    prompts.write_text("\n".join(map(json.dumps, lines)) + "\nno json\n")
    # As after an interruption: some are done, and the last line was cut.
    answers.write_text('{"id": "p0", "completion": "kept"}\n{"id": "p1", "compl')
    run("batch_jsonl.py", prompts, answers, "--max-tokens", 8)
    got = [json.loads(line) for line in answers.read_text().splitlines()]
    assert sorted(line["id"] for line in got) == sorted(line["id"] for line in lines)
    assert got[0]["completion"] == "kept" and sum("error" in line for line in got) == 2
    run("batch_jsonl.py", prompts, answers)
    assert len(answers.read_text().splitlines()) == len(lines)


def test_tools():
    text = run("tools.py", EXAMPLES.parents[1] / "models/tools.gguf")
    for city in ["Oslo", "Rome", "Lima", "Cairo"]:
        assert f"{city}: weather(" in text and f"{city}: -> " in text


def test_vectors():
    pytest.importorskip("numpy")
    text = run("vectors.py")
    vectors, fox, engine, first, *others = text.splitlines()
    assert vectors.startswith("(4, 128)")
    assert fox.endswith(" there was a fox.") and engine.endswith(" the engine was cold.")
    assert first.endswith("A fox eats mice and berries.") and len(others) == 2
