//! What may follow where: thoughts and their budget, openings, answers of a form, and texts that are no calls.

use llama_concurrent_types::{Allowed, Constraint, Matcher, Token};
use serde_json::json;

use super::Vocabulary;
use crate::format::{Format, Start};
use crate::steering::{Steering, SteeringOptions};
use crate::tool::{Tool, ToolChoice};

const QWEN: &str = "<think> <tool_call> of my own";
const HARMONY: &str = "<|channel|> of my own";
const LLAMA: &str = "<|python_tag|> of my own";

const FREE: Allowed = Allowed::Anything { may_end: true };
const FREE_WITHOUT_END: Allowed = Allowed::Anything { may_end: false };

/// A message that is being written.
struct Text {
    vocabulary: Vocabulary,
    matcher: Box<dyn Matcher>,
}

fn tools() -> Vec<Tool> {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    vec![Tool::new("weather", parameters)]
}

fn answer() -> Option<Constraint> {
    Some(Constraint::JsonSchema(json!({"type": "object", "properties": {"n": {"type": "integer"}}}).to_string()))
}

fn options(choice: ToolChoice, start: Start) -> SteeringOptions {
    SteeringOptions { choice, start, ..SteeringOptions::default() }
}

impl Text {
    fn new(template: &str, options: &SteeringOptions) -> Self {
        let format = Format::detect(template);
        Self::with(&format, options, Vocabulary::new(&format, true))
    }

    fn with(format: &Format, options: &SteeringOptions, vocabulary: Vocabulary) -> Self {
        let steering =
            Steering::new(format, &tools(), options, &vocabulary.table).unwrap().expect("something is held to");
        let closing = vocabulary.tokens(format.thought_closing().unwrap_or_default());
        let compile = |constraint: &Constraint| vocabulary.compile(constraint);
        let matcher = steering.matcher(compile, vocabulary.table.clone(), closing).unwrap();
        Self { vocabulary, matcher }
    }

    fn allowed(&mut self) -> Allowed {
        self.matcher.allowed().unwrap()
    }

    fn may_come(&mut self, token: Token) -> bool {
        match self.allowed() {
            Allowed::Anything { .. } => true,
            Allowed::Tokens { mask, .. } => mask.allows(token),
            Allowed::Nothing => false,
        }
    }

    /// Whether the text may go on so, which it then does. Of several tokens that begin it the longest are tried.
    fn goes_on(&mut self, text: &str) -> bool {
        self.vocabulary.tokens(text).into_iter().all(|token| {
            let may_come = self.may_come(token);
            if may_come {
                self.matcher.accept(token).unwrap();
            }
            may_come
        })
    }

    fn is_free(&mut self) -> bool {
        self.allowed() == FREE
    }

    fn may_end(&mut self) -> bool {
        match self.allowed() {
            Allowed::Anything { may_end } | Allowed::Tokens { may_end, .. } => may_end,
            Allowed::Nothing => true,
        }
    }

    /// The one token that may come, as text.
    fn forced(&mut self) -> Option<String> {
        let Allowed::Tokens { mask, may_end: false } = self.allowed() else { return None };
        let table = self.vocabulary.table.clone();
        let mut all = (0..table.len() as Token).filter(|&token| mask.allows(token));
        let (Some(only), None) = (all.next(), all.next()) else { return None };
        self.matcher.accept(only).unwrap();
        Some(String::from_utf8_lossy(table.text(only, true)).into_owned())
    }
}

const CALL: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>";

#[test]
fn nothing_is_masked_before_a_call() {
    let mut text = Text::new(QWEN, &options(ToolChoice::Auto, Start::Message));
    for part in ["<think>", "I <tool_call>", " think", "</think>", "\n\nHello <", "tool", " {\"name\""] {
        assert!(text.is_free());
        assert!(text.goes_on(part), "{part}");
    }
    assert!(text.is_free());
    assert!(text.goes_on("<tool_call>"));
    assert!(!text.is_free() && !text.may_end());
    assert!(text.goes_on(&CALL["<tool_call>".len()..]));
    assert!(text.may_end());
    assert_eq!(text.allowed(), Allowed::Nothing, "one call is all");
}

#[test]
fn several_calls_may_follow_each_other() {
    let mut options = options(ToolChoice::Auto, Start::Message);
    options.parallel = true;
    options.max_calls = Some(2);
    let mut text = Text::new(QWEN, &options);
    assert!(text.goes_on(CALL) && text.may_end());
    assert!(text.goes_on("\n") && !text.may_end());
    assert!(text.goes_on(CALL));
    assert_eq!(text.allowed(), Allowed::Nothing);
}

