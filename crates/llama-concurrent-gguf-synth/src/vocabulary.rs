//! A tokenizer out of nothing: byte-level BPE with merges from common English words.
//!
//! It exists so that prompts of ordinary text become a realistic number of tokens and every token is text again. The
//! merges are learned as BPE learns them, one word after the other, so that each word of the list is one token however
//! the rest of the vocabulary looks.

use std::collections::{HashMap, HashSet};

use llama_concurrent_gguf::{Array, Value};

/// The 256 bytes and the control tokens.
pub(super) const FEWEST_TOKENS: u32 = 256 + CONTROL_TOKENS.len() as u32;

const BEGIN_OF_TEXT: &str = "<|begin_of_text|>";
const END_OF_TEXT: &str = "<|end_of_text|>";
const MESSAGE_START: &str = "<|im_start|>";
const MESSAGE_END: &str = "<|im_end|>";
/// At the end of the vocabulary, as in Llama 3.
const CONTROL_TOKENS: [&str; 4] = [BEGIN_OF_TEXT, END_OF_TEXT, MESSAGE_START, MESSAGE_END];

/// `LLAMA_TOKEN_TYPE_NORMAL`.
const NORMAL: i32 = 1;
/// `LLAMA_TOKEN_TYPE_CONTROL`.
const CONTROL: i32 = 3;

