"""The byte-level BPE tokenizers: trained here, read back from a GGUF by `check.py`."""

from itertools import islice

from recipe import Recipe
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

# How llama.cpp's "qwen2" cuts a text: each digit is a word of its own.
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_tokenizer(recipe: Recipe, seed: int) -> Tokenizer:
    """Control tokens and markup first, then the 256 bytes, then merges learned from 30,000 documents."""
    size = recipe.shape.vocab
    tokenizer = _byte_level(BPE(), recipe)
    if recipe.spaces_apart:  # only while it learns: merges with a space are then unknown to it
        tokenizer.pre_tokenizer = Sequence([Split(Regex(r"[^\p{L}\p{N}]|\p{L}+|\p{N}"), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    own = _own_tokens(recipe)
    trainer = BpeTrainer(vocab_size=size, special_tokens=own, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(islice(recipe.documents(seed), 30_000), trainer)
    if tokenizer.get_vocab_size() != size:
        raise SystemExit(f"the text gives only {tokenizer.get_vocab_size()} of {size} tokens: ask for fewer")
    tokenizer.pre_tokenizer = _byte_level(BPE(), recipe).pre_tokenizer
    return tokenizer


def restore_tokenizer(recipe: Recipe, tokens: list[str], merges: list[str]) -> Tokenizer:
    """The tokenizer that a GGUF's `tokenizer.ggml.tokens` and `.merges` describe."""
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = _byte_level(BPE(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges]), recipe)
    tokenizer.add_special_tokens(_own_tokens(recipe))
    return tokenizer


def _own_tokens(recipe: Recipe) -> list[AddedToken]:
    return [AddedToken(token, special=True, normalized=False) for token in recipe.control_tokens + recipe.markup]


def _byte_level(model: BPE, recipe: Recipe) -> Tokenizer:
    tokenizer = Tokenizer(model)
    gpt2 = recipe.pretokenizer == "gpt-2"
    bytes_of = ByteLevel(add_prefix_space=False, use_regex=gpt2)
    tokenizer.pre_tokenizer = bytes_of if gpt2 else Sequence([Split(Regex(QWEN2), "isolated"), bytes_of])
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer
