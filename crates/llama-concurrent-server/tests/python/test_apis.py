"""Clients of the Messages API and of the Responses API. What the demo model says is of no account, only that clients read it."""

import asyncio
import json

import pytest

# What not all versions of Anthropic's client have an argument for.
GREEDY = {"temperature": 0}
MESSAGES = [{"role": "user", "content": "Tell me of a fox."}]
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
FOX = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"]}


@pytest.fixture()
def claude(url):
    anthropic = pytest.importorskip("anthropic", reason="Anthropic's client is not installed")
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture()
def client(url):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
        yield client


# Anthropic


def test_anthropic_answers(claude):
    message = claude.messages.create(model="x", max_tokens=8, system="Be short.", messages=MESSAGES, metadata={"user_id": "u"})
    assert message.type == "message" and message.role == "assistant" and message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens") and message.usage.output_tokens > 0
    assert message._request_id
    count = claude.messages.count_tokens(model="x", system="Be short.", messages=MESSAGES)
    assert count.input_tokens == message.usage.input_tokens + message.usage.cache_read_input_tokens


def test_anthropic_streams(claude):
    whole = claude.messages.create(model="x", max_tokens=8, messages=MESSAGES, extra_body=GREEDY)
    with claude.messages.stream(model="x", max_tokens=8, messages=MESSAGES, extra_body=GREEDY) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert [block.to_dict() for block in message.content] == [block.to_dict() for block in whole.content]
    assert text == "".join(block.text for block in whole.content)
    assert message.stop_reason == whole.stop_reason and message.usage.output_tokens == whole.usage.output_tokens
    kinds = [event.type for event in claude.messages.create(model="x", max_tokens=8, messages=MESSAGES, stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"


def test_anthropic_stops_and_continues(claude):
    begun = [*MESSAGES, {"role": "assistant", "content": "The fox"}]
    free = claude.messages.create(model="x", max_tokens=16, messages=begun, extra_body=GREEDY).content[0].text
    stopped = claude.messages.create(model="x", max_tokens=16, messages=begun, extra_body=GREEDY, stop_sequences=[free[5:8]])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == free[5:8]
    assert stopped.content[0].text == free[: free.index(free[5:8])]


def test_anthropic_reads_a_history_with_tools(claude):
    history = [
        *MESSAGES,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "A tool knows.", "signature": ""},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "abcdefghi", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "abcdefghi", "content": [{"type": "text", "text": "7"}]},
                {"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    tools = [{"name": "weather", "description": "The weather.", "input_schema": CITY}]
    message = claude.messages.create(
        model="x", max_tokens=8, messages=history, tools=tools, tool_choice={"type": "none"}, thinking={"type": "disabled"}
    )
    assert all(block.type in ("text", "thinking") for block in message.content)


def test_anthropic_holds_to_a_schema(claude):
    output = {"format": {"type": "json_schema", "schema": FOX}}
    message = claude.messages.create(model="x", max_tokens=100, messages=MESSAGES, extra_body={"output_config": output})
    assert 0 <= json.loads(message.content[0].text)["age"] <= 99


def test_anthropic_reads_errors(claude):
    import anthropic

    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model="x", max_tokens=8, messages=MESSAGES, extra_body={"temperature": "hot"})
    assert caught.value.body["error"]["type"] == "invalid_request_error" and "'temperature'" in str(caught.value)
    assert caught.value.body["request_id"] == caught.value.request_id
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\].type"):
        claude.messages.create(model="x", max_tokens=8, messages=[{"role": "user", "content": [image]}])
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        claude.messages.create(model="x", max_tokens=8, messages=[{"role": "user", "content": "word " * 5000}])
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        search = {"type": "web_search_20250305", "name": "web_search"}
        claude.messages.create(model="x", max_tokens=8, messages=MESSAGES, tools=[search])