#[test]
fn a_required_call_comes_behind_a_thought_or_at_once() {
    let mut text = Text::new(QWEN, &options(ToolChoice::Required, Start::Message));
    let mut other =
        Text { matcher: text.matcher.boxed_clone(), vocabulary: Vocabulary::new(&Format::detect(QWEN), true) };
    assert!(!text.goes_on("H") && !text.may_end());
    assert!(text.goes_on("<think>"));
    assert_eq!(text.allowed(), FREE_WITHOUT_END, "a thought has to be closed");
    assert!(text.goes_on("hm</think>"));
    let mut at_once =
        Text { matcher: text.matcher.boxed_clone(), vocabulary: Vocabulary::new(&Format::detect(QWEN), true) };
    assert!(text.goes_on("\n\n") && !text.goes_on("<think>"));
    assert!(text.goes_on(CALL));
    assert!(at_once.goes_on(CALL), "white space need not be there");
    assert!(other.goes_on(CALL), "nor the thought");
}

#[test]
fn a_budget_closes_thoughts() {
    for budget in 0..3 {
        for choice in [ToolChoice::Auto, ToolChoice::Required] {
            let mut options = options(choice.clone(), Start::Thought);
            options.thinking_budget = Some(budget);
            let mut text = Text::new(QWEN, &options);
            for _ in 0..budget {
                assert!(matches!(text.allowed(), Allowed::Anything { .. }));
                assert!(text.goes_on("a"));
            }
            let mut closing = String::new();
            while let Some(forced) = text.forced().filter(|_| closing.len() < "\n</think>\n\n".len()) {
                closing += &forced;
            }
            assert!(closing.starts_with("\n</think>\n\n"), "{closing:?}");
            if choice == ToolChoice::Auto {
                assert!(text.is_free());
                assert!(text.goes_on("x</think><think>"), "an answer is no thought");
                assert!(text.is_free());
            } else {
                assert!(!text.may_end());
            }
        }
    }
}

#[test]
fn a_budget_counts_thoughts_that_the_model_opens() {
    let mut options = options(ToolChoice::None, Start::Message);
    options.thinking_budget = Some(2);
    let mut text = Text::new(QWEN, &options);
    assert!(text.goes_on("<think>xy") && text.forced().as_deref() == Some("\n"));
    let mut closed = Text::new(QWEN, &options);
    assert!(closed.goes_on("<think>a</think> and more") && closed.is_free());
    options.thinking_budget = Some(0);
    let mut never = Text::new(QWEN, &options);
    assert!(never.is_free() && never.goes_on("<think>") && never.forced().as_deref() == Some("\n"));
}

#[test]
fn a_budget_of_a_family_with_channels_leads_on_to_a_header() {
    for choice in [ToolChoice::Auto, ToolChoice::Required] {
        let mut options = options(choice.clone(), Start::Message);
        options.thinking_budget = Some(1);
        let mut text = Text::new(HARMONY, &options);
        assert!(text.goes_on("<|channel|>analysis<|message|>a"));
        assert_eq!(text.forced().as_deref(), Some("<|end|>"));
        assert_eq!(text.forced().as_deref(), Some("<|start|>"));
        assert!(!text.is_free() && text.goes_on("assistant"));
        if choice == ToolChoice::Auto {
            assert!(text.is_free() && text.goes_on("<|channel|>commentary to=functions."));
            assert_eq!(text.forced().as_deref(), Some("w"));
        } else {
            assert!(text.goes_on("<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\":"));
        }
    }
}

#[test]
fn a_thought_that_a_model_of_channels_ends_leads_on_to_a_header() {
    let mut text = Text::new(HARMONY, &options(ToolChoice::Required, Start::Message));
    assert!(text.goes_on("<|channel|>analysis<|message|>a<|end|>"));
    assert_eq!(text.forced().as_deref(), Some("<|start|>"));
    assert!(text.goes_on("assistant"));
    assert!(text.goes_on(" to=functions.weather<|channel|>commentary <|constrain|>json<|message|>{\"city\": \"Ulm\"}"));
    // Without an end of the thought, by the next header.
    let mut text = Text::new(HARMONY, &options(ToolChoice::Required, Start::Message));
    assert!(text.goes_on("<|channel|>analysis<|message|>a<|channel|>") && !text.goes_on("final"));
    assert!(text.goes_on("commentary to=functions.weather"));
}

#[test]
fn an_answer_of_a_form_comes_behind_a_thought() {
    let mut options = options(ToolChoice::None, Start::Thought);
    options.answer = answer();
    let mut text = Text::new(QWEN, &options);
    assert_eq!(text.allowed(), FREE_WITHOUT_END);
    assert!(text.goes_on("hm</think>\n\n") && !text.goes_on("H"));
    assert!(text.goes_on("{\"n\": 1}"));
    assert_eq!(text.allowed(), Allowed::Nothing);
    let mut text = Text::new(HARMONY, &SteeringOptions { start: Start::Message, ..options.clone() });
    assert!(!text.goes_on("{") && text.goes_on("<|channel|>final<|message|>{\"n\": 1}"));
}

