"""EleutherAI's lm-eval compares answers by their probabilities, which are those that the Rust API computes."""

import json
import os
import re
import subprocess

import pytest
from conftest import ROOT, Server

MODEL = ROOT / "models" / "tools.gguf"
QUESTIONS = [
    {"text": "The capital of France is", "answers": [" Paris", " Rome", " twelve"], "right": 0},
    {"text": "How warm is it in", "answers": [" Oslo?", " bread?", " 7 degrees"], "right": 0},
    {"text": "Switch the lamp", "answers": [" on.", " at noon.", ' "off"'], "right": 0},
]


def scored_by_rust(text: str, answers: list[str]) -> list[float]:
    program = ROOT / "target" / "release" / "examples" / "score"
    if not program.exists():
        pytest.skip("the example 'score' is not built: cargo build --release --examples")
    lines = subprocess.run([program, MODEL, text, *answers], capture_output=True, text=True, check=True).stdout.splitlines()
    return [float(re.match(r"\s*(-?[\d.]+) ", line)[1]) for line in lines]


def test_lm_eval_scores_as_the_rust_api(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    documents = tmp_path / "documents.jsonl"
    documents.write_text("\n".join(map(json.dumps, QUESTIONS)))
    task = {
        "task": "small",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(documents)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{answers}}",
        "doc_to_target": "{{right}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    }
    with Server("--slots", "4", "-c", "512", model=MODEL) as server:
        arguments = f"model=tools,base_url={server.url}/v1/completions,num_concurrent=2,batch_size=2,max_retries=1,max_length=512"
        results = lm_eval.simple_evaluate(model="local-completions", model_args=arguments, tasks=[task], bootstrap_iters=0)
    samples = sorted(results["samples"]["small"], key=lambda sample: sample["doc_id"])
    assert [sample["doc"]["text"] for sample in samples] == [question["text"] for question in QUESTIONS]
    for sample, question in zip(samples, QUESTIONS):
        expected = scored_by_rust(question["text"], question["answers"])
        found = [float(response[0]) for response in sample["filtered_resps"]]
        assert found == pytest.approx(expected, abs=5e-3)
    assert "acc,none" in results["results"]["small"], os.environ
