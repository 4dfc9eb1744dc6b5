//! Reading GBNF: rules of alternatives of items; groups become rules without names.

use std::collections::HashMap;

use super::{Item, Rule, What};

/// Groups within groups that are followed.
const MAX_DEPTH: usize = 200;
/// The largest number in braces.
const MAX_REPEAT: u32 = 100_000;

pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: HashMap<&'a str, usize>,
    /// With its name, if it has one; `None` while only its name is known.
    rules: Vec<(&'a str, Option<Rule>)>,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, names: HashMap::from([("root", 0)]), rules: vec![("root", None)], depth: 0 }
    }

    pub(super) fn begins_a_rule(&mut self) -> bool {
        self.skip_space(true);
        let has_name = self.name().is_some();
        self.skip_space(false);
        has_name && self.rest().starts_with("::=")
    }

    /// All rules, the first of them `root`.
    pub(super) fn rules(mut self) -> Result<Vec<Rule>, String> {
        if let Err(why) = self.grammar() {
            let line = 1 + self.text[..self.at].matches('\n').count();
            return Err(format!("line {line}: {why}"));
        }
        let each = |(name, rule): (&str, Option<Rule>)| {
            rule.ok_or_else(|| format!("there is no rule '{name}', write '{name} ::= ...'"))
        };
        self.rules.into_iter().map(each).collect()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("'{wanted}' is expected, not {}", self.here())) }
    }

    /// What stands at this place, for messages.
    fn here(&self) -> String {
        self.peek().map_or("the end of the text".into(), |c| format!("{c:?}"))
    }

    /// Passes white space and comments.
    fn skip_space(&mut self, newlines: bool) {
        loop {
            let rest = self.rest();
            let space = |c: char| matches!(c, ' ' | '\t') || newlines && matches!(c, '\r' | '\n');
            let length = match rest.strip_prefix('#') {
                Some(comment) => 1 + comment.find(['\r', '\n']).unwrap_or(comment.len()),
                None => rest.len() - rest.trim_start_matches(space).len(),
            };
            if length == 0 {
                return;
            }
            self.at += length;
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn rule_of(&mut self, name: &'a str) -> usize {
        *self.names.entry(name).or_insert_with(|| {
            self.rules.push((name, None));
            self.rules.len() - 1
        })
    }

    fn grammar(&mut self) -> Result<(), String> {
        self.skip_space(true);
        while self.peek().is_some() {
            let name = self.name().ok_or_else(|| format!("the name of a rule is expected, not {}", self.here()))?;
            self.skip_space(false);
            self.expect("::=")?;
            let rule = self.rule_of(name);
            let alternatives = self.alternatives(false)?;
            // The last of several is the one, as in llama.cpp.
            self.rules[rule].1 = Some(alternatives);
            if !matches!(self.peek(), None | Some('\r' | '\n')) {
                return Err(format!("the end of the rule '{name}' is expected, not {}", self.here()));
            }
            self.skip_space(true);
        }
        Ok(())
    }

    /// Within parentheses the items may stand on several lines.
    fn alternatives(&mut self, nested: bool) -> Result<Rule, String> {
        let mut alternatives = Vec::new();
        loop {
            self.skip_space(true);
            alternatives.push(self.sequence(nested)?);
            if !self.take("|") {
                return Ok(alternatives);
            }
        }
    }

    fn sequence(&mut self, nested: bool) -> Result<Vec<Item>, String> {
        let mut items: Vec<Item> = Vec::new();
        loop {
            let Some(next) = self.peek() else { return Ok(items) };
            match next {
                '*' | '+' | '?' | '{' => {
                    let (min, max) = self.repetition()?;
                    let last = items.pop().ok_or_else(|| format!("there is nothing before '{next}' to repeat"))?;
                    let what =
                        if last.suffix().is_empty() { last.what } else { What::Rule(self.hidden(vec![vec![last]])) };
                    // Nothing at all is written so that it has no braces, which may not end at 0.
                    let never = max == Some(0);
                    items.push(if never { Item::once(What::Regex(String::new())) } else { Item { what, min, max } });
                }
                '"' | '[' | '.' => items.push(Item::once(What::Regex(self.characters()?))),
                '<' | '!' => items.push(Item::once(What::Token(self.token()?))),
                '(' => {
                    self.at += 1;
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(format!("groups are nested more than {MAX_DEPTH} deep"));
                    }
                    let group = self.alternatives(true)?;
                    self.expect(")")?;
                    self.depth -= 1;
                    items.push(Item::once(What::Rule(self.hidden(group))));
                }
                _ => match self.name() {
                    Some(name) => items.push(Item::once(What::Rule(self.rule_of(name)))),
                    None => return Ok(items),
                },
            }
            self.skip_space(nested);
        }
    }

    /// A rule without a name.
    fn hidden(&mut self, rule: Rule) -> usize {
        self.rules.push(("", Some(rule)));
        self.rules.len() - 1
    }

    fn repetition(&mut self) -> Result<(u32, Option<u32>), String> {
        for (sign, range) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.take(sign) {
                return Ok(range);
            }
        }
        self.expect("{")?;
        let min = self.number()?;
        let max = match self.take(",") {
            false => Some(min),
            true => {
                self.skip_space(true);
                if self.rest().starts_with('}') { None } else { Some(self.number()?) }
            }
        };
        self.expect("}")?;
        if max.is_some_and(|max| max < min) {
            return Err(format!("the repetition ends below its beginning, {min}"));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<u32, String> {
        self.skip_space(true);
        let rest = self.rest();
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if digits.is_empty() {
            return Err(format!("a number is expected, not {}", self.here()));
        }
        self.at += digits.len();
        self.skip_space(true);
        let number = digits.parse().ok().filter(|&number| number <= MAX_REPEAT);
        number.ok_or_else(|| format!("{digits} repetitions are too many; at most {MAX_REPEAT} can be counted"))
    }

    /// A literal, a class or a dot, as a regular expression.
    fn characters(&mut self) -> Result<String, String> {
        let mut regex = String::new();
        if self.take(".") {
            return Ok("(?s:.)".into());
        }
        if self.take("\"") {
            while !self.take("\"") {
                regex += &escaped(self.character()?);
            }
            return Ok(regex);
        }
        self.expect("[")?;
        let negated = self.take("^");
        while !self.take("]") {
            let first = self.character()?;
            regex += &escaped(first);
            let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            if is_range && self.take("-") {
                let last = self.character()?;
                if last < first {
                    return Err(format!("the range from {first:?} to {last:?} is empty"));
                }
                regex += &format!("-{}", escaped(last));
            }
        }
        match (regex.is_empty(), negated) {
            (true, _) => Err("a class of characters is empty".into()),
            (_, true) => Ok(format!("[^{regex}]")),
            (_, false) => Ok(format!("[{regex}]")),
        }
    }

    fn character(&mut self) -> Result<char, String> {
        let next = self.peek().ok_or("the text ends within a literal or a class")?;
        self.at += next.len_utf8();
        if next != '\\' {
            return Ok(next);
        }
        let code = self.peek().ok_or("the text ends within an escape")?;
        self.at += code.len_utf8();
        let digits = match code {
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'n' => return Ok('\n'),
            '\\' | '"' | '[' | ']' | '-' => return Ok(code),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(format!("there is no escape '\\{code}'")),
        };
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| format!("{digits} hexadecimal digits are expected after '\\{code}'"))?;
        self.at += digits;
        let value = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        value.ok_or_else(|| format!("'\\{code}{hex}' is no character"))
    }

    /// `<[7]>`, `<text>`, and with `!` any other token.
    fn token(&mut self) -> Result<String, String> {
        let negated = self.take("!");
        self.expect("<")?;
        let end = self.rest().find(['>', '\n']).filter(|&end| self.rest()[end..].starts_with('>'));
        let text = &self.rest()[..end.ok_or("a token ends with '>'")?];
        self.at += text.len() + 1;
        let id = text.strip_prefix('[').and_then(|id| id.strip_suffix(']')?.parse::<u32>().ok());
        match id {
            Some(id) if negated => Ok(format!("<[^{id}]>")),
            Some(id) => Ok(format!("<[{id}]>")),
            None if negated => Err(format!("'!<{text}>' is not read; give the number of the token, as in '!<[7]>'")),
            None if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "<[]*".contains(c)) => {
                Err(format!("'<{text}>' is no token"))
            }
            None => Ok(format!("<{text}>")),
        }
    }
}

/// A character in a regular expression, in a class too.
fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.into() } else { format!("\\x{{{:X}}}", u32::from(c)) }
}
