"""Loops of tools, by the clients that people use: the model is made to call, since what the demo model would do is of no account."""

import json
from typing import Literal

import pytest
from pydantic import BaseModel, Field

QUESTION = "How warm is it in Oslo?"
PARAMETERS = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather of a city", "parameters": PARAMETERS}}


class Fox(BaseModel):
    """A fox."""

    name: Literal["Red", "Grey"]
    age: int = Field(ge=0, le=99)


def weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather of a city."""
    return f"7 degrees in {city}"


@pytest.fixture()
def client(url):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_loops(client):
    messages = [{"role": "user", "content": QUESTION}]
    create = client.chat.completions.create
    first = create(model="x", messages=messages, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    city = json.loads(call.function.arguments)["city"]
    assert call.function.name == "weather" and city in ("Oslo", "Rome")
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": weather(city)}]
    last = create(model="x", messages=messages, tools=[TOOL], tool_choice="none", max_tokens=8).choices[0]
    assert last.message.content and not last.message.tool_calls


def test_openai_streams_calls(client):
    stream = client.chat.completions.create(
        model="x",
        messages=[{"role": "user", "content": QUESTION}],
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
        max_tokens=200,
        stream=True,
    )
    deltas = [chunk.choices[0] for chunk in stream]
    calls = [piece for one in deltas for piece in one.delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "weather" and not any(piece.id for piece in calls[1:])
    assert json.loads("".join(piece.function.arguments for piece in calls))["city"] in ("Oslo", "Rome")
    assert deltas[-1].finish_reason == "tool_calls"


def test_openai_parses_calls(client):
    openai = pytest.importorskip("openai")
    with client.chat.completions.stream(
        model="x",
        messages=[{"role": "user", "content": "A fox."}],
        tools=[openai.pydantic_function_tool(Fox, name="fox")],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
    ) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert isinstance(call.function.parsed_arguments, Fox)


def test_langchain_binds_tools(url):
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="x", base_url=url + "/v1", api_key="none", max_tokens=200, max_retries=0)
    bound = model.bind_tools([weather], tool_choice="required", parallel_tool_calls=False)
    answer = bound.invoke(QUESTION)
    assert answer.tool_calls[0]["name"] == "weather" and answer.tool_calls[0]["args"]["city"] in ("Oslo", "Rome")
    pieces = list(bound.stream(QUESTION))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.tool_calls[0]["args"]["city"] in ("Oslo", "Rome")
    structured = model.with_structured_output(Fox, method="function_calling")
    assert isinstance(structured.invoke("A fox."), Fox)


def test_llama_index_calls_tools(url):
    like = pytest.importorskip("llama_index.llms.openai_like")
    from llama_index.core.tools import FunctionTool

    llm = like.OpenAILike(
        model="x",
        api_base=url + "/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=1024,
        max_tokens=200,
    )
    tool = FunctionTool.from_defaults(weather)
    answer = llm.chat_with_tools([tool], user_msg=QUESTION, tool_required=True, allow_parallel_tool_calls=False)
    calls = llm.get_tool_calls_from_response(answer)
    assert calls[0].tool_name == "weather" and calls[0].tool_kwargs["city"] in ("Oslo", "Rome")


def test_litellm_calls_tools(url):
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    answer = litellm.completion(
        model="openai/x",
        api_base=url + "/v1",
        api_key="none",
        messages=[{"role": "user", "content": QUESTION}],
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
    )
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments)["city"] in ("Oslo", "Rome")


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_instructor(client, mode):
    instructor = pytest.importorskip("instructor", reason="instructor is not installed")
    structured = instructor.from_openai(client, mode=getattr(instructor.Mode, mode))
    messages = [{"role": "user", "content": "A fox."}]
    fox = structured.create(model="x", messages=messages, response_model=Fox, max_tokens=200, max_retries=0)
    assert isinstance(fox, Fox)


def test_outlines(client):
    outlines = pytest.importorskip("outlines", reason="outlines is not installed")
    model = outlines.from_openai(client, "x")
    assert isinstance(Fox.model_validate_json(model("A fox.", Fox, max_tokens=200)), Fox)
