//! llama.cpp's own grammars, GBNF, as llguidance's form of Lark.
//!
//! GBNF knows characters and rules alone. llguidance wants lexemes: pieces that match a regular expression, each read as far as
//! it goes. So a rule that does not come back to itself becomes one terminal, and a grammar without recursion one lexeme,
//! which is exact. In a recursive rule each run of items between two recursive references is a lexeme: nothing is let through
//! that the grammar forbids, but a run does not end before it has to.

mod parser;

use parser::Parser;

/// Whether a text begins as GBNF does, with a rule `name ::=`; no Lark does.
pub(super) fn is_gbnf(text: &str) -> bool {
    Parser::new(text).begins_a_rule()
}

/// The same grammar as Lark, whose `start` is `root`.
///
/// # Errors
/// In words, with the line.
pub(super) fn to_lark(text: &str) -> Result<String, String> {
    let mut rules = Parser::new(text).rules()?;
    if !prune(&mut rules) {
        return Err("no text is of the rule 'root': whichever way is taken, it comes back to itself without end".into());
    }
    Ok(Writer::new(rules).write())
}

enum What {
    /// Characters, as a regular expression.
    Regex(String),
    Rule(usize),
    /// A token of the vocabulary, as Lark writes it.
    Token(String),
}

struct Item {
    what: What,
    min: u32,
    max: Option<u32>,
}

impl Item {
    fn once(what: What) -> Self {
        Self { what, min: 1, max: Some(1) }
    }

    fn suffix(&self) -> String {
        match (self.min, self.max) {
            (1, Some(1)) => String::new(),
            (0, Some(1)) => "?".into(),
            (0, None) => "*".into(),
            (1, None) => "+".into(),
            (min, None) => format!("{{{min},}}"),
            (min, Some(max)) => format!("{{{min},{max}}}"),
        }
    }
}

/// Alternatives, each a sequence.
type Rule = Vec<Vec<Item>>;

struct Writer {
    rules: Vec<Rule>,
    /// Which rules have neither recursion nor tokens.
    regular: Vec<bool>,
    out: String,
    /// Terminals and rules so far.
    n_names: usize,
}

impl Writer {
    fn new(rules: Vec<Rule>) -> Self {
        Self { regular: regular(&rules), out: String::new(), n_names: rules.len(), rules }
    }

    fn write(mut self) -> String {
        self.out = format!("start: {}\n", self.name(0));
        for (index, rule) in std::mem::take(&mut self.rules).into_iter().enumerate() {
            // One that never ends, which nothing refers to any more.
            if rule.is_empty() {
                continue;
            }
            let is_terminal = self.regular[index];
            let sequence = |items: Vec<Item>| if is_terminal { self.text(&items) } else { self.with_runs(items) };
            let alternatives = rule.into_iter().map(sequence).collect::<Vec<_>>().join(" | ");
            let name = self.name(index);
            self.define(&name, &alternatives);
        }
        self.out
    }

    fn define(&mut self, name: &str, text: &str) {
        self.out.push_str(&format!("{name}: {text}\n"));
    }

    /// Lark tells terminals and rules apart by their case.
    fn name(&self, rule: usize) -> String {
        format!("{}{rule}", if self.regular[rule] { 'T' } else { 'r' })
    }

    fn text(&self, items: &[Item]) -> String {
        let each = items.iter().map(|item| {
            let what = match &item.what {
                What::Regex(regex) if regex.is_empty() => "\"\"".into(),
                What::Regex(regex) => format!("/{regex}/"),
                What::Rule(rule) => self.name(*rule),
                What::Token(token) => token.clone(),
            };
            what + &item.suffix()
        });
        let text = each.collect::<Vec<_>>().join(" ");
        if text.is_empty() { "\"\"".into() } else { text }
    }

    /// A sequence of a recursive rule, with a terminal for each run of regular items.
    fn with_runs(&mut self, items: Vec<Item>) -> String {
        let (mut parts, mut run) = (Vec::new(), Vec::new());
        for item in items {
            let is_regular = match &item.what {
                What::Regex(_) => true,
                What::Rule(rule) => self.regular[*rule],
                What::Token(_) => false,
            };
            if is_regular {
                run.push(item);
            } else {
                parts.extend(self.terminal(&mut run));
                parts.push(self.text(&[item]));
            }
        }
        parts.extend(self.terminal(&mut run));
        if parts.is_empty() { "\"\"".into() } else { parts.join(" ") }
    }

    fn terminal(&mut self, run: &mut Vec<Item>) -> Option<String> {
        let run = std::mem::take(run);
        if run.is_empty() {
            return None;
        }
        let name = format!("T{}", self.n_names);
        self.n_names += 1;
        self.define(&name, &self.text(&run));
        Some(name)
    }
}

