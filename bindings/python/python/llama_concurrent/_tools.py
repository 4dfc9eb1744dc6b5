"""Tools that models call: descriptions of Python functions, and the loop that calls them."""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union

from ._errors import InvalidRequest
from ._types import Message, Result

Tool = Union[Mapping[str, Any], Callable[..., Any]]
"""A tool as OpenAI's API describes one, or a Python function."""

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    dict: {"type": "object"},
    list: {"type": "array"},
    Any: {},
    inspect.Parameter.empty: {},
}


def tool_schema(tool: Tool) -> dict[str, Any]:
    """The description of a tool in the form of OpenAI's API.

    That of a function is made of its name, its annotations, and its docstring: the first paragraph, and the lines of a section
    `Args:`.

    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''The weather of a city.
    ...
    ...     Args:
    ...         city: Its name.
    ...     '''
    >>> tool_schema(weather)["function"]["parameters"]["properties"]
    {'city': {'type': 'string', 'description': 'Its name.'}, 'days': {'type': 'integer'}}

    Raises:
        InvalidRequest: A function has parameters that cannot be described.
    """
    if isinstance(tool, Mapping):
        return dict(tool)
    if not callable(tool):
        raise TypeError(f"a tool is a dict or a function, not {type(tool).__name__}")
    text, described = _docstring(inspect.getdoc(tool) or "")
    try:
        hints = typing.get_type_hints(tool, include_extras=True)
    except NameError as error:
        raise InvalidRequest(f"the annotations of {_name(tool)} cannot be read: {error}") from None
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(tool).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidRequest(f"{_name(tool)} has the parameter {parameter}, but a tool has named parameters only")
        schema = _schema(hints.get(name, parameter.annotation), f"{name} of {_name(tool)}")
        properties[name] = schema | ({"description": described[name]} if name in described else {})
        if parameter.default is parameter.empty:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": _name(tool), "description": text, "parameters": parameters}}


def _name(tool: Callable[..., Any]) -> str:
    return getattr(tool, "__name__", type(tool).__name__)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function, and of its parameters."""
    head, _, rest = text.partition("\n\n")
    section = re.search(r"^(?:Args|Arguments|Parameters):\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    described: dict[str, str] = {}
    name = ""
    for line in section[1].splitlines() if section else []:
        if begin := re.match(r"\s+(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line):
            name = begin[1]
            described[name] = begin[2]
        elif name and line.strip():
            described[name] += " " + line.strip()
    return " ".join(head.split()), described


def _schema(kind: Any, place: str) -> dict[str, Any]:
    """The JSON schema of an annotation."""
    try:
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
    except TypeError:  # not hashable
        pass
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        texts = [text for text in arguments[1:] if isinstance(text, str)]
        return _schema(arguments[0], place) | ({"description": texts[0]} if texts else {})
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(one, place) for one in arguments]}
    if origin in (list, set, frozenset, tuple) or origin in (typing.get_origin(Iterable[int]),):
        items = [one for one in arguments if one is not Ellipsis]
        return {"type": "array", "items": _schema(items[0], place)} if len(items) == 1 else {"type": "array"}
    if origin in (dict, typing.get_origin(Mapping[str, int])):
        return {"type": "object", "additionalProperties": _schema(arguments[1], place)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    try:
        from pydantic import TypeAdapter

        schema: dict[str, Any] = TypeAdapter(kind).json_schema()
        return schema
    except ImportError:
        raise InvalidRequest(f"{place} is a {kind}, whose schema needs pydantic: pip install pydantic") from None
    except Exception as error:
        raise InvalidRequest(f"{place} is a {kind}, which has no JSON schema: {error}") from None


class ToolRun:
    """A chat with the calls that were made in it."""

    messages: list[Message]
    """The whole conversation: what was given, the answers of the model, and the results of its calls."""
    result: Result | None = None
    """The last answer, which has no calls."""

    def __init__(self, messages: Iterable[Message], tools: Iterable[Callable[..., Any]], max_turns: int) -> None:
        if max_turns < 0:
            raise InvalidRequest(f"max_turns is {max_turns}, but must be a number of answers, 0 or more")
        self.messages = list(messages)
        self._given = len(self.messages)
        self._functions = _by_name(tools)
        self._left = max_turns

    @property
    def text(self) -> str:
        """The content of the last answer."""
        return "" if self.result is None else self.result.text

    @property
    def is_over(self) -> bool:
        """Whether the last answer has no calls."""
        return self.result is not None

    def options(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the next `chat`."""
        options = {"tools": list(self._functions.values()), **template}
        if self._left <= 0:
            options["tool_choice"] = "none"
        elif len(self.messages) > self._given and options.get("tool_choice") != "none":
            options["tool_choice"] = "auto"  # otherwise it could never answer
        return options

    def add(self, result: Result) -> None:
        """Takes an answer, and calls what it asks for."""
        for call in self._take(result):
            self.messages.append(_answer(call, _guarded(self._functions, call)))

    async def add_async(self, result: Result) -> None:
        """As `add`; all calls of an answer run at the same time."""
        calls = self._take(result)

        async def run(call: Mapping[str, Any]) -> Any:
            returned = await asyncio.to_thread(_guarded, self._functions, call)
            if not inspect.isawaitable(returned):
                return returned
            try:
                return await returned
            except Exception as error:
                return _failure(error)

        for call, returned in zip(calls, await asyncio.gather(*map(run, calls))):
            self.messages.append(_answer(call, returned))

    def _take(self, result: Result) -> list[dict[str, Any]]:
        assert result.message is not None, "the answer to a chat has a message"
        self.messages.append(result.message)
        calls = result.message.get("tool_calls", [])
        # An answer that was cut off may end within a call, which is then not made.
        if not calls or result.finish_reason != "tool_calls":
            self.result = result
            return []
        self._left -= 1
        return calls


def _guarded(functions: Mapping[str, Callable[..., Any]], call: Mapping[str, Any]) -> Any:
    """What the function of a call returns. What goes wrong is a text, for the model to read."""
    function = call["function"]
    known = functions.get(function["name"])
    if known is None:
        return f"Error: there is no tool {function['name']!r}; there are {', '.join(functions)}"
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError as error:
        return f"Error: the arguments are not JSON: {error}"
    if not isinstance(arguments, dict):
        return "Error: the arguments must be a JSON object"
    try:
        return known(**arguments)
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> str:
    return f"Error: {type(error).__name__}: {error}"


def _answer(call: Mapping[str, Any], returned: Any) -> Message:
    """The message with the result of a call: a str as it is, anything else as JSON."""
    if not isinstance(returned, str):
        returned = json.dumps(returned, ensure_ascii=False, default=str)
    message = {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": returned}
    return typing.cast(Message, message)


def _by_name(tools: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Functions by the names under which a model calls them."""
    functions: dict[str, Callable[..., Any]] = {}
    for tool in tools:
        if not callable(tool):
            raise TypeError(f"run_tools calls Python functions, and {type(tool).__name__} is none; describe it in `chat`")
        if _name(tool) in functions:
            raise InvalidRequest(f"two tools have the name {_name(tool)}")
        functions[_name(tool)] = tool
    return functions
