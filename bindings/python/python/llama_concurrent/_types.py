"""Types of arguments and results."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, Union

from ._check import check
from ._errors import InvalidRequest, LlamaError

if TYPE_CHECKING:
    import pandas

    from ._native import NativeReplyForm

Prompt = Union[str, Sequence[int]]
"""A text to continue, or its tokens."""

Event = Union[
    tuple[str, Union[int, None], Union[tuple[float, list[tuple[int, float]]], None]],
    tuple[str, Union[int, None], Union[tuple[float, list[tuple[int, float]]], None], list[dict[str, Any]]],
    dict[str, Any],
    LlamaError,
]
"""An event of a generation: text, a token, its log probabilities and, of a chat, the deltas of the answer; or at its end the
arguments of `Result` or an error."""

FinishReason = Literal["stop", "length", "tool_calls", "cancelled", "deadline", "error"]


class ChatPrompt(str):
    """A prompt rendered from messages: a str with marked ranges in which special tokens are plain text. A modified copy is an
    ordinary str, in which special tokens are parsed."""

    plain: list[tuple[int, int]]
    """Ranges of its UTF-8 bytes in which special tokens are not parsed."""
    form: NativeReplyForm | None
    """How the answer is read: into thoughts, content and calls of tools."""

    def __new__(cls, text: str, plain: list[tuple[int, int]], form: NativeReplyForm | None = None) -> ChatPrompt:
        prompt = super().__new__(cls, text)
        prompt.plain = plain
        prompt.form = form
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
    """Maximum number of output tokens. None: until the slot is full."""
    temperature: float = 0.0
    """0 takes the likeliest token each time (greedy); 1 samples the model's own distribution."""
    top_k: int = 40
    """Keep only this many of the likeliest tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep only the likeliest tokens whose probabilities add up to this; 1 keeps all."""
    min_p: float = 0.05
    """Drop tokens whose probability is below this fraction of the likeliest token's; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens that occur among the last `penalty_last_n`; 1 is off."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time that it occurs among the last `penalty_last_n`; 0 is off."""
    presence_penalty: float = 0.0
    """Subtracted from a token's logit if it occurs among the last `penalty_last_n`; 0 is off."""
    penalty_last_n: int = 64
    """How many tokens, of prompt and output, the three penalties look back on; 0 turns them off."""
    seed: int | None = 0
    """Seed of the random number generator: equal seeds draw equally from equal distributions. Of several prompts,
    number i uses this seed + i. None draws one for each request or list."""
    stop: str | Collection[str] = ()
    """Strings that end the generation; they are never part of the output. One that spells a special token, such as
    `<|im_end|>`, ends it at that token, even where special tokens are not written."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Values added to the logits of individual tokens; minus infinity forbids a token."""
    ignore_eos: bool = False
    """Do not end at the model's end-of-generation tokens, which are made impossible instead."""
    logprobs: int | None = None
    """Report the log probability of each token and of this many of the likeliest tokens, at most 1000; 0 reports only
    its own. None: no log probabilities."""
    special: bool = False
    """Write special tokens, such as `[TOOL_CALLS]` or `<|channel|>`, into the text; otherwise they are left out. The
    token that ends a generation is never part of it."""
    stop_token_ids: Collection[int] = ()
    """Tokens that end the generation as the model's own end-of-generation tokens do; they are not part of the
    output."""
    min_tokens: int = 0
    """Number of output tokens before which no token may end the generation; 0 is off. A stop string still may, and so
    may a constraint whose text is complete."""
    typical_p: float = 1.0
    """Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is
    off."""
    top_n_sigma: float = 0.0
    """Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off."""
    xtc_probability: float = 0.0
    """Probability that XTC drops all but the least likely of the tokens above `xtc_threshold`; 0 is off."""
    xtc_threshold: float = 0.1
    """Probability at and above which a token counts for XTC; above 0.5, XTC is off."""
    dynatemp_range: float = 0.0
    """Lets the temperature vary by up to this: up where the model is undecided, down where it is sure; 0 is off."""
    dynatemp_exponent: float = 1.0
    """How uncertainty maps to `dynatemp_range`; 1 is linear."""
    mirostat: int = 0
    """Use Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off."""
    mirostat_tau: float = 5.0
    """Mirostat's target surprise, in bits."""
    mirostat_eta: float = 0.1
    """Mirostat's learning rate."""
    dry_multiplier: float = 0.0
    """DRY: strength of the penalty on tokens that would continue a repetition; 0 is off."""
    dry_base: float = 1.75
    """DRY: factor by which the penalty grows with each token of repetition beyond `dry_allowed_length`."""
    dry_allowed_length: int = 2
    """DRY: length in tokens up to which a repetition goes unpenalised."""
    dry_penalty_last_n: int = 64
    """DRY: how many tokens, of prompt and output, are searched for repetitions; 0 is off."""
    dry_sequence_breakers: str | Collection[str] = ("\n", ":", "\"", "*",)
    """DRY: strings that no repetition extends across, of at most 40 bytes each."""
    adaptive_target: float = -1.0
    """Adaptive-p, in place of the final draw: prefer tokens of about this probability among those that the cuts leave;
    below 0 it is off."""
    adaptive_decay: float = 0.9
    """Adaptive-p: how slowly the probabilities of earlier tokens are forgotten; about 1 / (1 - this) of them count."""
    post_sampling_probs: bool = False
    """Report the log probabilities that the token was drawn with, after bias, constraint and samplers, in the place of
    the model's own; those of a greedy choice are certain."""
    speculation: Literal["auto", "off", "lookup", "draft"] = "auto"
    """Whether the next tokens are guessed and computed beforehand: as the engine's `speculation` says (auto), not at
    all (off), whenever they can be looked up in what was written before (lookup), or by the engine's draft model
    (draft). The latter two weigh no costs, unless requests run beside this one that did not ask for that. What is
    generated is the same."""
    draft_max: int = 16
    """Maximum number of tokens guessed at a time; 0 is none. A call has room for 15 beside a single request, and fewer
    beside others."""
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
    """The whole output; of a chat, the content of the answer."""
    tokens: list[int]
    """All output tokens, without the end-of-generation token."""
    finish_reason: FinishReason
    """"stop" (end-of-generation token or stop string), "length", "tool_calls" (a chat whose answer has some), "cancelled",
    "deadline" or "error"."""
    stop_index: int | None = None
    """The index in `stop` of the string that ended it."""
    n_prompt_tokens: int = 0
    """Tokens of the prompt."""
    n_cached_tokens: int = 0
    """Prompt tokens that were reused instead of computed."""
    n_output_tokens: int = 0
    """Output tokens that were generated."""
    n_drafted_tokens: int = 0
    """Tokens that were drafted: guessed, and computed before it was known that they come."""
    n_accepted_tokens: int = 0
    """Drafted tokens that came."""
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
    message: Message | None = None
    """The answer to a chat, ready to be appended to its messages: `content`, and what there is of `reasoning_content` and
    `tool_calls`. Their arguments are JSON text, as in OpenAI's API."""

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
    """How requests share contexts and slots; never "auto"."""
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
    """Number of `llama_decode` calls that generated tokens."""
    decode_rows: int
    """Rows in these calls, one per token, without those of drafts that were wrong."""
    decode_time: float
    """Time spent in these calls, in seconds."""
    prefill_calls: int
    """Number of `llama_decode` calls that computed prompts."""
    prefill_rows: int
    """Rows in these calls, one per prompt token."""
    prefill_time: float
    """Time spent in these calls, in seconds."""
    output_tokens: int
    """Output tokens generated."""
    cached_tokens: int
    """Prompt tokens that were reused instead of computed."""
    requests_submitted: int
    """Prompts accepted."""
    requests_rejected: int
    """Prompts refused because the queue was full."""
    requests_stopped: int
    """Prompts whose output was ended by the model or by a stop string."""
    requests_length: int
    """Prompts whose output was ended by `max_tokens` or by a full slot."""
    requests_cancelled: int
    """Prompts cancelled."""
    requests_deadline: int
    """Prompts that ran out of time."""
    requests_failed: int
    """Prompts that failed."""
    requests_running: int
    """Prompts in a slot now."""
    requests_waiting: int
    """Prompts waiting for a slot now."""
    kernels: str
    """Instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" if ggml's kernels
    compute everything. `kernels_share` says how much they compute."""
    weight_copies: int
    """Copies of the weights in memory: more than one on machines with several NUMA nodes."""
    strayed_threads: int
    """Compute threads that the system does not keep on the CPUs planned for them; 0 where it does not tell."""
    local_fraction: float | None
    """Smallest share, over all workers, of the pages of weights and KV that lie on the worker's NUMA node. None: the
    system does not tell."""
    pack_cache: str
    """Packed weights: "mapped" from the file that an earlier load wrote, "written" by this one, or "off"."""
    kernels_share: float
    """Share of the model's matrix products that this library's kernels compute, from 0 to 1."""
    products: str
    """Which kernels compute which share of the matrix products, by weight format, such as "ggml 61 % (Q4_1), avx2 39 %
    (Q6_K)"."""
    cpus: list[int]
    """CPUs planned for the compute threads."""
    requests_parked: int
    """Prompts that have begun, are not read, and gave their slot up to others that waited; their KV lies in memory."""
    passive_workers: int
    """Workers whose threads wait passively now, because others want their CPUs (`wait_policy`)."""
    cpu_wait: float
    """Of the time of the compute threads, the share that they lately waited for a CPU which somebody else used; of the
    worker that waited most."""
    wait_switches: int
    """How often a worker changed between waiting actively and passively because of other programs."""
    drafted_tokens: int
    """Output tokens that were drafted: guessed, and computed before it was known that they come (`speculation`)."""
    accepted_tokens: int
    """Drafted tokens that came."""
    speculation: str
    """How requests speculate that do not say: "auto", "off", "lookup" or "draft"; "off" if the configuration is auto,
    and drafts could change texts."""
    draft_model_time: float
    """Time spent in calls of the draft model, in seconds."""
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
