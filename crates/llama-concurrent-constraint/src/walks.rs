//! Random texts under random schemas: none leads into a dead end, and every whole one is valid.

use llama_concurrent_types::{Token, TokenTable};
use serde_json::{Map, Value, json};

use llama_concurrent_types::{Allowed, Matcher};

use super::{Compiler, Constraint, Grammar};

/// Tokens of single bytes, and a few longer ones of digits as real vocabularies have them.
fn compiler() -> Compiler {
    let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
    words.extend(
        ["000", "123", "00000000000000000000", "\": ", "\", \"", ": 1", "}}"].map(|word| word.as_bytes().to_vec()),
    );
    Compiler::new(&TokenTable::new(words, vec![])).expect("a vocabulary")
}

/// A generator of numbers that are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// A schema whose references are to the definitions `a`, `b` and `c/d`.
fn schema(dice: &mut Dice, depth: usize) -> Value {
    if dice.one_in(8) {
        return json!({"$ref": dice.pick(&["#/$defs/a", "#/$defs/b", "#/$defs/c~1d"])});
    }
    if depth == 0 {
        return scalar(dice);
    }
    match dice.below(9) {
        0 | 1 => object(dice, depth),
        2 => array(dice, depth),
        3 => json!({"anyOf": [schema(dice, depth - 1), schema(dice, depth - 1)]}),
        4 => json!({"allOf": [object(dice, depth - 1), object(dice, depth - 1)]}),
        5 => json!({"type": ["object", "null"], "properties": {"x": schema(dice, depth - 1)}, "required": ["x"]}),
        _ => scalar(dice),
    }
}

fn scalar(dice: &mut Dice) -> Value {
    match dice.below(11) {
        0 => json!({"type": "integer"}),
        1 => json!({"type": "integer", "minimum": dice.below(20) as i64 - 10, "maximum": dice.below(300) + 10}),
        2 => json!({"type": "integer", "multipleOf": dice.pick(&[2, 3, 7])}),
        3 => json!({"type": "number"}),
        4 => json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
        5 => json!({"type": "string", "minLength": dice.below(3), "maxLength": 2 + dice.below(5)}),
        6 => json!({"type": "string", "pattern": dice.pick(&["^[a-z]{2,4}$", "x", "^(a|b)*$", "[0-9]-[0-9]"])}),
        7 => json!({"type": "string", "format": dice.pick(&["date", "uuid", "path", "ipv4"])}),
        8 => json!({"enum": ["a", 1, null, [1, "x"]]}),
        9 => json!({"const": dice.pick(&["k", "l"])}),
        _ => json!({"type": dice.pick(&["boolean", "null", "string"])}),
    }
}

fn array(dice: &mut Dice, depth: usize) -> Value {
    if dice.one_in(4) {
        let items = json!({"enum": ["p", "q", "r"]});
        return json!({"type": "array", "items": items, "uniqueItems": true, "minItems": dice.below(3)});
    }
    let mut array = json!({"type": "array", "items": schema(dice, depth - 1), "maxItems": 1 + dice.below(4)});
    if dice.one_in(3) {
        array["minItems"] = 1.into();
    }
    if dice.one_in(4) {
        array["prefixItems"] = json!([schema(dice, depth - 1)]);
    }
    array
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    const NAMES: [&str; 5] = ["aa", "ab", "b", "c\"c", "dé"];
    let depth = depth.saturating_sub(1);
    let names: Vec<&str> = NAMES.into_iter().filter(|_| dice.one_in(2)).collect();
    let properties: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), schema(dice, depth))).collect();
    let required: Vec<&str> = names.iter().copied().filter(|_| dice.one_in(2)).collect();
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    match dice.below(6) {
        0 => object["additionalProperties"] = false.into(),
        1 => object["additionalProperties"] = scalar(dice),
        2 => object["patternProperties"] = json!({dice.pick(&["^aa$", "^a", "^(aa|ab)$", "^z"]): scalar(dice)}),
        3 => object["propertyNames"] = json!({"enum": ["aa", "b", "new"]}),
        4 if names.len() > 1 => object["dependentRequired"] = json!({names[0]: [names[1]]}),
        _ => {}
    }
    if dice.one_in(8) {
        object["minProperties"] = 1.into();
    }
    object
}