#[test]
fn with_tools_an_answer_of_a_form_or_a_call_comes() {
    for (template, call) in [
        (QWEN, CALL),
        (HARMONY, "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}<|call|>"),
        (LLAMA, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Ulm\"}}"),
    ] {
        let mut options = options(ToolChoice::Auto, Start::Message);
        options.answer = answer();
        let form = if template == HARMONY { "<|channel|>final<|message|>{\"n\": 12}" } else { "{\"n\": 12}" };
        for whole in [call, form] {
            let mut text = Text::new(template, &options);
            assert!(!text.may_end());
            assert!(text.goes_on(whole) && text.may_end(), "{whole}");
        }
        let mut text = Text::new(template, &options);
        assert!(!text.goes_on("Hello"));
        // Where a call is required, an answer is none.
        options.choice = ToolChoice::Required;
        let mut text = Text::new(template, &options);
        assert!(!text.goes_on(form));
    }
}

#[test]
fn a_token_may_hold_more_than_the_opening() {
    let format = Format::detect("<tool_call>");
    let more = [
        "so <tool_",
        "call>\n{\"name",
        "<tool_call>{\"name\": \"wea",
        "<tool_call> not",
        "<tool_call>\n{\"name\": \"other",
    ];
    let vocabulary = || Vocabulary::with(&format, false, &more, &[]);
    let options = options(ToolChoice::Auto, Start::Message);
    let token = |text: &mut Text, piece: &str| {
        let tokens = text.vocabulary.table.spelled(piece.as_bytes()).unwrap();
        assert_eq!(tokens.len(), 1, "{piece}");
        assert!(text.is_free(), "{piece}");
        text.matcher.accept(tokens[0]).unwrap();
    };
    let mut text = Text::with(&format, &options, vocabulary());
    token(&mut text, more[0]);
    token(&mut text, more[1]);
    assert!(text.goes_on("\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}"));
    let mut text = Text::with(&format, &options, vocabulary());
    token(&mut text, more[2]);
    assert!(text.goes_on("ther\", \"arguments\": {"), "without the usual end of a line");
    // What the grammar refuses is no call, and the next one may still be.
    for refused in [more[3], more[4]] {
        let mut text = Text::with(&format, &options, vocabulary());
        token(&mut text, refused);
        assert!(text.is_free(), "{refused}");
        token(&mut text, "a");
        token(&mut text, more[2]);
        assert!(!text.is_free() && text.goes_on("ther"));
    }
}

#[test]
fn a_message_may_begin_with_a_call_that_nothing_opens() {
    let format = Format::detect(LLAMA);
    let options = options(ToolChoice::Auto, Start::Message);
    let mut text = Text::new(LLAMA, &options);
    assert!(text.is_free() && text.goes_on("\n{\"name") && text.is_free() && text.goes_on("\"") && !text.is_free());
    assert!(!text.goes_on(": \"Ulm\"") && text.goes_on("weather\", \"parameters\": {\"city\": \"\"}}"));
    for other in ["{\"n\": 1}", "Here: {\"name\": ", "[1]"] {
        let mut text = Text::new(LLAMA, &options);
        assert!(text.goes_on(other) && text.is_free(), "{other}");
    }
    // Another object that begins so, as one token.
    let mut text =
        Text::with(&format, &options, Vocabulary::with(&format, true, &["{\"name\": \"Bob\", \"age\""], &[]));
    assert!(text.goes_on("{\"name\": \"Bob\", \"age\": 1}") && text.is_free());
    assert!(text.goes_on("<|python_tag|>") && !text.is_free());
}

#[test]
fn a_token_that_ends_the_generation_ends_the_calls() {
    let format = Format::detect(HARMONY);
    let mut options = options(ToolChoice::Required, Start::Message);
    options.parallel = true;
    let call = "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}";
    let mut text = Text::with(&format, &options, Vocabulary::with(&format, true, &[], &["<|call|>"]));
    assert!(text.goes_on(call));
    assert_eq!(text.allowed(), Allowed::Nothing, "the end is the model's to write");
    let mut text = Text::with(&format, &options, Vocabulary::new(&format, true));
    assert!(text.goes_on(call) && !text.may_end());
    assert!(text.goes_on("<|call|>") && text.may_end());
    assert!(text.goes_on("<|start|>assistant") && text.goes_on(call));
}

#[test]
fn a_call_may_come_within_a_thought_of_some_families() {
    let template = "<think> <|tool_calls_section_begin|>";
    let mut text = Text::new(template, &options(ToolChoice::Auto, Start::Thought));
    assert!(text.goes_on("hm <|tool_calls_section_begin|>") && !text.is_free());
    assert!(text.goes_on("<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{"));
    let mut text = Text::new(QWEN, &options(ToolChoice::Auto, Start::Thought));
    assert!(text.goes_on("hm <tool_call>") && text.is_free(), "others only think of one");
}

#[test]
fn copies_go_their_own_ways() {
    let mut text = Text::new(QWEN, &options(ToolChoice::Auto, Start::Message));
    assert!(text.goes_on("Hi <tool_call>\n{\"name\": \"wea"));
    let vocabulary = Vocabulary::new(&Format::detect(QWEN), true);
    let mut copy = Text { matcher: text.matcher.boxed_clone(), vocabulary };
    assert!(text.goes_on("ther\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>"));
    assert!(copy.goes_on("ther\"") && !copy.may_end() && text.may_end());
}