def test_anthropic_calls_a_tool(claude):
    tools = [{"name": "weather", "description": "The weather of a city.", "input_schema": CITY}]
    asked = {"model": "x", "max_tokens": 200, "tools": tools, "extra_body": GREEDY}
    choice = {"type": "tool", "name": "weather"}
    message = claude.messages.create(messages=MESSAGES, tool_choice=choice, **asked)
    assert message.stop_reason == "tool_use", message
    call = message.content[-1]
    assert call.type == "tool_use" and call.name == "weather" and call.input["city"] in ("Oslo", "Rome")
    with claude.messages.stream(messages=MESSAGES, tool_choice=choice, **asked) as stream:
        streamed = stream.get_final_message()
    assert streamed.stop_reason == "tool_use" and streamed.content[-1].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "7 degrees"}
    history = [*MESSAGES, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    message = claude.messages.create(messages=history, tool_choice={"type": "none"}, **asked)
    assert message.stop_reason in ("end_turn", "max_tokens")


# OpenAI


def test_openai_responds(client):
    response = client.responses.create(
        model="x", input="Tell me of a fox.", instructions="Be short.", max_output_tokens=8, metadata={"a": "b"}
    )
    assert response.id.startswith("resp_") and response.status in ("completed", "incomplete")
    assert isinstance(response.output_text, str) and response.metadata == {"a": "b"} and response.error is None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.input_tokens_details.cached_tokens >= 0
    assert response.usage.output_tokens_details.reasoning_tokens == 0
    kept = client.responses.retrieve(response.id)
    assert kept.to_dict() == response.to_dict()
    count = client.responses.input_tokens.count(model="x", input="Tell me of a fox.", instructions="Be short.")
    assert count.input_tokens == response.usage.input_tokens
    client.responses.delete(response.id)
    with pytest.raises(Exception, match="not found"):
        client.responses.retrieve(response.id)


def test_openai_streams_a_response(client):
    # One that ends by itself, as this client takes a cut answer for an error.
    short = {"regex": "[a-z]{1,8}"}
    with client.responses.stream(model="x", input=MESSAGES, max_output_tokens=20, extra_body=short) as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == response.output_text and response.id == events[0].response.id
    kinds = [event.type for event in client.responses.create(model="x", input="A fox", max_output_tokens=4, stream=True)]
    assert kinds[-1] in ("response.completed", "response.incomplete")


def test_openai_goes_on_from_a_response(client):
    import openai

    first = client.responses.create(model="x", input="Tell me of a fox.", max_output_tokens=8)
    second = client.responses.create(model="x", input="And a boat?", previous_response_id=first.id, max_output_tokens=8)
    assert second.previous_response_id == first.id and second.usage.input_tokens > first.usage.input_tokens
    by_hand = [*MESSAGES, *[item.to_dict() for item in first.output], {"role": "user", "content": "And a boat?"}]
    count = client.responses.input_tokens.count(model="x", input=by_hand)
    assert count.input_tokens == second.usage.input_tokens
    unkept = client.responses.create(model="x", input="A hill.", store=False, max_output_tokens=1)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="x", input="And?", previous_response_id=unkept.id)
    assert caught.value.param == "previous_response_id"


def test_openai_parses_a_response(client):
    from pydantic import BaseModel, Field

    class Fox(BaseModel):
        tame: bool
        age: int = Field(ge=0, le=99)

    response = client.responses.parse(model="x", input="A fox.", text_format=Fox, max_output_tokens=300)
    assert isinstance(response.output_parsed, Fox), response


def test_openai_gets_log_probabilities(client):
    include = ["message.output_text.logprobs"]
    response = client.responses.create(model="x", input="A fox.", max_output_tokens=4, include=include, top_logprobs=2)
    logprobs = response.output[-1].content[0].logprobs
    assert len(logprobs) == response.usage.output_tokens and len(logprobs[0].top_logprobs) == 2