/// A random text; `None` if it did not come to its end in time.
fn walk(mut grammar: Grammar, dice: &mut Dice, vocabulary: &[Vec<u8>]) -> Result<Option<String>, String> {
    let mut text = Vec::new();
    for step in 0..2000 {
        let before = || String::from_utf8_lossy(&text).into_owned();
        let (mask, may_end) = match grammar.allowed().map_err(|why| format!("{why} after {}", before()))? {
            Allowed::Nothing => return Ok(Some(String::from_utf8(text).map_err(|e| e.to_string())?)),
            Allowed::Anything { .. } => return Err("a grammar allows anything".into()),
            Allowed::Tokens { mask, may_end } => (mask, may_end),
        };
        if may_end && (step > 300 || dice.one_in(3)) {
            return Ok(Some(String::from_utf8(text).map_err(|e| e.to_string())?));
        }
        let all: Vec<usize> = (0..vocabulary.len()).filter(|&token| mask.allows(token as Token)).collect();
        // What ends something is taken more often, so that texts end, and what goes on, so that they hold something.
        let ends: Vec<usize> = all.iter().copied().filter(|&t| b"\"}]".contains(&vocabulary[t][0])).collect();
        let goes_on: Vec<usize> = all.iter().copied().filter(|&t| b",".contains(&vocabulary[t][0])).collect();
        let from = match dice.below(4) {
            0 | 1 if !ends.is_empty() && (step > 300 || dice.one_in(2)) => &ends,
            2 if !goes_on.is_empty() && step < 300 => &goes_on,
            _ => &all,
        };
        if from.is_empty() {
            return Err(format!("nothing may follow {}", before()));
        }
        let token = dice.pick(from);
        text.extend(&vocabulary[token]);
        if grammar.accept(token as Token).map_err(|why| format!("{why} at {}", String::from_utf8_lossy(&text)))? {
            return Ok(Some(String::from_utf8(text).map_err(|e| e.to_string())?));
        }
    }
    Ok(None)
}

#[test]
fn random_texts_under_random_schemas_end_and_are_valid() {
    let compiler = compiler();
    let vocabulary: Vec<Vec<u8>> = (0..263).map(|token| compiler.bytes(token).to_vec()).collect();
    let (mut refused, mut whole, mut endless) = (0, 0, 0);
    for seed in 1..=400_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut root = schema(&mut dice, 3);
        root["$defs"] = json!({"a": schema(&mut dice, 2), "b": schema(&mut dice, 1), "c/d": scalar(&mut dice)});
        let validator = jsonschema::draft202012::new(&root).expect("a schema");
        let grammar = match compiler.compile(&Constraint::JsonSchema(root.to_string())) {
            Ok(grammar) => grammar,
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        for _ in 0..5 {
            match walk(grammar.apart(), &mut dice, &vocabulary) {
                Ok(Some(text)) => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}\n{root}"));
                    assert!(validator.is_valid(&value), "{seed}: {text}\n{root}");
                    whole += 1;
                }
                Ok(None) => endless += 1,
                Err(why) => panic!("{seed}: {why}\n{root}"),
            }
        }
    }
    assert!(refused < 100, "{refused} of 400 schemas were refused");
    assert!(whole > 1000 && endless < whole / 10, "{whole} whole texts, {endless} without an end");
}

#[test]
fn what_is_forced_follows_and_asking_for_it_changes_nothing() {
    let fox = json!({"type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {"name": {"const": "red fox"}}});
    let mut grammar = compiler().compile(&Constraint::JsonSchema(fox.to_string())).expect("a schema");
    for byte in b"{\"" {
        assert!(!grammar.accept(Token::from(*byte)).expect("it may come"));
    }
    let before = grammar.allowed();
    let forced = grammar.forced();
    assert!(forced.starts_with(b"name\""), "{:?}", String::from_utf8_lossy(&forced));
    assert_eq!(grammar.allowed(), before);
    for byte in forced {
        let Ok(Allowed::Tokens { mask, .. }) = grammar.allowed() else { panic!("some tokens may follow") };
        assert!(mask.allows(Token::from(byte)));
        grammar.accept(Token::from(byte)).expect("it may come");
    }
}