/// Takes away alternatives that never come to an end, so that none of them is begun; whether the first rule has one left.
fn prune(rules: &mut [Rule]) -> bool {
    let needs = |item: &Item| match item.what {
        What::Rule(rule) if item.min > 0 => Some(rule),
        _ => None,
    };
    // From nothing up: a rule ends once all that one of its alternatives needs does.
    let mut used_by = vec![Vec::new(); rules.len()];
    let mut missing: Vec<Vec<usize>> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let each = rule.iter().enumerate().map(|(alternative, items)| {
            let needed: Vec<usize> = items.iter().filter_map(needs).collect();
            needed.iter().for_each(|&rule| used_by[rule].push((index, alternative)));
            needed.len()
        });
        missing.push(each.collect());
    }
    let ends_at_once = |index: &usize| missing[*index].contains(&0);
    let mut ready: Vec<usize> = (0..rules.len()).filter(ends_at_once).collect();
    let mut ends = vec![false; rules.len()];
    ready.iter().for_each(|&index| ends[index] = true);
    while let Some(rule) = ready.pop() {
        for &(index, alternative) in &used_by[rule] {
            missing[index][alternative] -= 1;
            if missing[index][alternative] == 0 && !ends[index] {
                ends[index] = true;
                ready.push(index);
            }
        }
    }
    for rule in rules.iter_mut() {
        rule.retain(|items| items.iter().filter_map(needs).all(|rule| ends[rule]));
        for items in rule {
            items.retain(|item| !matches!(item.what, What::Rule(rule) if !ends[rule]));
        }
    }
    ends[0]
}

/// A rule is regular when all that it refers to are; those that refer to themselves, on whatever way, never become so.
fn regular(rules: &[Rule]) -> Vec<bool> {
    let (mut open, mut used_by) = (vec![0_usize; rules.len()], vec![Vec::new(); rules.len()]);
    for (index, rule) in rules.iter().enumerate() {
        for item in rule.iter().flatten() {
            match item.what {
                What::Rule(other) => {
                    open[index] += 1;
                    used_by[other].push(index);
                }
                What::Token(_) => open[index] += 1,
                What::Regex(_) => {}
            }
        }
    }
    let mut regular: Vec<bool> = open.iter().map(|&open| open == 0).collect();
    let mut ready: Vec<usize> = (0..rules.len()).filter(|&index| regular[index]).collect();
    while let Some(index) = ready.pop() {
        for &user in &used_by[index] {
            open[user] -= 1;
            if open[user] == 0 {
                regular[user] = true;
                ready.push(user);
            }
        }
    }
    regular
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lark(gbnf: &str) -> String {
        assert!(is_gbnf(gbnf), "{gbnf}");
        to_lark(gbnf).unwrap_or_else(|error| panic!("{error}: {gbnf}"))
    }

    #[test]
    fn what_does_not_recur_is_one_terminal() {
        let text = "# a comment\nroot ::= \"a b\" | [^\\n0-9]+ # another\n  \"x\"? | . digits{2,}\ndigits::=[0-9]{3} [a\\-]{1,2}";
        let broken = to_lark(text).unwrap_err();
        assert!(broken.starts_with("line 3: the name of a rule is expected"), "a rule ends with its line: {broken}");
        let text = text.replace("# another\n  ", "");
        assert_eq!(
            lark(&text),
            "start: T0\nT0: /a\\x{20}b/ | /[^\\x{A}0-9]/+ /x/? | /(?s:.)/ T1{2,}\nT1: /[0-9]/{3,3} /[a\\x{2D}]/{1,2}\n"
        );
    }

    #[test]
    fn runs_between_recursive_references_are_terminals() {
        let text = "root ::= | \"(\" ws (root (\",\" ws root)*)? \")\" | [0-9]+\nws ::= [ ]*";
        assert_eq!(
            lark(text),
            "start: r0\nT4: /\\x{28}/ T1\nT5: /\\x{29}/\nT6: /[0-9]/+\nr0: \"\" | T4 r3? T5 | T6\n\
             T1: /[\\x{20}]/*\nT7: /\\x{2C}/ T1\nr2: T7 r0\nr3: r0 r2*\n"
        );
    }

    #[test]
    fn escapes_and_tokens_are_read() {
        let text = r#"root ::= "\x41\u00e9\U0001F98A\"\\\t\[" <[7]> <think> !<[8]>* ""{0}"#;
        assert_eq!(
            lark(text),
            "start: r0\nT1: /A\\x{E9}\\x{1F98A}\\x{22}\\x{5C}\\x{9}\\x{5B}/\nT2: \"\"\nr0: T1 <[7]> <think> <[^8]>* T2\n"
        );
    }

    #[test]
    fn lark_is_told_from_gbnf() {
        for text in ["start: \"a ::= b\"", "%llguidance {}\nstart: a", "// root ::= a", "start: /x/ # root ::= a", ""] {
            assert!(!is_gbnf(text), "{text}");
        }
        assert!(is_gbnf("\r\n # note\n my-rule\t::="));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let deep = format!("root ::= {}", "(".repeat(100_000));
        for (text, words) in [
            ("root ::= a\n", "there is no rule 'a'"),
            ("a ::= \"x\"", "there is no rule 'root'"),
            ("root ::= \"a\nb ::= \"x", "there is no rule 'x'"),
            ("root ::= \"a", "ends within a literal"),
            ("root ::= (\"a\"", "')' is expected, not the end"),
            ("root ::= \"a\")", "the end of the rule 'root' is expected, not ')'"),
            ("root ::= *", "nothing before '*'"),
            ("root ::= \"\\q\"", "no escape '\\q'"),
            ("root ::= \"\\u12\"", "4 hexadecimal digits"),
            ("root ::= \"\\uD800\"", "no character"),
            ("root ::= [z-a]", "empty"),
            ("root ::= []", "empty"),
            ("root ::= \"a\"{x}", "a number is expected, not 'x'"),
            ("root ::= \"a\"{3,2}", "ends below"),
            ("root ::= \"a\"{9999999999}", "too many"),
            ("root ::= !<x>", "give the number"),
            ("root ::= <a b>", "no token"),
            ("root ::= \"a\"\n!", "line 2: the name of a rule"),
            (&deep, "nested more than 200"),
        ] {
            let error = to_lark(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
