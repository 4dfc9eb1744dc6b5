"""The clients that people use. What the demo model says is of no account, only that clients read it."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel, Field

MESSAGES = [{"role": "user", "content": "Tell me of a fox."}]


class Fox(BaseModel):
    """Bounded, so that no model can write it without end."""

    tame: bool
    age: int = Field(ge=0, le=99)


@pytest.fixture()
def client(url):
    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_answers(client):
    answer = client.chat.completions.create(model="x", messages=MESSAGES, max_tokens=8, n=2, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    entry = answer.choices[0].logprobs.content[0]
    assert len(entry.top_logprobs) == 2 and bytes(entry.bytes).decode(errors="replace") == entry.token
    text = client.completions.create(model="x", prompt=["A", "B"], max_tokens=4, logprobs=1)
    assert len(text.choices) == 2 and text.choices[0].logprobs.tokens
    assert [model.id for model in client.models.list()] == ["demo.gguf"]


def test_openai_streams(client):
    stream = client.chat.completions.create(
        model="x", messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    # One that ends by itself, as this client takes a cut answer for an error.
    short = {"regex": "[a-z]{1,8}"}
    with client.chat.completions.stream(model="x", messages=MESSAGES, max_tokens=20, extra_body=short) as events:
        kinds = {event.type for event in events}
        assert "content.done" in kinds and events.get_final_completion().choices[0].message.content is not None


def test_openai_parses_into_a_model(client):
    answer = client.chat.completions.parse(model="x", messages=MESSAGES, response_format=Fox, max_tokens=300)
    fox = answer.choices[0].message.parsed
    assert isinstance(fox, Fox), answer


def test_openai_asynchronously_and_at_once(url):
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
            create = client.chat.completions.create
            whole = [create(model="x", messages=MESSAGES, max_tokens=8, seed=7) for _ in range(8)]
            stream = await create(model="x", messages=MESSAGES, max_tokens=8, seed=7, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*whole)], "".join(pieces)

    answers, streamed = asyncio.run(all_of_them())
    assert len(answers) == 8 and isinstance(streamed, str)


def test_openai_reads_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="x", messages=MESSAGES, temperature="hot")
    assert caught.value.param == "temperature" and caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="x", prompt="word " * 5000)
    assert caught.value.body["n_ctx"] == 1024


def test_openai_embeds(client):
    answer = client.embeddings.create(model="x", input=["A fox", "The sea"])
    assert len(answer.data) == 2 and len(answer.data[0].embedding) == 128
    assert sum(value * value for value in answer.data[0].embedding) == pytest.approx(1, abs=1e-3)


def test_langchain(url):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="x", base_url=url + "/v1", api_key="none", max_tokens=8, max_retries=0)
    assert isinstance(model.invoke("Tell me of a fox.").content, str)
    assert list(model.stream("Tell me of a boat."))
    assert len(model.batch(["A", "B", "C"])) == 3
    assert isinstance(asyncio.run(model.ainvoke("A hill.")).content, str)
    limit = ChatOpenAI(model="x", base_url=url + "/v1", api_key="none", max_tokens=300, max_retries=0)
    assert isinstance(limit.with_structured_output(Fox, method="json_schema").invoke("A fox."), Fox)


def test_llama_index(url):
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(model="x", api_base=url + "/v1", api_key="none", is_chat_model=True, context_window=1024, max_tokens=8)
    assert llm.chat([ChatMessage(role="user", content="Tell me of a fox.")]).message.content is not None
    assert list(llm.stream_chat([ChatMessage(role="user", content="A boat.")]))
    plain = OpenAILike(model="x", api_base=url + "/v1", api_key="none", is_chat_model=False, context_window=1024, max_tokens=8)
    assert plain.complete("Once upon a time").text is not None


def test_websocket(url):
    from websockets.sync.client import connect

    with connect(url.replace("http", "ws") + "/ws", subprotocols=["llama-concurrent"]) as socket:
        for name in "abc":
            socket.send(json.dumps({"type": "generate", "id": name, "prompt": "A fox", "n_predict": 6, "ignore_eos": True}))
        ended = set()
        while len(ended) < 3:
            message = json.loads(socket.recv(timeout=60))
            if message["type"] == "finished":
                ended.add(message["id"])
        assert ended == set("abc")


@pytest.mark.parametrize("example", ["openai_client.py", "langchain_app.py", "llamaindex_app.py"])
def test_example(url, example):
    import subprocess
    import sys

    from conftest import ROOT

    script = ROOT / "examples" / "server" / example
    subprocess.run([sys.executable, script, url + "/v1"], check=True, timeout=300, stdout=subprocess.DEVNULL)


def test_curl_example(url):
    import shutil
    import subprocess

    from conftest import ROOT

    if not shutil.which("curl"):
        pytest.skip("no curl here")
    subprocess.run([ROOT / "examples" / "server" / "curl.sh", url], check=True, timeout=300, stdout=subprocess.DEVNULL)
