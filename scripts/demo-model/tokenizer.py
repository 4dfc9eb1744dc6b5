"""The byte-level BPE tokenizer: trained here, read back from a GGUF by `check.py`."""

from itertools import islice

from grammar import CONTROL_TOKENS, documents
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer


def train_tokenizer(seed: int, vocab_size: int) -> Tokenizer:
    """Control tokens first, then the 256 bytes, then merges learned from 30,000 documents."""
    tokenizer = _byte_level(BPE())
    trainer = BpeTrainer(vocab_size=vocab_size, special_tokens=CONTROL_TOKENS, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(islice(documents(seed), 30_000), trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise SystemExit(f"the text gives only {tokenizer.get_vocab_size()} of {vocab_size} tokens: ask for fewer")
    return tokenizer


def restore_tokenizer(tokens: list[str], merges: list[str]) -> Tokenizer:
    """The tokenizer that a GGUF's `tokenizer.ggml.tokens` and `.merges` describe."""
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = _byte_level(BPE(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    return tokenizer


def _byte_level(model: BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)  # llama.cpp's "gpt-2"
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer
