//! Random texts under random schemas, in every form of calls.

use fastrand::Rng;
use llama_concurrent_types::{Allowed, Matcher, Token};
use serde_json::Value;

use super::{Vocabulary, schemas};
use crate::event::Message;
use crate::format::{Format, Start};
use crate::parser::{Parser, ParserOptions};
use crate::steering::{Steering, SteeringOptions};
use crate::tool::{Tool, ToolChoice};
use crate::families;

/// What became of many texts.
#[derive(Debug, Default)]
struct Count {
    refused: usize,
    whole: usize,
    endless: usize,
}

/// A random text from here on; `None` if it did not come to its end in time.
fn walk(matcher: &mut dyn Matcher, rng: &mut Rng, vocabulary: &Vocabulary) -> Result<Option<Vec<u8>>, String> {
    let mut text = Vec::new();
    let table = &vocabulary.table;
    for step in 0..1500 {
        let before = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (mask, may_end) = match matcher.allowed().map_err(|why| format!("{why} after {:?}", before(&text)))? {
            Allowed::Nothing => return Ok(Some(text)),
            Allowed::Anything { .. } => return Err(format!("anything may follow {:?}", before(&text))),
            Allowed::Tokens { mask, may_end } => (mask, may_end),
        };
        if may_end && (step > 250 || rng.u8(..3) == 0) {
            return Ok(Some(text));
        }
        let all: Vec<Token> = (0..table.len() as Token).filter(|&token| mask.allows(token)).collect();
        if all.is_empty() {
            return Err(format!("nothing may follow {:?}", before(&text)));
        }
        // What ends something is taken more often, so that texts end, and what goes on, so that they hold something.
        let ends: Vec<Token> =
            all.iter().copied().filter(|token| vocabulary.ends.contains(token) || b"\"}])".contains(&table.text(*token, true)[0])).collect();
        let goes_on: Vec<Token> = all.iter().copied().filter(|&token| table.text(token, true) == b",").collect();
        let from = match rng.u8(..4) {
            0 | 1 if !ends.is_empty() && (step > 250 || rng.bool()) => &ends,
            2 if !goes_on.is_empty() && step < 250 => &goes_on,
            _ => &all,
        };
        let token = *rng.choice(from.iter()).expect("not empty");
        text.extend(table.text(token, true));
        if matcher.accept(token).map_err(|why| format!("{why} at {:?}", before(&text)))? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn read(format: &Format, tools: &[Tool], start: Start, text: &str) -> Message {
    let mut options = ParserOptions::default();
    options.start = start;
    let mut parser = Parser::new(format, tools, options);
    let mut message: Message = parser.push(text).into_iter().collect();
    message.extend(parser.finish());
    message
}

fn check(format: &Format, seeds: std::ops::Range<u64>, n_walks: usize, count: &mut Count) {
    let form = format.call_form().expect("a form of calls");
    for control in [false, true] {
        let vocabulary = Vocabulary::new(format, control);
        for seed in seeds.clone() {
            let mut rng = Rng::with_seed(seed * 1009 + u64::from(control));
            let tools = ["do_it", "do_it_2", "x.y-z"].map(|name| Tool::new(name, schemas::arguments(&mut rng)));
            let mut options = SteeringOptions::default();
            options.choice = match seed % 3 {
                0 => ToolChoice::Function("do_it_2".into()),
                _ => ToolChoice::Required,
            };
            options.parallel = rng.bool();
            options.max_calls = Some(3);
            // Where a message has a header, or nothing opens a call, it is at the beginning.
            let at_beginning = format.channels.is_some() || format.calls.is_some_and(|form| form.is_bare);
            options.start = if at_beginning { Start::Message } else { Start::Content };
            let steering = match Steering::new(format, &tools, &options, &vocabulary.table) {
                Ok(steering) => steering.expect("calls are required"),
                Err(why) => {
                    assert!(!why.to_string().is_empty());
                    count.refused += 1;
                    continue;
                }
            };
            let compile = |constraint: &_| vocabulary.compile(constraint);
            let matcher = match steering.matcher(compile, vocabulary.table.clone(), Vec::new()) {
                Ok(matcher) => matcher,
                Err(why) if ["parts when", "nsatisfiable", "satisfies"].iter().any(|known| why.to_string().contains(known)) => {
                    count.refused += 1;
                    continue;
                }
                Err(why) => panic!("{form} {seed}: {why}\n{:?}", steering.constraints().collect::<Vec<_>>()),
            };
            for _ in 0..n_walks {
                let mut matcher = matcher.boxed_clone();
                // A thought may come first in a message.
                let text = match walk(&mut *matcher, &mut rng, &vocabulary) {
                    Ok(Some(text)) => String::from_utf8(text).expect("characters"),
                    Ok(None) => {
                        count.endless += 1;
                        continue;
                    }
                    Err(why) if why.starts_with("anything may follow") => continue,
                    Err(why) => panic!("{form} {control} {seed}: {why}\n{:?}", steering.constraints().collect::<Vec<_>>()),
                };
                let message = read(format, &tools, options.start, &text);
                let context = || {
                    let called = message.calls.first().map(|call| &call.name);
                    let tool = tools.iter().find(|tool| Some(&tool.name) == called);
                    format!("{form} control {control} seed {seed}\n{text:?}\n{message:?}\n{}", tool.map_or(&Value::Null, |tool| &tool.parameters))
                };
                assert!(!message.calls.is_empty() && message.content.trim().is_empty(), "{}", context());
                assert!(message.calls.len() <= if options.parallel { 3 } else { 1 }, "{}", context());
                for call in &message.calls {
                    assert!(call.complete, "{}", context());
                    let tool = tools.iter().find(|tool| tool.name == call.name).unwrap_or_else(|| panic!("{}", context()));
                    let value: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|e| panic!("{e} {}", context()));
                    let validator = jsonschema::draft202012::new(&tool.parameters).expect("a schema");
                    assert!(validator.is_valid(&value), "{value} is not valid: {}\n{}", tool.parameters, context());
                    if let ToolChoice::Function(name) = &options.choice {
                        assert_eq!(*name, call.name);
                    }
                }
                count.whole += 1;
            }
        }
    }
}

/// Random schemas in each form, and texts of each.
fn sizes() -> (u64, usize) {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (read("STEERING_SCHEMAS").unwrap_or(6), read("STEERING_WALKS").unwrap_or(3) as usize)
}

#[test]
fn random_texts_in_every_form_are_read_back_as_valid_calls() {
    let (n_schemas, n_walks) = sizes();
    for format in families::all() {
        let form = format.call_form().expect("a form of calls");
        if std::env::var("STEERING_FORM").is_ok_and(|only| only != form) {
            continue;
        }
        let mut count = Count::default();
        check(&format, 0..n_schemas, n_walks, &mut count);
        println!("{form:18} {count:?}");
        assert!(count.whole > 0, "{form}: {count:?}");
    }
}
