"""Calls of tools: descriptions of functions, the loop that calls them, and the pieces of an answer as it comes."""

import asyncio
import enum
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from llama_concurrent import InvalidRequest, SamplingParams, tool_schema

SHORT = SamplingParams(max_tokens=120)
MESSAGES = [{"role": "user", "content": "Please switch the lamp on."}]


def lamp(state: Literal["on", "off"]) -> str:
    """Switch the lamp on or off."""
    return f"It is {state}."


def arguments(tool) -> dict[str, Any]:
    return tool_schema(tool)["function"]["parameters"]["properties"]


def test_functions_are_described_by_annotations_and_docstring():
    class Colour(enum.Enum):
        RED = "red"
        BLUE = "blue"

    def paint(
        thing: str,
        colour: Colour,
        parts: list[int],
        layers: Optional[int] = None,
        where: Union[str, dict] = "here",
        notes: Annotated[Sequence[str], "What to mind"] = (),
        sizes: Mapping[str, float] = {},
        anything=None,
    ) -> None:
        """Paint a thing,
        wherever it is.

        Args:
            thing: What to paint,
                in a word.
            colour (Colour): Of the paint.
        """

    described = tool_schema(paint)
    assert described["type"] == "function"
    assert described["function"]["name"] == "paint"
    assert described["function"]["description"] == "Paint a thing, wherever it is."
    assert described["function"]["parameters"]["required"] == ["thing", "colour", "parts"]
    assert arguments(paint) == {
        "thing": {"type": "string", "description": "What to paint, in a word."},
        "colour": {"enum": ["red", "blue"], "description": "Of the paint."},
        "parts": {"type": "array", "items": {"type": "integer"}},
        "layers": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "where": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "notes": {"type": "array", "items": {"type": "string"}, "description": "What to mind"},
        "sizes": {"type": "object", "additionalProperties": {"type": "number"}},
        "anything": {},
    }
    assert tool_schema(described) == described


def test_functions_that_cannot_be_described():
    with pytest.raises(InvalidRequest, match="named parameters only"):
        tool_schema(lambda *many: None)
    with pytest.raises(TypeError, match="a dict or a function"):
        tool_schema("lamp")

    def odd(x: "Missing") -> None:  # noqa: F821
        pass

    with pytest.raises(InvalidRequest, match="annotations of odd"):
        tool_schema(odd)


def test_run_tools_calls_and_comes_back(engine):
    called = []

    def lamp(state: Literal["on", "off"]) -> dict:
        """Switch the lamp on or off."""
        called.append(state)
        return {"state": state}

    run = engine.run_tools(MESSAGES, [lamp], SHORT, max_turns=1, tool_choice="required", parallel_tool_calls=False)
    assert called in (["on"], ["off"])
    assert [message["role"] for message in run.messages] == ["user", "assistant", "tool", "assistant"]
    call = run.messages[1]["tool_calls"][0]
    assert call["function"]["name"] == "lamp" and json.loads(call["function"]["arguments"]) == {"state": called[0]}
    assert run.messages[2]["tool_call_id"] == call["id"]
    assert json.loads(run.messages[2]["content"]) == {"state": called[0]}
    assert run.is_over and run.text == run.messages[3].get("content", "") and run.result.message is run.messages[3]
    assert MESSAGES == [{"role": "user", "content": "Please switch the lamp on."}], "what was given is left alone"


def test_what_goes_wrong_in_a_tool_is_told_to_the_model(engine):
    def lamp(state: Literal["on", "off"]) -> str:
        raise OSError("no such lamp")

    run = engine.run_tools(MESSAGES, [lamp], SHORT, max_turns=1, tool_choice="required", parallel_tool_calls=False)
    assert run.messages[2]["content"] == "Error: OSError: no such lamp"


def test_a_call_that_was_cut_off_is_not_made(engine):
    def lamp(state: Literal["on", "off"]) -> str:
        raise AssertionError("it must not be called")

    run = engine.run_tools(MESSAGES, [lamp], SamplingParams(max_tokens=4), tool_choice="required")
    assert run.is_over and run.result.finish_reason == "length" and len(run.messages) == 2


def test_run_tools_refuses_what_makes_no_sense(engine):
    with pytest.raises(TypeError, match="describe it in `chat`"):
        engine.run_tools(MESSAGES, [tool_schema(lamp)], SHORT)
    with pytest.raises(InvalidRequest, match="two tools"):
        engine.run_tools(MESSAGES, [lamp, lamp], SHORT)
    with pytest.raises(InvalidRequest, match="max_turns"):
        engine.run_tools(MESSAGES, [lamp], SHORT, max_turns=-1)
    with pytest.raises(InvalidRequest, match="door"):
        door = {"type": "function", "function": {"name": "door"}}
        engine.run_tools(MESSAGES, [lamp], SHORT, tool_choice=door)


def test_the_pieces_of_an_answer_are_openai_deltas(engine):
    stream = engine.stream_chat(MESSAGES, SHORT, tools=[lamp], tool_choice="required", parallel_tool_calls=False)
    content, name, pieces, ids = "", "", "", []
    for delta in stream.deltas():
        content += delta.get("content") or ""
        for call in delta.get("tool_calls", []):
            assert call["index"] == 0
            ids += [call["id"]] if "id" in call else []
            name += call["function"].get("name", "")
            pieces += call["function"].get("arguments", "")
    assert stream.result is not None and stream.result.finish_reason == "tool_calls"
    message = stream.result.message
    assert name == "lamp" and ids == [message["tool_calls"][0]["id"]]
    assert pieces == message["tool_calls"][0]["function"]["arguments"]
    assert json.loads(pieces)["state"] in ("on", "off")
    assert content == (message.get("content") or "")


def test_calls_of_one_answer_run_at_the_same_time():
    from llama_concurrent import AsyncEngine

    async def lamp(state: Literal["on", "off"]) -> str:
        await asyncio.sleep(0)
        return f"It is {state}."

    async def main():
        async with await AsyncEngine.load(slots=2, threads=1, pin=False) as engine:
            options = {"max_turns": 1, "tool_choice": "required", "parallel_tool_calls": False}
            runs = await asyncio.gather(*(engine.run_tools(MESSAGES, [lamp], SHORT, **options) for _ in range(2)))
            for run in runs:
                assert run.messages[2]["content"] in ("It is on.", "It is off.") and run.is_over

    asyncio.run(main())