/// ChatML, which llama.cpp and everybody else recognises.
const CHAT_TEMPLATE: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
    {% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// A thousand common English words, the commonest first.
const WORDS: &str = include_str!("words.txt");

/// The commonest pieces of English words, for the words that are not in the list.
const PIECES: &str = "\
    th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro \
    ic ne ea ra ce li ch ll be ma si om ur ing ion ent tion ation and her for tha ter hat ate ver ers est ment \
    ness able ible ful less ous ive ly al ity ism ist ize ance ence ant pre pro con com dis un under over \
    inter";

const SUFFIXES: [&str; 5] = ["s", "ed", "ing", "er", "ly"];

const ONSETS: [&str; 24] = [
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br", "st", "tr", "ch", "sh",
    "pl", "gr",
];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ea", "ou", "ai"];
const CODAS: [&str; 12] = ["n", "r", "l", "s", "t", "m", "d", "k", "st", "nd", "ck", "ng"];

/// How the byte-level alphabet writes a space.
const SPACE: char = 'Ġ';

/// The `tokenizer.*` metadata of a vocabulary of exactly `n_vocab` tokens, at least [`FEWEST_TOKENS`].
pub(super) fn synthetic(n_vocab: u32) -> Vec<(String, Value)> {
    let room = n_vocab as usize - CONTROL_TOKENS.len();
    let Learner { tokens, merges, .. } = learn(room);
    let first_control = tokens.len() as u32;
    let id_of = |token: &str| {
        let index = CONTROL_TOKENS.iter().position(|&control| control == token).expect("it is one of the four");
        Value::U32(first_control + index as u32)
    };
    let types = std::iter::repeat_n(NORMAL, tokens.len()).chain(CONTROL_TOKENS.map(|_| CONTROL));
    let types = Array::from_i32(types);
    let all_tokens = tokens.iter().map(String::as_str).chain(CONTROL_TOKENS);

    let entries = [
        ("tokenizer.ggml.model", Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".to_owned())),
        ("tokenizer.ggml.tokens", Value::Array(Array::from_strings(all_tokens))),
        ("tokenizer.ggml.token_type", Value::Array(types)),
        ("tokenizer.ggml.merges", Value::Array(Array::from_strings(merges))),
        ("tokenizer.ggml.bos_token_id", id_of(BEGIN_OF_TEXT)),
        ("tokenizer.ggml.eos_token_id", id_of(END_OF_TEXT)),
        ("tokenizer.ggml.eot_token_id", id_of(MESSAGE_END)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.chat_template", Value::String(CHAT_TEMPLATE.to_owned())),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Fills a vocabulary of `room` tokens: pieces, words, words with endings, then syllables and pairs of syllables, which
/// are enough for any vocabulary that exists.
fn learn(room: usize) -> Learner {
    let mut learner = Learner::new(room);
    for piece in PIECES.split_whitespace() {
        learner.learn(piece);
    }
    for word in WORDS.split_whitespace() {
        learner.learn(&format!("{SPACE}{word}"));
    }
    for word in WORDS.split_whitespace() {
        learner.learn(word);
        learner.learn(&format!("{SPACE}{}", capitalised(word)));
        learner.learn(&capitalised(word));
    }
    for suffix in SUFFIXES {
        for word in WORDS.split_whitespace() {
            learner.learn(&format!("{SPACE}{word}{suffix}"));
        }
    }

    let syllables = syllables();
    for syllable in &syllables {
        learner.learn(syllable);
    }
    for first in &syllables {
        learner.learn(&format!("{SPACE}{first}"));
    }
    // Along the diagonals, so that a small vocabulary too has many different beginnings.
    for sum in 0..2 * syllables.len() {
        for first in (0..=sum).filter(|&first| first.max(sum - first) < syllables.len()) {
            if learner.is_full() {
                return learner;
            }
            learner.join(&format!("{SPACE}{}", syllables[first]), &syllables[sum - first]);
        }
    }
    learner
}

fn syllables() -> Vec<String> {
    // Codas vary slowest: the open syllables, which are the commonest, come first.
    std::iter::once(&"")
        .chain(&CODAS)
        .flat_map(|coda| VOWELS.iter().map(move |vowel| (vowel, coda)))
        .flat_map(|(vowel, coda)| ONSETS.iter().map(move |onset| format!("{onset}{vowel}{coda}")))
        .collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// A growing BPE vocabulary.
struct Learner {
    room: usize,
    tokens: Vec<String>,
    known: HashSet<String>,
    /// `"left right"` in the order of learning, and that order by merge.
    merges: Vec<String>,
    ranks: HashMap<String, usize>,
}

impl Learner {
    fn new(room: usize) -> Self {
        let tokens: Vec<String> = (0..=u8::MAX).map(|byte| byte_letter(byte).to_string()).collect();
        let known = tokens.iter().cloned().collect();
        Learner { room, tokens, known, merges: Vec::new(), ranks: HashMap::new() }
    }

    fn is_full(&self) -> bool {
        self.tokens.len() >= self.room
    }

    /// Makes `word` a token, with what lies between it and the tokens that it consists of so far.
    fn learn(&mut self, word: &str) {
        if self.is_full() || self.known.contains(word) {
            return;
        }
        let mut joined = 0;
        for piece in self.encode(word) {
            if joined > 0 {
                self.join(&word[..joined], piece);
            }
            joined += piece.len();
        }
    }

    /// Adds the token that consists of these two, unless it exists or the vocabulary is full.
    fn join(&mut self, left: &str, right: &str) {
        let whole = format!("{left}{right}");
        if self.is_full() || !self.known.insert(whole.clone()) {
            return;
        }
        let merge = format!("{left} {right}");
        self.ranks.insert(merge.clone(), self.merges.len());
        self.merges.push(merge);
        self.tokens.push(whole);
    }

    /// The tokens of a word by the merges so far: always the merge that was learned first, leftmost first.
    fn encode<'w>(&self, word: &'w str) -> Vec<&'w str> {
        let mut cuts: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        loop {
            let merges = cuts.windows(3).enumerate().filter_map(|(at, cut)| {
                let rank = self.ranks.get(&format!("{} {}", &word[cut[0]..cut[1]], &word[cut[1]..cut[2]]))?;
                Some((rank, at + 1))
            });
            let Some((_, between)) = merges.min() else { break };
            cuts.remove(between);
        }
        cuts.windows(2).map(|cut| &word[cut[0]..cut[1]]).collect()
    }
}

/// The letter that stands for a byte in byte-level BPE: itself if printable, otherwise one from U+0100 on. From
/// `bytes_to_unicode` in GPT-2's encoder.py.
fn byte_letter(byte: u8) -> char {
    let is_printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if is_printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !is_printable(b)).count() as u32;
    char::from_u32(0x100 + before).expect("at most 68 letters from U+0100 on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_letters_of_gpt2() {
        assert_eq!([0, b' ', b'A', 0x7F, 0xAD, 0xFF].map(byte_letter), ['Ā', SPACE, 'A', 'ġ', 'Ń', 'ÿ']);
    }

    #[test]
    fn vocabularies_have_the_exact_size_and_no_duplicates() {
        for room in [256, 257, 300, 1000, 151_936] {
            let learner = learn(room);
            assert_eq!(learner.tokens.len(), room);
            assert_eq!(learner.merges.len(), room - 256);
            assert_eq!(learner.known.len(), room);
        }
    }

    #[test]
    fn each_word_of_the_list_is_one_token() {
        let learner = learn(32_000);
        for word in WORDS.split_whitespace() {
            assert_eq!(learner.encode(&format!("{SPACE}{word}")).len(), 1, "{word}");
        }
    }

    #[test]
    fn english_takes_three_to_four_characters_per_token() {
        let text = "Although the committee had rejected several earlier proposals, its chairman remained optimistic \
                    that a compromise acceptable to both governments could be negotiated before winter.";
        for room in [32_000, 128_256] {
            let learner = learn(room);
            let words =
                text.split(' ').enumerate().map(|(i, w)| if i == 0 { w.to_owned() } else { format!("{SPACE}{w}") });
            let tokens: usize = words.map(|word| learner.encode(&word).len()).sum();
            let ratio = text.len() as f64 / tokens as f64;
            assert!((2.8..5.5).contains(&ratio), "{room} tokens: {ratio} characters per token");
        }
    }
}
