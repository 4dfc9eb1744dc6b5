"""Ollama's own client. What the demo model says is of no account, only that the client reads it."""

import asyncio
import json
from functools import partial

import pytest

ollama = pytest.importorskip("ollama", reason="Ollama's client is not installed")

MESSAGES = [{"role": "user", "content": "Tell me of a fox."}]
SHORT = {"num_predict": 8, "temperature": 0}
SCHEMA = {"type": "object", "properties": {"tame": {"type": "boolean"}}, "required": ["tame"]}


def weather(city: str) -> str:
    """How warm it is.

    Args:
        city: where
    """
    return f"20 in {city}"


@pytest.fixture()
def client(url):
    return ollama.Client(host=url)


def test_it_chats(client):
    answer = client.chat(model="demo", messages=MESSAGES, options=SHORT)
    assert answer.message.role == "assistant" and isinstance(answer.message.content, str)
    assert answer.done and answer.done_reason in ("stop", "length") and answer.eval_count > 0
    parts = list(client.chat(model="demo:latest", messages=MESSAGES, options=SHORT, stream=True))
    assert "".join(part.message.content for part in parts) == answer.message.content
    assert parts[-1].done and parts[-1].total_duration > 0 and not any(part.done for part in parts[:-1])


def test_it_generates(client):
    answer = client.generate(model="demo", prompt="A fox", system="Be short.", options=SHORT, logprobs=True, top_logprobs=2)
    assert len(answer.logprobs) == answer.eval_count and len(answer.logprobs[0].top_logprobs) == 2
    parts = list(client.generate(model="demo", prompt="A fox", raw=True, options=SHORT, stream=True))
    assert parts[-1].eval_count == 8 and all(isinstance(part.response, str) for part in parts)
    assert client.generate(model="demo").done_reason == "load"


def test_it_takes_tools_and_formats(client):
    history = [
        *MESSAGES,
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]},
        {"role": "tool", "tool_name": "weather", "content": "7"},
    ]
    assert client.chat(model="demo", messages=history, tools=[weather], options=SHORT).done
    answer = client.chat(model="demo", messages=MESSAGES, format=SCHEMA, options={"num_predict": 100})
    assert isinstance(json.loads(answer.message.content)["tame"], bool)


def test_it_embeds(client):
    answer = client.embed(model="demo", input=["A fox", "A boat"], dimensions=16)
    assert [len(vector) for vector in answer.embeddings] == [16, 16] and answer.prompt_eval_count > 0
    assert len(client.embeddings(model="demo", prompt="A fox").embedding) > 16


def test_it_describes_the_model(client):
    assert [model.model for model in client.list().models] == ["demo.gguf"]
    shown = client.show("demo")
    assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == "llama"
    assert shown.details.quantization_level and shown.modified_at.year > 2000
    assert client.ps().models[0].context_length > 0


def test_it_reads_errors(client):
    for call, status in [
        (lambda: client.chat(model="demo", messages=MESSAGES, options={"temperature": "hot"}), 400),
        (lambda: list(client.chat(model="demo", messages=MESSAGES, options={"top_p": 7}, stream=True)), 400),
        (lambda: client.pull("llama3"), 501),
        (lambda: client.delete("demo"), 501),
    ]:
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == status and isinstance(caught.value.error, str)
        assert "{" not in caught.value.error


def test_it_runs_asynchronously(url):
    async def all_of_them():
        chat = partial(ollama.AsyncClient(host=url).chat, model="demo", messages=MESSAGES, options=SHORT)
        answers = await asyncio.gather(*(chat() for _ in range(8)))
        pieces = [part.message.content async for part in await chat(stream=True)]
        return [answer.message.content for answer in answers], "".join(pieces)

    answers, streamed = asyncio.run(all_of_them())
    assert answers == [streamed] * 8
