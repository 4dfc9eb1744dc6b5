//! What a schema allows, one kind of value after the other, for notations that are not JSON.
//!
//! The schemas are those that the constraint crate rewrote: references are to `$defs` of the root, objects are closed where
//! they should be, and what cannot be kept was refused.

use serde_json::{Map, Value};

use super::valid;

/// Alternatives that one schema may come to, and references that are followed for one of them.
const MAX_ALTERNATIVES: usize = 64;

/// Schemas that hold together. None: anything.
pub(super) type All<'a> = Vec<&'a Value>;
type Maps<'a> = Vec<&'a Map<String, Value>>;

/// Values of one kind.
#[derive(Debug, Clone)]
pub(super) enum Kind<'a> {
    /// One that is listed.
    Literal(&'a Value),
    /// Texts under the keywords for texts.
    Text(Maps<'a>),
    /// Numbers under the keywords for numbers.
    Number {
        maps: Maps<'a>,
        whole: bool,
    },
    Boolean,
    Null,
    List(List<'a>),
    Object(Object<'a>),
}

#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    pub(super) first: Vec<All<'a>>,
    /// The items behind those; `None`: there are none.
    pub(super) rest: Option<All<'a>>,
    pub(super) min: usize,
    pub(super) max: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub(super) properties: Vec<Property<'a>>,
    /// Values under other names. `None`: there are no others.
    pub(super) rest: Option<All<'a>>,
    pub(super) min: usize,
    pub(super) max: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) of: All<'a>,
    pub(super) required: bool,
}

/// The kinds of values under all of these schemas.
///
/// # Errors
/// In words, where they come to too much.
pub(super) fn kinds<'a>(all: &[&'a Value], root: &'a Value) -> Result<Vec<Kind<'a>>, String> {
    let mut kinds = Vec::new();
    for maps in alternatives(all, root)? {
        of_maps(&maps, root, &mut kinds);
    }
    Ok(kinds)
}

/// Schemas without alternatives and references, one of which has to hold.
fn alternatives<'a>(all: &[&'a Value], root: &'a Value) -> Result<Vec<Maps<'a>>, String> {
    struct Open<'a> {
        waiting: Vec<&'a Value>,
        maps: Maps<'a>,
        followed: Vec<&'a str>,
    }
    let mut open = vec![Open { waiting: all.iter().rev().copied().collect(), maps: Vec::new(), followed: Vec::new() }];
    let mut whole = Vec::new();
    while let Some(mut one) = open.pop() {
        if open.len() + whole.len() > MAX_ALTERNATIVES {
            return Err(format!(
                "a value comes to more than {MAX_ALTERNATIVES} alternatives; use fewer of 'anyOf', above all under 'allOf'"
            ));
        }
        let Some(schema) = one.waiting.pop() else {
            whole.push(one.maps);
            continue;
        };
        let map = match schema {
            Value::Bool(false) => continue,
            Value::Object(map) => map,
            _ => {
                open.push(one);
                continue;
            }
        };
        one.maps.push(map);
        if let Some(reference) = map.get("$ref").and_then(Value::as_str)
            && !one.followed.contains(&reference)
        {
            one.followed.push(reference);
            one.waiting.extend(valid::target(reference, root));
        }
        one.waiting.extend(list(map, "allOf"));
        let unions: Vec<&Vec<Value>> =
            ["anyOf", "oneOf"].iter().filter_map(|key| map.get(*key).and_then(Value::as_array)).collect();
        let mut choices: Vec<Vec<&Value>> = vec![Vec::new()];
        for options in unions.into_iter().filter(|options| !options.is_empty()) {
            let with = |choice: &Vec<&'a Value>| {
                let choice = choice.clone();
                options.iter().map(move |option| [&choice[..], &[option]].concat())
            };
            choices = choices.iter().flat_map(with).take(MAX_ALTERNATIVES + 1).collect();
        }
        // The first option is to come out first.
        open.extend(choices.into_iter().rev().map(|choice| Open {
            waiting: one.waiting.iter().copied().chain(choice).collect(),
            maps: one.maps.clone(),
            followed: one.followed.clone(),
        }));
    }
    Ok(whole)
}

fn of_maps<'a>(maps: &Maps<'a>, root: &'a Value, kinds: &mut Vec<Kind<'a>>) {
    if let Some(values) = maps.iter().find_map(|map| match (map.get("const"), map.get("enum")) {
        (Some(one), _) => Some(std::slice::from_ref(one)),
        (_, Some(Value::Array(list))) => Some(&list[..]),
        _ => None,
    }) {
        let fits = |value: &&Value| maps.iter().all(|map| valid::under(value, map, root));
        let known = |kinds: &[Kind<'_>], value: &Value| {
            kinds.iter().any(|kind| matches!(kind, Kind::Literal(other) if *other == value))
        };
        for value in values.iter().filter(fits) {
            if !known(kinds, value) {
                kinds.push(Kind::Literal(value));
            }
        }
        return;
    }
    let has = |name: &str| maps.iter().all(|map| allows_type(map, name));
    if has("string") {
        kinds.push(Kind::Text(maps.clone()));
    }
    if has("number") || has("integer") {
        kinds.push(Kind::Number { maps: maps.clone(), whole: !has("number") });
    }
    if has("boolean") {
        kinds.push(Kind::Boolean);
    }
    if has("null") {
        kinds.push(Kind::Null);
    }
    if has("array") {
        kinds.push(Kind::List(items(maps)));
    }
    if has("object") {
        kinds.extend(object(maps).map(Kind::Object));
    }
}

