"""Output of a given form, and how likely its tokens were."""

import asyncio
import json
import math
import re

import pytest
from llama_concurrent import AsyncEngine, InvalidRequest, SamplingParams

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


class Model:
    """What is used of a Pydantic model class."""

    @classmethod
    def model_json_schema(cls):
        return SCHEMA


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA), Model])
def test_json_is_valid_under_its_schema(engine, schema):
    for seed in range(4):
        params = SamplingParams(json_schema=schema, temperature=1.0, seed=seed, max_tokens=200)
        result = engine.generate("A fox", params)
        value = json.loads(result.text)
        assert result.finish_reason == "stop" and set(value) == {"colour", "count"}
        assert value["colour"] in ("red", "green") and 1 <= value["count"] <= 9


def test_expressions_and_grammars(engine):
    words = SamplingParams(regex="[a-z]{3}(-[a-z]{2}){2}", temperature=1.0)
    for result in engine.generate(["A fox"] * 8, words):
        assert re.fullmatch("[a-z]{3}(-[a-z]{2}){2}", result.text)
    sums = SamplingParams(grammar='start: N "+" N\nN: /[0-9]{1,3}/', temperature=1.0)
    assert re.fullmatch(r"[0-9]{1,3}\+[0-9]{1,3}", "".join(engine.stream("A fox", sums)))


def test_what_cannot_be_held_to_is_refused(engine):
    for params, expected in [
        (SamplingParams(json_schema="{"), "not JSON"),
        (SamplingParams(json_schema={"type": "nonsense"}), "nonsense"),
        (SamplingParams(regex="("), "unclosed"),
        (SamplingParams(grammar="start: rest"), "rest"),
        (SamplingParams(regex="a", grammar='start: "a"'), "use one of them"),
    ]:
        with pytest.raises(InvalidRequest, match=expected):
            engine.generate("A fox", params)
    with pytest.raises(TypeError, match="Pydantic"):
        engine.generate("A fox", SamplingParams(json_schema=int))


def test_log_probabilities(engine):
    params = SamplingParams(max_tokens=8, ignore_eos=True, logprobs=3)
    whole = engine.generate("A fox", params)
    assert len(whole.logprobs) == len(whole.tokens) == 8
    for token, (logprob, top) in zip(whole.tokens, whole.logprobs):
        assert top[0] == (token, logprob), "greedy takes the likeliest"
        assert len(top) == 3 and sum(math.exp(p) for _, p in top) <= 1.0001
    stream = engine.stream("A fox", params)
    list(stream)
    assert stream.result.logprobs == whole.logprobs
    assert engine.generate("A fox", SamplingParams(max_tokens=4)).logprobs == []
    own = engine.generate("A fox", SamplingParams(max_tokens=4, ignore_eos=True, logprobs=0)).logprobs
    assert [(one.logprob, one.top) for one in own] == [(one.logprob, []) for one in whole.logprobs[:4]]


def test_tasks_get_them_too():
    async def main():
        async with await AsyncEngine.load(threads=1, slots=2) as engine:
            return await engine.generate("A fox", SamplingParams(regex="(yes|no)", logprobs=1))

    result = asyncio.run(main())
    assert result.text in ("yes", "no") and len(result.logprobs) == len(result.tokens)


def test_a_prompt_can_be_computed_anew(engine):
    prompt = "The lighthouse keeper looked out over the sea and waited for the boat that came every week. " * 2
    params = SamplingParams(max_tokens=2)
    engine.generate(prompt, params)
    assert engine.generate(prompt, params).n_cached_tokens > 0
    assert engine.generate(prompt, SamplingParams(max_tokens=2, prefix_reuse=False)).n_cached_tokens == 0