def test_openai_calls_a_tool_by_responses(client):
    tools = [{"type": "function", "name": "weather", "description": "The weather of a city.", "parameters": CITY}]
    choice = {"type": "function", "name": "weather"}
    asked = {"model": "x", "tools": tools, "max_output_tokens": 200, "temperature": 0}
    response = client.responses.create(input=MESSAGES, tool_choice=choice, **asked)
    call = response.output[-1]
    assert call.type == "function_call" and call.name == "weather" and call.status == "completed", response
    assert json.loads(call.arguments)["city"] in ("Oslo", "Rome")
    with client.responses.stream(input=MESSAGES, tool_choice=choice, **asked) as stream:
        events = list(stream)
        streamed = stream.get_final_response().output[-1]
    assert streamed.arguments == call.arguments
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "7 degrees"}
    asked["tool_choice"] = "none"
    kept = client.responses.create(input=[result], previous_response_id=response.id, **asked)
    history = [*MESSAGES, *[item.to_dict() for item in response.output], result]
    whole = client.responses.create(input=history, **asked)
    assert kept.output_text == whole.output_text and kept.usage.input_tokens == whole.usage.input_tokens


# Frameworks


def test_agents_answer(url):
    agents = pytest.importorskip("agents", reason="OpenAI's agents are not installed")
    import openai

    agents.set_tracing_disabled(True)

    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
            model = agents.OpenAIResponsesModel(model="x", openai_client=client)
            settings = agents.ModelSettings(max_tokens=8, extra_body={"regex": "[a-z]{1,8}"})
            agent = agents.Agent(name="a", instructions="Be short.", model=model, model_settings=settings)
            first = await agents.Runner.run(agent, "Tell me of a fox.")
            second = await agents.Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "And a boat?"}])
            streamed = agents.Runner.run_streamed(agent, "A hill.")
            kinds = [event.type async for event in streamed.stream_events()]
            return first.final_output, second.final_output, streamed.final_output, kinds

    first, second, streamed, kinds = asyncio.run(run())
    assert first and second and streamed and "raw_response_event" in kinds


def test_agents_call_a_tool(url):
    agents = pytest.importorskip("agents", reason="OpenAI's agents are not installed")
    import openai

    agents.set_tracing_disabled(True)
    called = []

    @agents.function_tool
    def fox(age: bool) -> str:
        """The age of the fox, or its name.

        Args:
            age: Whether it is the age that is asked for.
        """
        called.append(age)
        return "seven"

    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
            model = agents.OpenAIResponsesModel(model="x", openai_client=client)
            settings = agents.ModelSettings(tool_choice="required", max_tokens=200, temperature=0)
            agent = agents.Agent(
                name="a", model=model, tools=[fox], model_settings=settings, tool_use_behavior="stop_on_first_tool"
            )
            return await agents.Runner.run(agent, "How old is it?", max_turns=2)

    assert asyncio.run(run()).final_output == "seven" and called


def pydantic_models(url):
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    return [
        AnthropicModel("x", provider=AnthropicProvider(api_key="none", base_url=url)),
        OpenAIResponsesModel("x", provider=OpenAIProvider(api_key="none", base_url=url + "/v1")),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_pydantic_ai_answers(url, which):
    model = pydantic_models(url)[which]
    from pydantic_ai import Agent

    agent = Agent(model, instructions="Be short.", model_settings={"max_tokens": 8, "extra_body": {"regex": "[a-z]{1,8}"}})
    first = agent.run_sync("Tell me of a fox.")
    assert first.output and first.usage.output_tokens > 0
    assert agent.run_sync("And a boat?", message_history=first.all_messages()).output

    async def stream():
        async with agent.run_stream("A hill.") as result:
            return [text async for text in result.stream_text(debounce_by=None)]

    assert asyncio.run(stream())[-1]


@pytest.mark.parametrize("which", [0, 1])
def test_pydantic_ai_gets_a_form(url, which):
    """Asked for by a call of a tool that must be made."""
    model = pydantic_models(url)[which]
    from pydantic import BaseModel, Field
    from pydantic_ai import Agent

    class Fox(BaseModel):
        tame: bool
        age: int = Field(ge=0, le=99)

    agent = Agent(model, output_type=Fox, model_settings={"max_tokens": 300, "temperature": 0})
    assert isinstance(agent.run_sync("Tell me of a fox.").output, Fox)
