//! Arguments as nested elements, whose tags are the names of properties.

use std::collections::HashMap;

use serde_json::Value;

use super::kinds::{All, Kind, List, Object, kinds};
use super::lark::{Lark, group};
use super::parameters::{Schema, objects};
use super::texts::{before, plain_number, type_of, written};
use super::values::{NOTHING, Style, Values};
use crate::schema::{Types, items, property};

/// The tag of the elements of a list.
const ITEM: &str = "item";

/// Schemas that hold for a value, what whoever reads it knows of it, and its tag.
type Key<'a> = (Vec<*const Value>, Option<*const Value>, &'a str);

struct Writer<'l, 'v, 'a> {
    lark: &'l mut Lark<'v>,
    prefix: &'static str,
    schema: Schema<'a>,
    rules: HashMap<Key<'a>, Result<Option<String>, String>>,
    values: Values<'a>,
}

/// The expression for the arguments of a tool.
///
/// # Errors
/// In words, for what cannot be written in this notation.
pub(super) fn arguments(lark: &mut Lark<'_>, prefix: &'static str, schema: Schema<'_>) -> Result<String, String> {
    let values = Values::new(Style::Json(prefix), schema.rewritten);
    let mut writer = Writer { lark, prefix, schema, rules: HashMap::new(), values };
    let mut options = Vec::new();
    let mut why = "its schema allows no object".to_owned();
    for object in objects(schema.rewritten)? {
        match writer.object(&object, Some(schema.original)) {
            Ok(Some(inner)) => options.push(inner),
            Ok(None) => {}
            Err(reason) => why = reason,
        }
    }
    if options.is_empty() { Err(why) } else { Ok(writer.lark.rule(group(&options))) }
}

impl<'a> Writer<'_, '_, 'a> {
    /// An element with a value in it. `known` is its schema as whoever reads it finds it.
    fn element(&mut self, tag: &'a str, all: &All<'a>, known: Option<&'a Value>) -> Result<Option<String>, String> {
        let pointer = |schema: &'a Value| std::ptr::from_ref(schema);
        let key = (all.iter().copied().map(pointer).collect(), known.map(pointer), tag);
        if let Some(known) = self.rules.get(&key) {
            return known.clone();
        }
        let name = self.lark.reserve('r');
        self.rules.insert(key.clone(), Ok(Some(name.clone())));
        let open = self.lark.markup(&format!("{}<{tag}>", self.prefix));
        let rule = self.content(tag, all, known).map(|options| {
            (!options.is_empty()).then(|| {
                self.lark.define(&name, &format!("{open} {}", group(&options)));
                name.clone()
            })
        });
        if !matches!(rule, Ok(Some(_))) {
            // It may have been referred to from within.
            self.lark.define(&name, NOTHING);
        }
        self.rules.insert(key, rule.clone());
        rule
    }

