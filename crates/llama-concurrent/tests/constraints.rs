//! Output of a given form, from a model that would rather tell stories and from one with random weights.

use std::{collections::BTreeSet, path::PathBuf, sync::OnceLock};

use llama_concurrent::{Constraint, Engine, EngineConfig, ErrorKind, FinishReason, Request, SamplingParams};
use llama_concurrent_gguf_synth::{self as synth, Shape, SynthOptions};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

fn load(path: PathBuf, slots: usize) -> Engine {
    // Reproducible, so that a text can be compared with the one that comes without company.
    let config = EngineConfig::default().slots(slots).n_ctx(1024).threads(1).reproducible(true);
    Engine::load(path, config).expect("the model loads")
}

fn demo(slots: usize) -> Engine {
    load(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf"), slots)
}

/// A model that knows nothing: any token is as good as any other to it.
fn random() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("random.gguf");
        let shape =
            Shape { n_embd: 64, n_ff: 64, n_head: 2, n_head_kv: 2, n_vocab: 4000, ..Shape::TINYLLAMA_1_1B.clone() };
        synth::write(&SynthOptions { n_layer: Some(2), ..SynthOptions::new(shape) }, &path, &mut |_, _| {}).unwrap();
        load(path, 4)
    })
}

fn with(constraint: Constraint) -> SamplingParams {
    SamplingParams::default().constraint(constraint).max_tokens(900)
}

fn schema(schema: Value) -> Constraint {
    Constraint::JsonSchema(schema.to_string())
}

/// Greedy and at temperature 1 from the whole vocabulary, with several seeds.
fn variants(constraint: &Constraint) -> Vec<SamplingParams> {
    let greedy = with(constraint.clone());
    let wild = greedy.clone().temperature(1.0).top_k(0).top_p(1.0).min_p(0.0);
    let random = (0..6).map(|seed| wild.clone().seed(seed));
    std::iter::once(greedy).chain(random).collect()
}

/// Every text that both models write under a constraint; each ended by itself.
fn texts(constraint: &Constraint) -> Vec<String> {
    let demo = demo(4);
    let mut texts = Vec::new();
    for engine in [&demo, random()] {
        let requests = variants(constraint).into_iter().map(|params| Request::new("A fox").params(params));
        for done in engine.run_all(requests.collect(), |_, _| ()) {
            let done = done.expect("generated");
            assert_eq!(done.finish.reason, FinishReason::Stop, "{}", done.text);
            texts.push(done.text);
        }
    }
    texts
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    age: u8,
    tags: Vec<Colour>,
    home: Option<Address>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    street: String,
    zip: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
    Blue,
}

#[test]
fn json_is_valid_under_its_schema() {
    let person = schema(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 3},
            "home": {"anyOf": [{"$ref": "#/$defs/address"}, {"type": "null"}]}
        },
        "required": ["name", "age", "tags", "home"],
        "additionalProperties": false,
        "$defs": {"address": {
            "type": "object",
            "properties": {
                "street": {"type": "string", "maxLength": 10},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"}
            },
            "required": ["street", "zip"],
            "additionalProperties": false
        }}
    }));
    for text in texts(&person) {
        let person: Person = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!((1..=12).contains(&person.name.chars().count()) && person.age <= 150, "{text}");
        assert!((1..=3).contains(&person.tags.len()), "{text}");
        assert!(person.tags.iter().all(|tag| matches!(tag, Colour::Red | Colour::Green | Colour::Blue)));
        if let Some(home) = person.home {
            assert!(home.street.chars().count() <= 10 && home.zip.len() == 5, "{text}");
            assert!(home.zip.bytes().all(|b| b.is_ascii_digit()), "{text}");
        }
    }
    for text in texts(&schema(json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4}))) {
        let list: Vec<bool> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!((2..=4).contains(&list.len()));
    }
    for text in texts(&schema(json!({"const": {"a": [1, null, "x"]}}))) {
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"a": [1, null, "x"]}));
    }
}

#[test]
fn any_object_is_an_object() {
    // Nothing bounds its length, so it may not come to its end; then it is the beginning of one.
    let demo = demo(2);
    for engine in [&demo, random()] {
        for params in variants(&Constraint::JsonObject) {
            let done = engine.generate("A fox", params).unwrap();
            match done.finish.reason {
                FinishReason::Stop => assert!(serde_json::from_str::<Value>(&done.text).unwrap().is_object()),
                reason => {
                    assert_eq!(reason, FinishReason::Length);
                    let error = serde_json::from_str::<Value>(&done.text).unwrap_err();
                    assert!(done.text.starts_with('{') && error.is_eof(), "{error}: {}", done.text);
                }
            }
        }
    }
}

