"""Real loops of tools, by each client in its own way, on a small model that was trained to call: it chooses the tool by itself, reads
what it gives, and answers."""

import asyncio
import json

import pytest
from conftest import ROOT, Server

QUESTION = "How warm is it in Oslo?"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Get the weather of a city.", "parameters": PARAMETERS}}


@pytest.fixture(scope="session")
def url():
    with Server("--slots", "4", "-c", "2048", "--temp", "0", "--reasoning-budget", "200", model=ROOT / "models" / "tools.gguf") as server:
        yield server.url


@pytest.fixture()
def client(url):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture()
def called():
    return []


@pytest.fixture()
def get_weather(called):
    def get_weather(city: str) -> str:
        """Get the weather of a city.

        Args:
            city: The name of the city.
        """
        called.append(city)
        return "7 degrees"

    return get_weather


def check(called, answer: str) -> None:
    assert called == ["Oslo"]
    assert "7 degrees" in answer, answer


def loop(complete, called, get_weather) -> str:
    """As OpenAI's documentation does it; `complete` gives the message of an answer."""
    messages = [{"role": "user", "content": QUESTION}]
    for _ in range(4):
        message = complete(messages)
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise AssertionError(f"it does not come to an end: {messages}")


def test_openai(client, called, get_weather):
    asked = {"model": "x", "tools": [TOOL], "max_tokens": 300, "temperature": 0}
    check(called, loop(lambda messages: client.chat.completions.create(messages=messages, **asked).choices[0].message, called, get_weather))


def test_openai_streams_thoughts_and_calls(client):
    stream = client.chat.completions.create(
        model="x", messages=[{"role": "user", "content": QUESTION}], tools=[TOOL], max_tokens=300, temperature=0, stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in stream]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    calls = [piece for delta in deltas for piece in delta.tool_calls or []]
    assert "Oslo" in thoughts and not any(delta.content for delta in deltas), deltas
    assert calls[0].function.name == "get_weather"
    assert json.loads("".join(piece.function.arguments for piece in calls)) == {"city": "Oslo"}


def test_thoughts_can_be_left_out(client):
    plain = {"chat_template_kwargs": {"enable_thinking": False}}
    asked = {"model": "x", "messages": [{"role": "user", "content": QUESTION}], "tools": [TOOL], "max_tokens": 300, "temperature": 0}
    message = client.chat.completions.create(**asked, extra_body=plain).choices[0].message
    assert not getattr(message, "reasoning_content", None) and message.tool_calls[0].function.name == "get_weather"


def test_calls_beside_each_other(client):
    asked = {"model": "x", "tools": [TOOL], "max_tokens": 300, "temperature": 0}
    question = {"role": "user", "content": "What is the weather in Lima and Rome?"}
    message = client.chat.completions.create(messages=[question], **asked).choices[0].message
    assert [json.loads(call.function.arguments)["city"] for call in message.tool_calls] == ["Lima", "Rome"]


def test_what_no_tool_can_do_is_declined(client):
    asked = {"model": "x", "tools": [TOOL], "max_tokens": 300, "temperature": 0}
    question = {"role": "user", "content": "Write a poem about the sea."}
    message = client.chat.completions.create(messages=[question], **asked).choices[0].message
    assert not message.tool_calls and "no tool" in message.content, message


def test_openai_by_responses(client, called, get_weather):
    tools = [{"type": "function", **TOOL["function"]}]
    response = client.responses.create(model="x", input=QUESTION, tools=tools, temperature=0, max_output_tokens=300)
    for _ in range(3):
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": get_weather(**json.loads(call.arguments))} for call in calls
        ]
        response = client.responses.create(
            model="x", input=results, previous_response_id=response.id, tools=tools, temperature=0, max_output_tokens=300
        )
    check(called, response.output_text)


def test_anthropic(url, called, get_weather):
    anthropic = pytest.importorskip("anthropic", reason="Anthropic's client is not installed")
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model="x", max_tokens=300, tools=[anthropic.beta_tool(get_weather)], messages=[{"role": "user", "content": QUESTION}]
        )
        last = runner.until_done()
    check(called, "".join(block.text for block in last.content if block.type == "text"))


