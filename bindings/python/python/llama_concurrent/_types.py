"""Types of arguments and results."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, Union

from ._check import check
from ._errors import DeadlineExceeded, InvalidRequest, LlamaError

if TYPE_CHECKING:
    import pandas

Prompt = Union[str, Sequence[int]]
"""A text to continue, or its tokens."""

Event = Union[
    tuple[str, Union[int, None], Union[tuple[float, list[tuple[int, float]]], None]],
    dict[str, Any],
    LlamaError,
]
"""An event of a generation: text, a token and its log probabilities, or at its end the arguments of `Result` or an
error."""

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error"]


class ChatPrompt(str):
    """A prompt rendered from messages: a str with marked ranges in which special tokens are plain text. A modified copy is an
    ordinary str, in which special tokens are parsed."""

    plain: list[tuple[int, int]]
    """Ranges of its UTF-8 bytes in which special tokens are not parsed."""

    def __new__(cls, text: str, plain: list[tuple[int, int]]) -> ChatPrompt:
        prompt = super().__new__(cls, text)
        prompt.plain = plain
        return prompt


class Message(TypedDict, total=False):
    """A message of a chat. The template gets all of its keys, including others than these."""

    role: str
    """The author: usually "system", "user", "assistant" or "tool"."""
    content: str | list[dict[str, Any]] | None
    """The content: a text, or a list of parts."""
    name: str
    """The name of the author or the tool."""
    tool_calls: list[dict[str, Any]]
    """The tools that the model called."""
    tool_call_id: str
    """The id of the tool call that this is the result of."""
    reasoning_content: str | None
    """The model's reasoning before the response."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How a prompt is continued. The defaults are greedy: the same prompt gives the same text.

    >>> SamplingParams(max_tokens=64, temperature=0.8, seed=7).seed
    7
    """

    # parameters: begin (of the table; UPDATE=1 cargo test --test generated)
    max_tokens: int | None = None
    """Output tokens at most. None: until the slot is full."""
    temperature: float = 0.0
    """0 takes the likeliest token each time (greedy); 1 samples the model's own distribution."""
    top_k: int = 40
    """Keep so many of the likeliest tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the likeliest tokens whose probabilities add up to this; 1 keeps all."""
    min_p: float = 0.05
    """Drop tokens less likely than this share of the likeliest; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens seen in the last `penalty_last_n`; 1 is off."""
    frequency_penalty: float = 0.0
    """Subtracted for each time that a token was seen in the last `penalty_last_n`; 0 is off."""
    presence_penalty: float = 0.0
    """Subtracted once if a token was seen in the last `penalty_last_n`; 0 is off."""
    penalty_last_n: int = 64
    """Window of the three penalties in tokens, over prompt and output; 0 turns them off."""
    seed: int | None = 0
    """Seed of the random choice: equal seeds give equal draws from equal distributions. Prompt i of several uses the
    seed + i. None draws one for each request or list."""
    stop: str | Collection[str] = ()
    """Texts that end the generation and are never part of the output. One that is the text of a special token, such as
    `<|im_end|>`, ends it at that token, whether or not special tokens are written."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of single tokens; minus infinity forbids one."""
    ignore_eos: bool = False
    """Do not end at the model's end-of-generation tokens; they are made impossible instead."""
    logprobs: int | None = None
    """With each token its log probability and so many of the likeliest tokens, at most 1000; with 0, its own alone.
    None: no log probabilities."""
    special: bool = False
    """Write special tokens into the text, such as `[TOOL_CALLS]` or `<|channel|>`, which are left out otherwise. The
    token that ends a generation is never part of it."""
    stop_token_ids: Collection[int] = ()
    """Tokens that end the generation as the model's own end-of-generation tokens do, and are no part of the output."""
    min_tokens: int = 0
    """Output tokens before which no token may end the generation; 0 is off. Stop strings end a text before, and so does
    a constraint under which it is complete."""
    typical_p: float = 1.0
    """Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is
    off."""
    top_n_sigma: float = 0.0
    """Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off."""
    xtc_probability: float = 0.0
    """How probable it is that of the tokens above `xtc_threshold` only the least likely stays; 0 is off."""
    xtc_threshold: float = 0.1
    """Probability from which a token counts for XTC; above 0.5 it is off."""
    dynatemp_range: float = 0.0
    """Moves the temperature by up to this, up where the model is undecided and down where it is sure; 0 is off."""
    dynatemp_exponent: float = 1.0
    """How the uncertainty is mapped to `dynatemp_range`; 1 is linear."""
    mirostat: int = 0
    """Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off."""
    mirostat_tau: float = 5.0
    """Mirostat's target for the surprise, in bits."""
    mirostat_eta: float = 0.1
    """Mirostat's learning rate."""
    dry_multiplier: float = 0.0
    """DRY: how much is subtracted from the logit of a token that would continue a repetition; 0 is off."""
    dry_base: float = 1.75
    """DRY: by what that grows with each token by which the repetition is longer than `dry_allowed_length`."""
    dry_allowed_length: int = 2
    """DRY: tokens that may be repeated at no cost."""
    dry_penalty_last_n: int = 64
    """DRY: window in tokens, over prompt and output, in which repetitions are looked for; 0 is off."""
    dry_sequence_breakers: str | Collection[str] = ("\n", ":", "\"", "*",)
    """DRY: texts across which nothing is a repetition, of at most 40 bytes each."""
    adaptive_target: float = -1.0
    """Adaptive-p in place of the last draw: prefers tokens about as probable as this, as the cuts have left them; below
    0 it is off."""
    adaptive_decay: float = 0.9
    """How long adaptive-p remembers how probable its tokens were: about 1 / (1 - this) of them."""
    # parameters: end

    parse_special: bool = True
    """Parse special tokens written out in a prompt. Set it to False for untrusted text."""
    priority: Literal["interactive", "batch"] = "interactive"
    """Scheduling priority. Lists of prompts always run as "batch"."""
    queue_timeout: float | None = None
    """End the request if it has not got a slot after this many seconds."""
    timeout: float | None = None
    """End the request if it has not finished after this many seconds."""
    json_schema: str | Mapping[str, Any] | type | None = None
    """A JSON schema that the output conforms to: JSON text, a dict, or a Pydantic model class. At most one of `json_schema`,
    `regex` and `grammar` may be set."""
    regex: str | None = None
    """A regular expression that the whole output matches, without look-around."""
    grammar: str | None = None
    """A grammar for the output: llguidance's variant of Lark with a rule `start`, or llama.cpp's GBNF with a rule `root`."""
    prefix_reuse: bool = True
    """Reuse the KV of an equal prompt prefix of another request."""

    def __post_init__(self) -> None:
        """Raises `InvalidRequest` for values that cannot be converted; the engine checks the rest."""
        check(SamplingParams, vars(self), InvalidRequest, most=2**32 - 1, logit_bias=2**31 - 1, stop_token_ids=2**31 - 1)
        for name in ("queue_timeout", "timeout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**63:
                raise InvalidRequest(f"{name} is {value}, but must be a number of seconds, 0 or more; None is no limit")


class TokenLogprobs(NamedTuple):
    """The log probability of a token under the model, before bias, penalties, temperature and constraint."""

    logprob: float
    """Natural logarithm of the token's probability."""
    top: list[tuple[int, float]]
    """The most likely tokens at its position and their log probabilities, in descending order."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished generation. Times are in seconds from the submission."""

    text: str
    """The whole output."""
    tokens: list[int]
    """All output tokens, without the end-of-generation token."""
    finish_reason: FinishReason
    """"stop" (end-of-generation token or stop string), "length", "cancelled", "deadline" or "error"."""
    stop_index: int | None = None
    """The index in `stop` of the string that ended it."""
    n_prompt_tokens: int = 0
    """Tokens of the prompt."""
    n_cached_tokens: int = 0
    """Prompt tokens that were reused instead of computed."""
    n_output_tokens: int = 0
    """Output tokens that were generated."""
    queue_time: float = 0.0
    """Time until the request got a slot."""
    ttft: float | None = None
    """Time to the first token, including queue time; None if there was none."""
    e2e_latency: float = 0.0
    """Time until the end."""
    itl: list[float] = field(default_factory=list, repr=False)
    """Times between successive output tokens."""
    error: LlamaError | None = None
    """The error; only in the results of a list."""
    logprobs: list[TokenLogprobs] = field(default_factory=list, repr=False)
    """One per token, if `SamplingParams.logprobs` is set."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; an error as its text."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"error": None if self.error is None else str(self.error)}


class Results(list[Result]):
    """The results of a list of prompts, in its order."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict for each result."""
        return [result.to_dict() for result in self]

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each result. Needs pandas."""
        import pandas

        return pandas.DataFrame(self.to_dicts())


@dataclass(frozen=True, kw_only=True)
class EngineStats:
    """A snapshot of the state of an engine. Counters start at 0 when it is loaded."""

    # figures: begin
    strategy: str
    """How requests share contexts and slots, never "auto"."""
    workers: int
    """Threads that own contexts."""
    contexts: int
    """Contexts over all workers."""
    slots: int
    """Requests that can run at once."""
    n_ctx: int
    """Tokens of prompt and output that one slot holds."""
    threads: int
    """Compute threads."""
    n_ctx_train: int
    """Tokens that the model was trained to look back on."""
    n_vocab: int
    """Tokens in the vocabulary."""
    model_bytes: int
    """Bytes of the weights as they lie in the file."""
    repack_bytes: int
    """Bytes of the weights that were repacked for this CPU."""
    kv_bytes: int
    """Bytes of the K and V caches."""
    compute_bytes: int
    """Bytes of scratch memory."""
    decode_calls: int
    """`llama_decode` calls that generated tokens."""
    decode_rows: int
    """Rows in them, which are tokens."""
    decode_time: float
    """Time in them. In seconds."""
    prefill_calls: int
    """`llama_decode` calls that computed prompts."""
    prefill_rows: int
    """Rows in them, which are prompt tokens."""
    prefill_time: float
    """Time in them. In seconds."""
    output_tokens: int
    """Output tokens."""
    cached_tokens: int
    """Prompt tokens that were reused instead of computed."""
    requests_submitted: int
    """Prompts that were accepted."""
    requests_rejected: int
    """Prompts that were refused because the queue was full."""
    requests_stopped: int
    """Ended by the model or a stop string."""
    requests_length: int
    """Ended by `max_tokens` or a full slot."""
    requests_cancelled: int
    """Cancelled."""
    requests_deadline: int
    """Out of time."""
    requests_failed: int
    """Failed."""
    requests_running: int
    """Prompts in a slot now."""
    requests_waiting: int
    """Prompts that wait for a slot now."""
    kernels: str
    """The instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" where those of
    ggml compute all. What share, says `kernels_share`."""
    weight_copies: int
    """Copies of the weights in memory: more than one on machines with several NUMA nodes."""
    strayed_threads: int
    """Compute threads that the system does not keep on the CPUs that they were meant for; 0 where it does not tell."""
    local_fraction: float | None
    """The least share, over all workers, of the pages of weights and KV that lie on the worker's NUMA node. None: the
    system does not tell."""
    pack_cache: str
    """Packed weights: "mapped" from the file that an earlier load has written, "written" by this one, or "off"."""
    kernels_share: float
    """Of the products of the model's matrices with a row, the share that this library's kernels compute, 0 to 1."""
    products: str
    """Which kernels compute which share of the products, by the formats of the weights, such as "ggml 61 % (Q4_1), avx2
    39 % (Q6_K)"."""
    cpus: list[int]
    """CPUs that the compute threads were planned for."""
    # figures: end

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


class NativeSampling:
    """`SamplingParams` as the native module reads them."""

    def __init__(self, params: SamplingParams, **changes: Any) -> None:
        if not isinstance(params, SamplingParams):
            raise TypeError(f"params is a SamplingParams, not {type(params).__name__}")
        self.__dict__.update({name: getattr(params, name) for name in params.__dataclass_fields__})
        self.json_schema: str | None = _schema_text(params.json_schema)
        self.seed: int = random.randrange(2**32) if params.seed is None else params.seed
        self.__dict__.update(changes)


def _schema_text(schema: str | Mapping[str, Any] | type | None) -> str | None:
    """A schema as JSON text; that of a Pydantic class is asked for by its name, so that nothing here needs Pydantic."""
    if schema is None or isinstance(schema, str):
        return schema
    of_class = getattr(schema, "model_json_schema", None)
    if of_class is not None:
        return as_json("json_schema", of_class())
    if isinstance(schema, Mapping):
        return as_json("json_schema", dict(schema))
    raise TypeError(f"json_schema is JSON text, a dict or a Pydantic model class, not {schema!r}")


def as_json(name: str, value: Any) -> str:
    """A value as JSON text. Raises `InvalidRequest` if it holds what JSON cannot."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{name} cannot be written as JSON: {error}") from None


def as_messages(messages: Iterable[Message]) -> str:
    """Messages as JSON text. Raises `TypeError` for anything else."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        example = '[{"role": "user", "content": "Hello"}]'
        raise TypeError(f"messages is a list of dicts such as {example}, not {type(messages).__name__}")
    checked = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(f"a message is a dict with 'role' and 'content', not {type(message).__name__}")
        if not isinstance(message.get("role"), str):
            raise TypeError(f"a message has a 'role', which is a str; this one has {sorted(map(str, message))}")
        checked.append(dict(message))
    return as_json("messages", checked)


def checked(result: Result) -> Result:
    """The same result; one that failed or ran out of time is raised."""
    if result.error is not None:
        raise result.error
    if result.finish_reason == "deadline":
        message = f"the time was over after {result.e2e_latency:.2f} s and {result.n_output_tokens} tokens"
        raise DeadlineExceeded(message, result)
    return result


def outcome(done: dict[str, Any] | LlamaError) -> Result:
    """A result of a list, with its error, if any."""
    if isinstance(done, dict):
        done["logprobs"] = [TokenLogprobs(*one) for one in done["logprobs"]]
        return Result(**done)
    return Result(text="", tokens=[], finish_reason="error", error=done)