fn allows_type(map: &Map<String, Value>, name: &str) -> bool {
    let is = |own: &str| own == name || (own == "number" && name == "integer");
    match map.get("type") {
        Some(Value::String(own)) => is(own),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

fn items<'a>(maps: &Maps<'a>) -> List<'a> {
    let n_first = maps.iter().map(|map| prefix(map).len()).max().unwrap_or(0);
    let at = |index: usize| -> All<'a> {
        maps.iter().filter_map(|map| prefix(map).get(index).or_else(|| rest_of_items(map))).collect()
    };
    let is_closed = |all: &All<'_>| all.contains(&&Value::Bool(false));
    let mut max = counts(maps, "maxItems").min();
    let mut first = Vec::new();
    for index in 0..n_first {
        let all = at(index);
        if is_closed(&all) {
            max = Some(max.unwrap_or(index).min(index));
            break;
        }
        first.push(all);
    }
    let rest = Some(at(usize::MAX)).filter(|all| !is_closed(all));
    List { first, rest, min: counts(maps, "minItems").max().unwrap_or(0), max }
}

fn counts<'m>(maps: &'m Maps<'_>, key: &'m str) -> impl Iterator<Item = usize> + 'm {
    maps.iter().filter_map(move |map| map.get(key)?.as_u64()).map(|n| n as usize)
}

fn prefix(map: &Map<String, Value>) -> &[Value] {
    let listed = ["prefixItems", "items"].iter().find_map(|key| map.get(*key)?.as_array());
    listed.map_or(&[], Vec::as_slice)
}

fn rest_of_items(map: &Map<String, Value>) -> Option<&Value> {
    ["items", "additionalItems"].iter().find_map(|key| map.get(*key).filter(|value| !value.is_array()))
}

/// `None`: no object is allowed.
fn object<'a>(maps: &Maps<'a>) -> Option<Object<'a>> {
    let required: Vec<&str> = maps.iter().flat_map(|map| list(map, "required")).filter_map(Value::as_str).collect();
    let mut names: Vec<&str> = Vec::new();
    let listed = maps.iter().filter_map(|map| map.get("properties")?.as_object()).flat_map(Map::keys);
    for name in listed.map(String::as_str).chain(required.iter().copied()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut properties = Vec::new();
    for name in names {
        let of: All<'a> = maps.iter().flat_map(|map| valid::of_property(map, name)).collect();
        let required = required.contains(&name);
        match of.contains(&&Value::Bool(false)) {
            true if required => return None,
            true => {}
            false => properties.push(Property { name, of, required }),
        }
    }
    let has_patterns = maps.iter().any(|map| map.contains_key("patternProperties"));
    let rest: All<'a> = maps.iter().filter_map(|map| map.get("additionalProperties")).collect();
    let is_closed = has_patterns || rest.contains(&&Value::Bool(false));
    let rest = (!is_closed).then_some(rest);
    Some(Object {
        properties,
        rest,
        min: counts(maps, "minProperties").max().unwrap_or(0),
        max: counts(maps, "maxProperties").min(),
    })
}

impl Object<'_> {
    /// Keeps to the numbers of properties: so many become required, or may not come at all. Without a way to do so the
    /// object is impossible.
    pub(super) fn bounded(mut self) -> Option<Self> {
        let n_required = |object: &Self| object.properties.iter().filter(|property| property.required).count();
        let mut missing = self.min.saturating_sub(n_required(&self));
        if self.properties.len() < self.min && !(self.properties.is_empty() && self.rest.is_some()) {
            return None;
        }
        for property in &mut self.properties {
            if missing > 0 && !property.required {
                property.required = true;
                missing -= 1;
            }
        }
        if let Some(max) = self.max {
            let required = n_required(&self);
            let mut optional = max.checked_sub(required)?;
            self.properties.retain(|property| {
                let stays = property.required || optional > 0;
                optional -= usize::from(stays && !property.required);
                stays
            });
        }
        Some(self)
    }

    /// Objects of any names, which are not listed.
    pub(super) fn is_map(&self) -> bool {
        self.properties.is_empty() && self.rest.is_some()
    }
}

impl Kind<'_> {
    /// Whether values of this kind may be texts.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Kind::Text(_) | Kind::Literal(Value::String(_)))
    }
}

/// Whether every value of a kind is allowed that maps without keywords would allow.
pub(super) fn is_plain(maps: &[&Map<String, Value>], keywords: &[&str]) -> bool {
    !maps.iter().any(|map| keywords.iter().any(|key| map.contains_key(*key)))
}

/// Keywords for texts.
pub(super) const OF_TEXT: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
/// Keywords for numbers.
pub(super) const OF_NUMBER: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}