def test_langchain(url, called, get_weather):
    agents = pytest.importorskip("langchain.agents", reason="LangChain's agents are not installed")
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="x", base_url=url + "/v1", api_key="none", temperature=0, max_tokens=300, max_retries=0)
    agent = agents.create_agent(model, tools=[get_weather])
    check(called, agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})["messages"][-1].content)


def test_llama_index(url, called, get_weather):
    like = pytest.importorskip("llama_index.llms.openai_like")
    from llama_index.core.agent.workflow import FunctionAgent

    llm = like.OpenAILike(
        model="x", api_base=url + "/v1", api_key="none", is_chat_model=True, is_function_calling_model=True, context_window=2048,
        max_tokens=300, temperature=0,
    )

    async def run():
        agent = FunctionAgent(tools=[get_weather], llm=llm)
        return str(await agent.run(QUESTION))

    check(called, asyncio.run(run()))


@pytest.mark.parametrize("which", ["chat", "responses", "anthropic"])
def test_pydantic_ai(url, called, get_weather, which):
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    if which == "anthropic":
        model = AnthropicModel("x", provider=AnthropicProvider(api_key="none", base_url=url))
    else:
        kind = OpenAIChatModel if which == "chat" else OpenAIResponsesModel
        model = kind("x", provider=OpenAIProvider(api_key="none", base_url=url + "/v1"))
    agent = Agent(model, tools=[get_weather], model_settings={"max_tokens": 300, "temperature": 0})
    check(called, agent.run_sync(QUESTION).output)


@pytest.mark.parametrize("which", ["OpenAIResponsesModel", "OpenAIChatCompletionsModel"])
def test_openai_agents(url, called, get_weather, which):
    agents = pytest.importorskip("agents", reason="OpenAI's agents are not installed")
    import openai

    agents.set_tracing_disabled(True)

    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
            model = getattr(agents, which)(model="x", openai_client=client)
            settings = agents.ModelSettings(max_tokens=300, temperature=0)
            agent = agents.Agent(name="a", model=model, tools=[agents.function_tool(get_weather)], model_settings=settings)
            return (await agents.Runner.run(agent, QUESTION, max_turns=4)).final_output

    check(called, asyncio.run(run()))


def test_litellm(url, called, get_weather):
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    asked = {"model": "openai/x", "api_base": url + "/v1", "api_key": "none", "tools": [TOOL], "max_tokens": 300, "temperature": 0}
    check(called, loop(lambda messages: litellm.completion(messages=messages, **asked).choices[0].message, called, get_weather))


def test_instructor(client):
    instructor = pytest.importorskip("instructor", reason="instructor is not installed")
    from pydantic import BaseModel

    class get_weather(BaseModel):
        """Get the weather of a city."""

        city: str

    structured = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    messages = [{"role": "user", "content": QUESTION}]
    wanted = structured.create(model="x", messages=messages, response_model=get_weather, max_tokens=300, temperature=0, max_retries=0)
    assert wanted.city == "Oslo"


def test_llm(url, called, get_weather):
    llm = pytest.importorskip("llm", reason="llm is not installed")
    from llm.default_plugins.openai_models import Chat

    model = Chat("x", api_base=url + "/v1", supports_tools=True)
    chain = model.chain(QUESTION, tools=[get_weather], key="none", options={"temperature": 0, "max_tokens": 300})
    text = chain.text()
    assert llm and text
    check(called, text)


def test_ollama(url, called, get_weather):
    ollama = pytest.importorskip("ollama", reason="Ollama's client is not installed")
    client = ollama.Client(host=url)
    messages = [{"role": "user", "content": QUESTION}]
    for _ in range(4):
        message = client.chat(model="tools", messages=messages, tools=[get_weather], options={"num_predict": 300, "temperature": 0}).message
        messages.append(message)
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_name": call.function.name, "content": get_weather(**call.function.arguments)})
    check(called, message.content)
    assert messages[1].thinking and "Oslo" in messages[1].thinking