#[test]
fn a_regular_expression_and_a_grammar_match_the_whole_text() {
    for pattern in
        ["(yes|no)", r"[0-9]{3}-[a-c]{2,5}", r"[A-Z][a-z]{1,20}( [a-z]{1,8}){0,3}\.", "é{2}/\"\n", "(a|aa|aaa)"]
    {
        let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for text in texts(&Constraint::Regex(pattern.into())) {
            assert!(whole.is_match(&text), "{pattern}: {text:?}");
        }
    }
    let sum = Constraint::Grammar("start: NUMBER (\"+\" NUMBER){1,3}\nNUMBER: /[0-9]{1,4}/\n".into());
    for text in texts(&sum) {
        assert!((2..=4).contains(&text.split('+').filter(|n| n.parse::<u16>().is_ok()).count()), "{text}");
        assert!(text.split('+').all(|n| n.parse::<u16>().is_ok()), "{text}");
    }
    let tagged =
        Constraint::Grammar("start: \"<\" %json {\"type\": \"integer\", \"minimum\": 5, \"maximum\": 7} \">\"".into());
    assert!(texts(&tagged).iter().all(|text| ["<5>", "<6>", "<7>"].contains(&text.as_str())));
}

/// The shapes of llama.cpp's own description of GBNF.
#[test]
fn gbnf_is_held_to() {
    let list = Constraint::Grammar("# a list\nroot ::= (\"- \" item){1,3}\nitem ::= [^\\n]{1,20} \"\\n\"".into());
    for text in texts(&list) {
        assert!((1..=3).contains(&text.lines().count()), "{text}");
        assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with("- ")), "{text}");
    }
    let nested = Constraint::Grammar("root ::= \"(\" (root | [0-9]{2} | \"\\u00e9\") \")\"".into());
    for done in [demo(1), random().clone()].map(|engine| engine.generate("A fox", with(nested.clone())).unwrap()) {
        let inner = done.text.trim_start_matches('(').trim_end_matches(')');
        let digits = inner.len() == 2 && inner.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = done.finish.reason == FinishReason::Stop;
        assert!(!is_whole || digits || inner == "é", "{}", done.text);
        assert!(!is_whole || done.text.matches('(').count() == done.text.matches(')').count(), "{}", done.text);
    }
    // Recursive, so it may not come to its end; then it is the beginning of one.
    let json = Constraint::Grammar(JSON_GBNF.into());
    let mut ended = 0;
    for (engine, params) in
        [demo(1), random().clone()].iter().flat_map(|e| variants(&json).into_iter().map(move |p| (e, p)))
    {
        let done = engine.generate("A fox", params).unwrap();
        let read = serde_json::from_str::<Value>(&done.text);
        match done.finish.reason {
            FinishReason::Stop => {
                assert!(read.is_ok_and(|value| value.is_array()), "{}", done.text);
                ended += 1;
            }
            reason => {
                assert_eq!(reason, FinishReason::Length);
                assert!(read.is_err_and(|error| error.is_eof()), "{}", done.text);
            }
        }
    }
    assert!(ended > 0);
}

const JSON_GBNF: &str = r#"
root   ::= "[" ws value "]" ws
value  ::= object | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws scalar
    ("," ws string ":" ws value)?
  ) "}" ws
scalar ::= string | number
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  ){0,8} "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,5})) ("." [0-9]{1,4})? ws
# Optional space
ws ::= | " " | "\n" [ \t]{0,4}
"#;

#[test]
fn others_write_what_they_would_write_alone() {
    let engine = demo(8);
    let free = |seed| SamplingParams::default().temperature(0.8).seed(seed).max_tokens(60);
    let alone: Vec<_> = (0..8).map(|seed| engine.generate("Once upon a time", free(seed)).unwrap().tokens).collect();
    let digits = Constraint::Regex("([0-9]{4} ){10}".into());
    let requests = (0..24).map(|i| match i % 3 {
        0 => Request::new("A fox").params(with(digits.clone()).temperature(1.0).seed(i)),
        1 => Request::new("A fox").params(with(Constraint::JsonObject).max_tokens(50)),
        _ => Request::new("Once upon a time").params(free(i / 3)),
    });
    let done = engine.run_all(requests.collect(), |_, _| ());
    let numbers = Regex::new("^([0-9]{4} ){10}$").unwrap();
    for (i, done) in done.into_iter().enumerate() {
        let done = done.unwrap();
        match i % 3 {
            0 => assert!(numbers.is_match(&done.text), "{}", done.text),
            1 => assert!(done.text.starts_with('{')),
            _ => assert_eq!(done.tokens, alone[i / 3], "{}", done.text),
        }
    }
}

#[test]
fn the_rest_of_the_sampling_goes_on_as_ever() {
    let engine = demo(2);
    let word = Constraint::Regex("[a-z]+".into());
    // The end is possible from the first letter on, unless it is forbidden.
    let forever = with(word.clone()).ignore_eos(true).max_tokens(30);
    let done = engine.generate("A fox", forever.clone()).unwrap();
    assert_eq!((done.finish.reason, done.tokens.len()), (FinishReason::Length, 30));
    // Where nothing can follow it ends all the same.
    let three = with(Constraint::Regex("[a-z]{3}".into())).ignore_eos(true);
    let done = engine.generate("A fox", three).unwrap();
    assert_eq!((done.finish.reason, done.text.len()), (FinishReason::Stop, 3));
    // A text that is complete with the last token that it may have ended by itself.
    let yes = with(Constraint::Regex("yes".into())).max_tokens(3);
    let yes = yes.logit_bias(long_tokens(&engine));
    let done = engine.generate("A fox", yes).unwrap();
    assert_eq!((done.finish.reason, done.tokens.len(), done.text.as_str()), (FinishReason::Stop, 3, "yes"));

    let text = engine.generate("A fox", forever.clone()).unwrap().text;
    let stop = forever.clone().stop(vec![text[10..14].to_owned()]);
    let done = engine.generate("A fox", stop).unwrap();
    assert_eq!((done.finish.stop, done.finish.reason), (Some(0), FinishReason::Stop));
    assert!(text.starts_with(&done.text) && !done.text.contains(&text[10..14]), "{} of {text}", done.text);

    let penalised = forever.clone().repetition_penalty(1.3);
    let done = engine.generate("A fox", penalised).unwrap();
    assert!(done.text.bytes().all(|b| b.is_ascii_lowercase()), "{}", done.text);
    for mirostat in [1, 2] {
        let params = forever.clone().mirostat(mirostat).temperature(1.0).seed(3);
        let done = engine.generate("A fox", params).unwrap();
        assert!(done.text.bytes().all(|b| b.is_ascii_lowercase()), "{}", done.text);
    }

    let nothing = forever
        .logit_bias((0..engine.token_table().len() as i32).map(|token| (token, f32::NEG_INFINITY)).collect::<Vec<_>>());
    let error = engine.generate("A fox", nothing).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("constraint"), "{error}");
}

/// Forbids every token of more than one byte.
fn long_tokens(engine: &Engine) -> Vec<(i32, f32)> {
    let n_vocab = engine.token_table().len() as i32;
    (0..n_vocab).filter(|&t| engine.token_bytes(t, true).len() > 1).map(|t| (t, f32::NEG_INFINITY)).collect()
}