    /// What may stand in an element, with its closing tag.
    fn content(&mut self, tag: &str, all: &All<'a>, known: Option<&'a Value>) -> Result<Vec<String>, String> {
        let root = self.schema.rewritten;
        let reading = known.map_or(Types::ANY, |of| Types::of(of, self.schema.original));
        let kinds = kinds(all, root)?;
        let close = format!("{}</{tag}>", self.prefix);
        let mut options = Vec::new();
        // Lists and objects are elements, and everything else is a text.
        let (nested, flat): (Vec<Kind<'a>>, Vec<Kind<'a>>) =
            kinds.into_iter().partition(|kind| matches!(kind, Kind::List(_) | Kind::Object(_)));
        if !reading.is_text() {
            for kind in &nested {
                let inner = match kind {
                    Kind::Object(object) if object.is_map() && reading.may_be_object() => {
                        // No grammar says that a closing tag has the name of the opening one; JSON is read as well.
                        self.values.of_kinds(self.lark, std::slice::from_ref(kind), all)?
                    }
                    Kind::List(list) if reading.may_be_list() => self.list(list, known, !reading.may_be_text())?,
                    Kind::Object(object) if reading.may_be_object() => {
                        let is_read_as_list = |object: &Object<'_>| {
                            reading.may_be_list() && object.properties.iter().any(|own| own.name == ITEM)
                        };
                        let may_be_empty = !reading.may_be_text() && !reading.may_be_list();
                        match object.clone().bounded().filter(|object| !is_read_as_list(object)) {
                            Some(mut object) => {
                                if !may_be_empty {
                                    object.min = object.min.max(1);
                                }
                                match object.bounded() {
                                    Some(object) => self.object(&object, known)?,
                                    None => None,
                                }
                            }
                            None => None,
                        }
                    }
                    _ => None,
                };
                if let Some(inner) = inner {
                    let close = self.lark.markup(&close);
                    options.push(format!("{inner} {close}"));
                }
            }
        }
        if flat.is_empty() {
            return Ok(options);
        }
        // White space alone is read as nothing.
        let space: &[&str] = if reading.is_text() { &[] } else { &[r"\s+"] };
        let written = written(&flat, reading, self.prefix, space)?;
        if let Some(plain) = &written.plain {
            options.push(before(self.lark, plain, &close));
        }
        let as_json: Vec<Kind<'a>> = flat.into_iter().filter(|kind| written.json.contains(&type_of(kind))).collect();
        if !as_json.is_empty() {
            let number = match &as_json[..] {
                [only] => plain_number(only),
                _ => None,
            };
            match number {
                Some(number) => options.push(before(self.lark, &format!("/{number}/"), &close)),
                None => {
                    let json = self.values.of_kinds(self.lark, &as_json, all)?;
                    options.extend(json.map(|json| format!("{json} {}", self.lark.markup(&close))));
                }
            }
        }
        Ok(options)
    }

    fn object(&mut self, object: &Object<'a>, known: Option<&'a Value>) -> Result<Option<String>, String> {
        let original = self.schema.original;
        if object.is_map() {
            return self.any_names(object, known);
        }
        let mut body = "\"\"".to_owned();
        for own in &object.properties {
            let is_fine =
                !own.name.is_empty() && own.name.len() <= 256 && !own.name.contains(['\n', '<', '>', '/', '"', ' ']);
            let written = if is_fine {
                self.element(own.name, &own.of, known.and_then(|of| property(of, own.name, original)))
            } else {
                Err(format!("the argument {:?} has a name that no tag can have; rename it", own.name))
            };
            match written {
                Ok(Some(one)) if own.required => body += &format!(" {one}"),
                Ok(Some(one)) => body += &format!(" {one}?"),
                Ok(None) if own.required => return Ok(None),
                Err(why) if own.required => return Err(why),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Some(self.lark.rule(body)))
    }

    fn list(
        &mut self,
        list: &List<'a>,
        known: Option<&'a Value>,
        may_be_empty: bool,
    ) -> Result<Option<String>, String> {
        let of_items = known.and_then(|of| items(of, self.schema.original));
        let min = if may_be_empty { list.min } else { list.min.max(1) };
        let mut body = String::new();
        let mut n = 0;
        for of in list.first.iter().take(list.max.unwrap_or(usize::MAX)) {
            let Some(item) = self.element(ITEM, of, of_items)? else { break };
            n += 1;
            // An item comes only behind all before it: those that need not be there open a group.
            body += &if n <= min { format!(" {item}") } else { format!(" ({item}") };
        }
        let rest = match &list.rest {
            Some(of) if n == list.first.len() && list.max.is_none_or(|max| max > n) => {
                self.element(ITEM, of, of_items)?
            }
            _ => None,
        };
        let missing = min.saturating_sub(n);
        match rest {
            Some(item) => {
                let most = list.max.map_or(String::new(), |max| max.saturating_sub(n).to_string());
                body += &format!(" {item}{{{missing},{most}}}");
            }
            None if missing > 0 => return Ok(None),
            None => {}
        }
        body += &")?".repeat(n.saturating_sub(min));
        Ok(Some(self.lark.rule(if body.is_empty() { "\"\"".into() } else { body })))
    }

    /// Arguments of any names.
    fn any_names(&mut self, object: &Object<'a>, known: Option<&'a Value>) -> Result<Option<String>, String> {
        // A grammar cannot say that a closing tag has the name of the opening one, so these are few and fixed.
        const NAMES: [&str; 8] = ["name", "value", "key", "text", "data", "id", "type", "options"];
        let original = self.schema.original;
        let of = object.rest.clone().unwrap_or_default();
        let most = object.max.unwrap_or(NAMES.len()).min(NAMES.len());
        let mut elements = Vec::new();
        for name in NAMES.iter().take(most) {
            elements.extend(self.element(name, &of, known.and_then(|of| property(of, name, original)))?);
        }
        if elements.len() < object.min {
            return Ok(None);
        }
        let body: Vec<String> = elements
            .into_iter()
            .enumerate()
            .map(|(at, element)| if at < object.min { element } else { format!("{element}?") })
            .collect();
        Ok(Some(self.lark.rule(if body.is_empty() { "\"\"".into() } else { body.join(" ") })))
    }
}
