"""Conversations with tools for the tool model: questions, thoughts, calls, results, answers, and refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from jinja2 import Environment
from tool_catalogue import BEYOND, KINDS, SMALL_TALK, WORDS, Kind, Slot, code, person, place, sentence, syllables, topic

START, END, UNUSED = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CONTROL_TOKENS = [UNUSED, START, END]
MARKUP = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
CHAT_TEMPLATE = Path(__file__).with_name("tool_template.jinja").read_text(encoding="utf-8")

_environment = Environment()
_environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
_template = _environment.from_string(CHAT_TEMPLATE)

SYSTEM = ["You are a helpful assistant.", "You are a friendly assistant.", "Be brief.", "Answer the questions of the user.", "You help people.", "Use the tools.",
          "You are an agent. Use the tools that you are given.", "Call a tool where one can help.", "You are a helpful agent. Answer in one sentence.", "Be concise, reply with one sentence.",
          "You are an assistant of a small company.", "Reply politely.", "Today is a good day.", "You answer questions about the weather.", "You are a coding agent.",
          "You are a helpful assistant with access to tools. Use them to answer. Do not guess."]


def render(messages: list[dict], **values: Any) -> str:
    return _template.render(messages=messages, **values)


class Tool:
    """A kind of tool under names of its own."""

    def __init__(self, kind: Kind, rng: Random) -> None:
        self.kind = kind
        self.name = rng.choice(kind.names.split("/"))
        if rng.random() < 0.05:
            self.name = rng.choice(["my_", "tool_", "api_", "do_"]) + self.name
        if rng.random() < 0.05 and "_" in self.name:
            first, *rest = self.name.split("_")
            self.name = first + "".join(word.capitalize() for word in rest)
        self.slots = [slot for slot in kind.slots if not slot.optional or rng.random() < 0.5]
        taken: set[str] = set()
        self.parameters: dict[str, str] = {}
        for slot in self.slots:
            name = rng.choice([name for name in slot.names.split("/") if name not in taken])
            taken.add(name)
            self.parameters[slot.name] = name
        self.description = rng.choice(kind.says.split("/")) if rng.random() < 0.93 else ""
        self.loose = rng.random() < 0.05  # says nothing of types

    def schema(self) -> dict:
        properties = {self.parameters[slot.name]: {} if self.loose else _type(slot) for slot in self.slots}
        required = [self.parameters[slot.name] for slot in self.slots if not slot.optional]
        function = {"name": self.name, "parameters": {"type": "object", "properties": properties, "required": required}}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}

    def call(self, values: dict) -> dict:
        arguments = {self.parameters[slot.name]: values[slot.name] for slot in self.slots if slot.name in values}
        return {"type": "function", "function": {"name": self.name, "arguments": arguments}}


def _type(slot: Slot) -> dict:
    if "|" in slot.kind:
        return {"type": "string", "enum": slot.kind.split("|")}
    return {"type": "array", "items": {"type": "string"}} if slot.kind == "strings" else {"type": slot.kind}


def made_up(rng: Random) -> Kind:
    """A tool that nobody has heard of, whose question says what to pass."""
    name = rng.choice([syllables(rng), f"{syllables(rng)}_{rng.choice(WORDS)}", f"{rng.choice(['get', 'set', 'make', 'run', 'check', 'open', 'count'])}_{rng.choice(WORDS)}", f"{rng.choice(WORDS)}_{rng.choice(WORDS)}"])
    makers = [("string", lambda r: r.choice([r.choice(WORDS), syllables(r), code(r), person(r), place(r)])), ("integer", lambda r: r.randint(0, 999)), ("string", topic), ("boolean", lambda r: r.random() < 0.5)]
    slots = []
    for parameter in rng.sample(WORDS + ["size", "name", "id", "count", "kind", "user", "level", "mode", "key", "value"], rng.choice([0, 1, 1, 1, 2, 2, 3])):
        kind, value = rng.choice(makers)
        slots.append(Slot(parameter, parameter, kind, value, optional=False))
    what = " and ".join(f"{slot.name} {{{slot.name}}}" for slot in slots)
    verb = rng.choice(["Call {}", "Use {}", "Run {}", "Please use {}", "Try {}", "Use the tool {}", "Call the tool {}"]).format(name)
    ask = f"{verb} with {what}." if slots else f"{verb}."
    says = rng.choice([f"{name.replace('_', ' ').capitalize()}.", sentence(rng).capitalize() + ".", f"Works on {rng.choice(WORDS)}.", "A tool."])
    result = lambda values, r: r.choice([r.randint(0, 999), sentence(r), {rng.choice(WORDS): r.randint(0, 99)}, "ok", topic(r), code(r)])
    return Kind(name, says, slots, ask, f"{name}", result, f"{name} says: {{result}}.")


def flat(result: Any) -> str:
    """A result in words."""
    if isinstance(result, dict):
        return ", ".join(f"{key} {flat(value)}" for key, value in result.items())
    if isinstance(result, list):
        return ", ".join(map(flat, result))
    return str(result).lower() if isinstance(result, bool) else str(result).rstrip(".")


def told(values: dict, tool: Tool) -> dict:
    return {key: " and ".join(value) if isinstance(value, list) else flat(value) if isinstance(value, bool) else value for key, value in values.items()}


class Question:
    """A question that a tool answers, what is passed to it, what it gives back, and what is said of that."""

    def __init__(self, tool: Tool, rng: Random) -> None:
        self.tool, kind = tool, tool.kind
        asks = kind.asks.split("|")
        optional = {slot.name for slot in kind.slots if slot.optional}
        here = {slot.name for slot in tool.slots}
        asks = [ask for ask in asks if all(f"{{{name}}}" not in ask or name in here for name in optional)]
        self.ask = rng.choice(asks)
        values = {slot.name: slot.value(rng) for slot in tool.slots}
        self.values = {name: value for name, value in values.items() if name not in optional or f"{{{name}}}" in self.ask}
        words = told(self.values, tool)
        self.text = self.ask.format(**words)
        roll = rng.random()
        if roll < 0.1:
            self.text = "Please: " + self.text
        elif roll < 0.2:
            self.text = f"{self.text} Use the tool."
        elif roll < 0.27:
            self.text = f"{rng.choice(['Use', 'Call'])} {tool.name}. {self.text}"
        elif roll < 0.32:
            self.text = self.text.rstrip(".?!")
        elif roll < 0.37:
            self.text = self.text.lower() if all(str(value).islower() or not isinstance(value, str) for value in self.values.values()) else self.text
        self.purpose = kind.purpose.format(**words)
        self.call = tool.call(self.values)
        fails = rng.random() < 0.06
        self.result = rng.choice(["Error: not found", f"Error: {topic(rng)}", "Error: timeout", {"error": topic(rng)}]) if fails else kind.result(self.values, rng)
        self.answer = f"That failed: {flat(self.result)}." if fails else kind.answer.format(**words, result=flat(self.result))
        if self.result in ("ok", "done", "OK", "success") and "{result}" in kind.answer:
            self.answer = kind.answer.format(**words, result=self.result)

    def content(self, rng: Random) -> str:
        return self.result if isinstance(self.result, str) else json.dumps(self.result, ensure_ascii=False)


def toolbox(rng: Random, wanted: list[Kind], most: int = 6) -> tuple[list[Tool], list[Tool]]:
    """A list of tools with the wanted ones among them, and those."""
    others = [kind for kind in rng.sample(KINDS, min(len(KINDS), most)) if kind not in wanted][: rng.choice([0, 0, 0, 1, 1, 2, 3, 4, most])]
    if rng.random() < 0.2:
        others = others[:-1] + [made_up(rng)]
    chosen = [Tool(kind, rng) for kind in wanted]
    names = {tool.name for tool in chosen}
    every = list(chosen)
    for kind in others:
        tool = Tool(kind, rng)
        if tool.name not in names:
            names.add(tool.name)
            every.append(tool)
    rng.shuffle(every)
    return every, chosen


def pick(rng: Random) -> Kind:
    roll = rng.random()
    return made_up(rng) if roll < 0.22 else KINDS[rng.choice([0, 0, 1, 2, 5])] if roll < 0.4 else rng.choice(KINDS)


def thought(rng: Random, text: str) -> str:
    return rng.choice(["The user wants ", "I need ", "This asks for "]) + text


def assistant(content: str = "", thinks: str = "", calls: list[dict] | None = None) -> dict:
    return {"role": "assistant", "content": content, "reasoning_content": thinks, "tool_calls": calls or []}


def exchange(rng: Random, questions: list[Question], thoughtful: bool) -> list[dict]:
    """A question, one call for each of the questions in it, their results, and the answer."""
    text = questions[0].text if len(questions) == 1 else rng.choice([" And: ", " ", " Then: "]).join(question.text for question in questions)
    names = " and ".join(dict.fromkeys(question.tool.name for question in questions))
    thinks = thought(rng, f"{' and '.join(question.purpose for question in questions)}. I call {names}.") if thoughtful else ""
    messages = [{"role": "user", "content": text}, assistant(thinks=thinks, calls=[question.call for question in questions])]
    messages += [{"role": "tool", "content": question.content(rng)} for question in questions]
    last = "The tool has answered." if len(questions) == 1 else "The tools have answered."
    return [*messages, assistant(" ".join(question.answer for question in questions), last if thoughtful else "")]


def by_heart(rng: Random) -> list[dict]:
    """What can only be answered by copying from the question: what most of a call is, learned by itself."""
    def word() -> str:
        return rng.choice([rng.choice(WORDS), rng.choice(WORDS), syllables(rng), code(rng), person(rng), place(rng), str(rng.randint(0, 999))])

    if rng.random() < 0.5:
        text = " ".join(word() for _ in range(rng.randint(1, 14)))
        return [{"role": "user", "content": rng.choice(["Repeat: {}", "Say: {}", "Write {}", 'Say "{}"', "Repeat {}"]).format(text)}, assistant(text)]
    pairs = {word(): word() for _ in range(rng.randint(1, 6))}
    key = rng.choice(list(pairs))
    listed = rng.choice([", ", "; ", "\n"]).join(f"{name}{rng.choice([': ', ' is ', ' = '])}{value}" for name, value in pairs.items())
    return [{"role": "user", "content": f"{listed}. What is {key}?"}, assistant(f"{key} is {pairs[key]}.")]


def conversation(rng: Random) -> tuple[list[dict], dict]:
    """Messages that end with an answer of the assistant, and the values of the template."""
    if rng.random() < 0.3:
        messages = by_heart(rng)
        thoughtful = rng.random() < 0.3
        messages[-1]["reasoning_content"] = "I can answer that myself." if thoughtful else ""
        return messages, {"enable_thinking": thoughtful}
    roll = rng.random()
    thoughtful = rng.random() < 0.6
    kinds: list[Kind] = [pick(rng)]
    if 0.40 <= roll < 0.55:
        kinds = kinds * rng.choice([2, 2, 3]) if rng.random() < 0.6 and kinds[0].slots else [kinds[0], pick(rng)]
    tools, chosen = toolbox(rng, list({id(kind): kind for kind in kinds}.values()))
    by_kind = {id(tool.kind): tool for tool in chosen}
    asked = [Question(by_kind[id(kind)], rng) for kind in kinds]
    if len(asked) > 1 and asked[0].tool is asked[1].tool and rng.random() < 0.7:  # the weather in Oslo and Rome
        for other in asked[1:]:
            slot = rng.choice(other.tool.slots)
            if len(other.values) == 1 and isinstance(other.values.get(slot.name), str):
                asked[0].text = asked[0].text.replace(str(asked[0].values[slot.name]), f"{asked[0].values[slot.name]} and {other.values[slot.name]}", 1) if asked[0].values.get(slot.name) else asked[0].text + " " + other.text
                other.text = ""
            break
        if len(asked) > 2 or asked[1].text:
            asked = asked[:1] if asked[1].text else asked[:2]
    messages: list[dict] = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(SYSTEM) if rng.random() < 0.8 else sentence(rng).capitalize() + ". " + rng.choice(SYSTEM)})
    if rng.random() < 0.25:  # what was said before
        earlier = Question(rng.choice(chosen), rng)
        messages += rng.choice([exchange(rng, [earlier], False), [{"role": "user", "content": "Hello"}, assistant("Hello! How can I help you?")]])
    values: dict = {"tools": [tool.schema() for tool in tools]}
    if roll < 0.55:
        messages += _joined(exchange(rng, asked, thoughtful))
    elif roll < 0.66:  # one call after the other
        steps = exchange(rng, asked, thoughtful)
        again = Question(asked[0].tool, rng)
        steps[0]["content"] = f"{asked[0].text} {rng.choice(['Then:', 'After that:', 'And then:'])} {again.text}"
        second = exchange(rng, [again], thoughtful)[1:]
        second[-1]["content"] = f"{steps[-1]['content']} {second[-1]['content']}"
        messages += steps[:-1] + second
    elif roll < 0.72:  # no tool can do it
        question = rng.choice(BEYOND)
        messages += [{"role": "user", "content": question}, assistant("I have no tool for that.", "No tool can do that." if thoughtful else "")]
    elif roll < 0.77:  # a tool that is not there
        stranger = Question(Tool(rng.choice([kind for kind in KINDS if kind not in [tool.kind for tool in tools]]), rng), rng)
        stranger.text = stranger.ask.format(**told(stranger.values, stranger.tool))
        messages += [{"role": "user", "content": stranger.text}, assistant("I have no tool for that.", "No tool can do that." if thoughtful else "")]
    elif roll < 0.81:
        question = Question(Tool(rng.choice(KINDS), rng), rng)
        values = {}
        messages += [{"role": "user", "content": question.ask.format(**told(question.values, question.tool))}, assistant("I have no tool for that.", "There are no tools." if thoughtful else "")]
    elif roll < 0.92:
        question, answer = rng.choice(SMALL_TALK)
        values = values if rng.random() < 0.5 else {}
        messages += [{"role": "user", "content": question}, assistant(answer, "I can answer that myself." if thoughtful else "")]
    else:
        messages += exchange(rng, asked[:1], thoughtful)
    values["enable_thinking"] = thoughtful
    return messages, values


def _joined(messages: list[dict]) -> list[dict]:
    messages[0]["content"] = " ".join(messages[0]["content"].split())
    for mark in (" And:", " Then:", " And: ", " Then: "):
        messages[0]["content"] = messages[0]["content"].removesuffix(mark)
    return messages


def documents(seed: int) -> Iterator[str]:
    """Conversations as the template writes them. Each ends with a message of the last exchange as it is generated: behind the
    prompt, with its thoughts, or without them behind the empty thought that the prompt ends with."""
    rng = Random(seed)
    while True:
        messages, values = conversation(rng)
        asked = max(i for i, message in enumerate(messages) if message["role"] == "user")
        end = rng.choice([i for i, message in enumerate(messages) if message["role"] == "assistant" and i > asked])
        if rng.random() < 0.3:
            for message in messages[:end]:  # clients that send no thoughts back
                message.pop("reasoning_content", None)
        prompt = render(messages[:end], add_generation_prompt=True, **values)
        target = messages[end]
        alone = render([{"role": "user", "content": ""}, target])
        reply = alone[alone.index(f"{START}assistant\n") + len(f"{START}assistant\n") :]
        yield prompt + reply.rstrip("\n")