#[test]
fn what_cannot_be_held_to_is_refused_in_words() {
    let engine = demo(2);
    let deep =
        |n: usize| (0..n).fold(json!({"type": "string"}), |s, _| json!({"type": "array", "items": s})).to_string();
    let one_of = |i| json!({"type": "object", "properties": {format!("k{i}"): {"type": "string"}}});
    let words = |n: usize| (0..n).map(|i| format!("{i:0>500}")).collect::<Vec<_>>();
    let named = |n: usize, name: fn(usize) -> String| {
        (0..n).map(|i| (name(i), json!({"type": "string"}))).collect::<serde_json::Map<_, _>>()
    };
    let any = json!({"anyOf": (0..100).map(one_of).collect::<Vec<_>>()});
    let nested = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
    let refused: Vec<(Constraint, &str)> = vec![
        (Constraint::JsonSchema("{".into()), "not JSON"),
        (Constraint::JsonSchema("3".into()), "object or boolean"),
        (schema(json!({"type": "nonsense"})), "nonsense"),
        (schema(json!({"not": {"type": "string"}})), "not"),
        (schema(json!({"$ref": "#"})), "without end"),
        (schema(json!(false)), "no value"),
        (schema(json!({"type": "string", "enum": [1, 2]})), "nsatisfiable"),
        (Constraint::Regex(r"[^\s\S]".into()), "no text"),
        (Constraint::Grammar("root ::= a; a ::= b; b ::= a".replace("; ", "\n")), "without end"),
        (Constraint::Grammar("root ::= \"(\" root \")\"".into()), "without end"),
        (Constraint::Grammar("start: a\na: b\nb: a\n".into()), "no text"),
        (schema(json!({"type": "string", "minLength": 3, "maxLength": 1})), "minLength"),
        (schema(json!({"$ref": "file:///etc/passwd"})), "$ref"),
        (Constraint::JsonSchema(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), "recursion"),
        (Constraint::JsonSchema(deep(200)), "recursion"),
        (schema(json!({"allOf": [any, any, any, any]})), "parts when alternatives are multiplied"),
        (schema(json!({"allOf": [{"enum": words(200)}, {"enum": words(200)}]})), "parts when"),
        (schema(json!({"anyOf": (0..3000).map(one_of).collect::<Vec<_>>()})), "parts when"),
        (schema(json!({"oneOf": (0..3000).map(one_of).collect::<Vec<_>>()})), "parts when"),
        (
            schema(json!({"type": "object", "patternProperties": named(300, |i| format!("^a{{0,40}}{i}b$"))})),
            "parts when",
        ),
        (
            schema(json!({"type": "object", "properties": named(1500, |i| format!("p{i}")), "minProperties": 1})),
            "parts when",
        ),
        (Constraint::Grammar(format!("start: %json {}", json!({"allOf": [any, any, any, any]}))), "parts when"),
        (schema(json!({"type": "integer", "multipleOf": 1_000_000_007})), "fuel"),
        (schema(json!({"type": "object", "properties": named(8000, |i| format!("p{i}"))})), "parts when"),
        (Constraint::Grammar("start: A\nA: ~(/.*a.{300}/) & /.*b.{300}/ & ~(/.*c.{300}.*/)\n".into()), "fuel"),
        (Constraint::Regex("(".into()), "unclosed"),
        (Constraint::Regex("a(?=b)".into()), "look-around"),
        (Constraint::Regex(nested.clone()), "nest"),
        (Constraint::Regex("x".repeat(1 << 19)), "bytes"),
        (Constraint::Grammar("start: rest".into()), "rest"),
        (Constraint::Grammar("other: \"a\"".into()), "start"),
        (Constraint::Grammar(format!("start: {nested}")), "nested"),
    ];
    for (constraint, words) in refused {
        let error = engine.submit(Request::new("A fox").params(with(constraint))).err();
        let error = error.unwrap_or_else(|| panic!("{words} is refused"));
        assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{error}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("cannot be used") && text.len() < 2000, "{words}: {text}");
    }
    assert_eq!(engine.stats().totals.requests.submitted, 0);
}

#[test]
fn long_chains_of_references_do_not_end_the_process() {
    let engine = demo(2);
    let name = |i: usize| {
        format!(
            "{}{}{}",
            char::from(b'a' + (i / 676 % 26) as u8),
            char::from(b'a' + (i / 26 % 26) as u8),
            char::from(b'a' + (i % 26) as u8)
        )
    };
    let n = 26 * 26 * 26 - 1;
    let chain: String = (0..n).map(|i| format!("r{}:r{}\n", name(i), name(i + 1))).collect();
    let rules = Constraint::Grammar(format!("start: r{}\n{chain}r{}: \"yes\"\n", name(0), name(n)));
    let chain = chain.to_uppercase();
    let terminals = Constraint::Grammar(format!(
        "start: R{}\n{chain}R{}: \"yes\"\n",
        name(0).to_uppercase(),
        name(n).to_uppercase()
    ));
    let mut definitions: serde_json::Map<String, Value> =
        (0..6000).map(|i| (name(i), json!({"$ref": format!("#/$defs/{}", name(i + 1))}))).collect();
    definitions.insert(name(6000), json!({"const": "yes"}));
    let references = schema(json!({"$ref": "#/$defs/aaa", "$defs": definitions}));
    for constraint in [rules, terminals, references] {
        // From a thread with little stack, as some callers have.
        let (engine, params) = (engine.clone(), with(constraint));
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let done = thread.spawn(move || engine.generate("A fox", params)).unwrap().join().expect("no panic");
        assert_eq!(done.unwrap().text.trim_matches('"'), "yes");
    }
}

/// What is found to be too complex only on the way ends its own request.
#[test]
fn too_complex_a_grammar_ends_its_own_request() {
    let engine = demo(2);
    let other = engine
        .submit(Request::new("Once upon a time").params(SamplingParams::default().max_tokens(100).ignore_eos(true)))
        .unwrap();
    let optional = Constraint::Regex(format!("x{{20}}{}{}", "a?".repeat(3000), "a".repeat(3000)));
    let error = engine.generate("A fox", with(optional)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("regular expression"), "{error}");
    assert_eq!(other.wait().unwrap().tokens.len(), 100);
    let done = engine.generate("A fox", with(Constraint::Regex("yes|no".into()))).unwrap();
    assert!(["yes", "no"].contains(&done.text.as_str()));
}

/// What ends a model's text otherwise is the limit of its tokens.
#[test]
fn numbers_come_to_an_end() {
    let engine = demo(1);
    // A model that writes the digit 7 wherever it may.
    let seven = (0..engine.token_table().len() as i32)
        .filter(|&token| engine.token_bytes(token, true).starts_with(b"7"))
        .map(|token| (token, 50.0))
        .collect::<Vec<_>>();
    for (schema, most) in [
        (json!({"type": "integer"}), 16),
        (json!({"type": "integer", "minimum": 5}), 16),
        (json!({"type": "number"}), 34),
        (json!({}), 34),
        (json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1}), 16),
    ] {
        let params = with(self::schema(schema.clone())).logit_bias(seven.clone()).max_tokens(100);
        let done = engine.generate("A fox", params).unwrap();
        assert_eq!(done.finish.reason, FinishReason::Stop, "{schema}: {}", done.text);
        let n_digits = done.text.bytes().filter(u8::is_ascii_digit).count();
        assert!((3..=most).contains(&n_digits), "{schema}: {}", done.text);
    }
    // Bounds that ask for more get more.
    let large = json!({"type": "integer", "minimum": 100_000_000_000_000_000_i64});
    let done = engine.generate("A fox", with(schema(large))).unwrap();
    assert!(done.text.parse::<u128>().unwrap() >= 100_000_000_000_000_000, "{}", done.text);
}

/// As pydantic, OpenAPI and their like write them; each ends and is what was asked for.
#[test]
fn schemas_of_common_libraries_are_taken() {
    let closed =
        json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}, "required": ["name"]});
    let names = ["name"];
    for text in texts(&schema(closed)) {
        let keys = serde_json::from_str::<serde_json::Map<String, Value>>(&text).unwrap();
        assert!(keys.keys().eq(names), "{text}");
    }
    let limited = json!({"type": "object", "propertyNames": {"enum": ["a", "b"]},
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 9}});
    for text in texts(&schema(limited)) {
        let found = serde_json::from_str::<serde_json::Map<String, Value>>(&text).unwrap();
        assert!(found.keys().all(|name| ["a", "b"].contains(&name.as_str())), "{text}");
    }
    let set = json!({"type": "array", "items": {"enum": ["x", "y", "z"]}, "uniqueItems": true, "minItems": 2});
    for text in texts(&schema(set)) {
        let found: Vec<String> = serde_json::from_str(&text).unwrap();
        assert!(found.len() >= 2 && found.iter().collect::<BTreeSet<_>>().len() == found.len(), "{text}");
    }
    let escaped = json!({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}});
    assert!(texts(&schema(escaped)).iter().all(|text| text.parse::<bool>().is_ok()));
    let pet = |name: &str| {
        json!({"type": "object", "required": [name],
            "properties": {name: {"type": "string", "format": "path", "maxLength": 5}}})
    };
    let one_of = json!({"oneOf": [pet("cat"), pet("dog")]});
    for text in texts(&schema(one_of)) {
        let found = serde_json::from_str::<serde_json::Map<String, Value>>(&text).unwrap();
        assert_eq!(found.len(), 1, "{text}");
    }
}

#[test]
fn many_seeds_find_many_ways() {
    let answers = Constraint::Regex("(red|green|blue)".into());
    let wild = with(answers).temperature(100.0).top_k(0).top_p(1.0).min_p(0.0);
    let engine = demo(8);
    let found: BTreeSet<String> =
        engine.generate_batch(vec!["A fox"; 64], &wild, |_, _| ()).into_iter().map(|done| done.unwrap().text).collect();
    assert_eq!(found.len(), 3, "{found:?}");
}
