//! Arguments as a list of names and values within markup.

use serde_json::Value;

use super::kinds::{Kind, Object, Property, kinds};
use super::lark::{Lark, group, literal};
use super::texts::{before, plain_number, type_of, written};
use super::{schemas, space};
use crate::format::Parameters;
use crate::schema::{Types, property};

/// Names of arguments where none are listed.
const NAME: &str = "/[A-Za-z_][A-Za-z0-9_]{0,40}/";
/// The longest beginning of a parameter that is read, in bytes, less what stands around its name.
const MAX_NAME: usize = 256;

/// What a tool's schema says, as it is and rewritten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a> {
    /// By which whoever reads a call knows what a text is.
    pub(super) original: &'a Value,
    pub(super) rewritten: &'a Value,
}

/// The expression for the arguments of a tool.
///
/// # Errors
/// In words, for what cannot be written in this notation.
pub(super) fn arguments(lark: &mut Lark<'_>, form: &Parameters, schema: Schema<'_>) -> Result<String, String> {
    let mut options = Vec::new();
    let mut why = None;
    for object in objects(schema.rewritten)? {
        match of_object(lark, form, schema, &object) {
            Ok(body) => options.push(body),
            Err(reason) => why = Some(reason),
        }
    }
    match (options.is_empty(), why) {
        (true, Some(why)) => Err(why),
        (true, None) => Err("its schema allows no object".into()),
        _ => Ok(lark.rule(group(&options))),
    }
}

/// The objects that a schema allows.
pub(super) fn objects(rewritten: &Value) -> Result<Vec<Object<'_>>, String> {
    let objects = kinds(&[rewritten], rewritten)?.into_iter().filter_map(|kind| match kind {
        Kind::Object(object) => object.bounded(),
        _ => None,
    });
    Ok(objects.collect())
}

fn of_object(
    lark: &mut Lark<'_>,
    form: &Parameters,
    schema: Schema<'_>,
    object: &Object<'_>,
) -> Result<String, String> {
    let between = space(form.between);
    if object.is_map() {
        return any_names(lark, form, schema, object, &between);
    }
    let mut body = between.clone();
    for property in &object.properties {
        let written = match check_name(form, property.name) {
            Ok(()) => parameter(lark, form, schema, property),
            Err(why) => Err(why),
        };
        match written {
            Ok(Some(one)) if property.required => body += &format!(" {one} {between}"),
            Ok(Some(one)) => body += &format!(" ({one} {between})?"),
            Ok(None) if property.required => return Err(format!("no value of {:?} is valid", property.name)),
            Err(why) if property.required => return Err(why),
            // What need not be there is left out.
            Ok(None) | Err(_) => {}
        }
    }
    Ok(lark.rule(body))
}

fn check_name(form: &Parameters, name: &str) -> Result<(), String> {
    let is_fine = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.trim() == name
        && !name.contains(['\n', '<'])
        && !name.contains(form.key_end);
    if is_fine { Ok(()) } else { Err(format!("the argument {name:?} has a name that its markup cannot hold; rename it")) }
}

fn opening(form: &Parameters, name: &str, attributes: &str) -> String {
    format!("{}{name}{}{attributes}{}", form.open, form.key_end, form.attributes_end)
}

/// One parameter. `None`: no value is valid.
fn parameter(
    lark: &mut Lark<'_>,
    form: &Parameters,
    schema: Schema<'_>,
    property: &Property<'_>,
) -> Result<Option<String>, String> {
    let known = crate::schema::property(schema.original, property.name, schema.original);
    let reading = known.map_or(Types::ANY, |of| Types::of(of, schema.original));
    let root = schema.rewritten;
    let kinds = kinds(&property.of, root)?;
    if kinds.is_empty() {
        return Ok(None);
    }
    let mut options = Vec::new();
    match form.text_attributes {
        Some((text, other)) => {
            let (texts, others): (Vec<Kind<'_>>, Vec<Kind<'_>>) = kinds.into_iter().partition(Kind::is_text);
            if !texts.is_empty() {
                let head = lark.markup(&opening(form, property.name, text));
                options.extend(value(lark, form, &texts, property, root, Types::TEXT)?.map(|value| format!("{head} {value}")));
            }
            for name in type_names(&others) {
                let head = lark.markup(&opening(form, property.name, &other.replace("{type}", name)));
                let json = json(lark, form, &others, property, root, Some(&[name]));
                options.push(format!("{head} {json}"));
            }
        }
        None => {
            let head = lark.markup(&opening(form, property.name, ""));
            options.extend(value(lark, form, &kinds, property, root, reading)?.map(|value| format!("{head} {value}")));
        }
    }
    Ok((!options.is_empty()).then(|| lark.rule(group(&options))))
}

fn type_names(kinds: &[Kind<'_>]) -> Vec<&'static str> {
    let mut names: Vec<&str> = kinds.iter().map(type_of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A value with its closing.
fn value(
    lark: &mut Lark<'_>,
    form: &Parameters,
    kinds: &[Kind<'_>],
    property: &Property<'_>,
    root: &Value,
    reading: Types,
) -> Result<Option<String>, String> {
    let cdata: &[&str] = if form.has_cdata { &["(\"<![CDATA[\" /(?s:.*)/)"] } else { &[] };
    let written = written(kinds, reading, form.close, cdata)?;
    let mut options = Vec::new();
    if let Some(plain) = &written.plain {
        let value = before(lark, plain, &closing(form));
        options.push(format!("{} {value}", value_opening(lark, form)));
    }
    if !written.json.is_empty() {
        let types = written.plain.is_some().then_some(&written.json[..]);
        options.push(json(lark, form, kinds, property, root, types));
    }
    Ok((!options.is_empty()).then(|| group(&options)))
}

fn json(
    lark: &mut Lark<'_>,
    form: &Parameters,
    kinds: &[Kind<'_>],
    property: &Property<'_>,
    root: &Value,
    types: Option<&[&str]>,
) -> String {
    let opening = value_opening(lark, form);
    if let [number] = kinds
        && let Some(number) = plain_number(number)
    {
        return format!("{opening} {}", before(lark, number, &closing(form)));
    }
    let json = schemas::json(&property.of, types, root, None);
    let json = lark.rule(json);
    format!("{opening} {json} {}", lark.markup(&closing(form)))
}

/// What stands between the name and a value.
fn value_opening(lark: &Lark<'_>, form: &Parameters) -> String {
    let line = if form.on_lines { literal("\n") } else { String::new() };
    match form.value_open {
        "" => line,
        open => format!("{} {} {line}", space("\n"), lark.markup(open)),
    }
}

fn closing(form: &Parameters) -> String {
    if form.on_lines { format!("\n{}", form.close) } else { form.close.to_owned() }
}

/// Parameters of any names.
fn any_names(
    lark: &mut Lark<'_>,
    form: &Parameters,
    schema: Schema<'_>,
    object: &Object<'_>,
    between: &str,
) -> Result<String, String> {
    const HOLE: &str = "\u{1}";
    let of = object.rest.clone().unwrap_or_default();
    let reading = property(schema.original, HOLE, schema.original).map_or(Types::ANY, |of| Types::of(of, schema.original));
    let root = schema.rewritten;
    let kinds = kinds(&of, root)?;
    let any = Property { name: HOLE, of, required: false };
    let mut options = Vec::new();
    let mut push = |lark: &mut Lark<'_>, attributes: &str, value: String| {
        let whole = opening(form, HOLE, attributes);
        let (open, close) = whole.split_once(HOLE).unwrap_or((&whole, ""));
        let (lead, rest) = lark.led(close);
        let name = lark.terminal(format!("{NAME} {}", if lead.is_empty() { String::new() } else { literal(lead) }));
        options.push(format!("{} {name} {rest} {value}", lark.markup(open)));
    };
    match form.text_attributes {
        Some((text, other)) => {
            let (texts, others): (Vec<Kind<'_>>, Vec<Kind<'_>>) = kinds.into_iter().partition(Kind::is_text);
            if let Some(value) = value(lark, form, &texts, &any, root, Types::TEXT)? {
                push(lark, text, value);
            }
            for name in type_names(&others) {
                let json = json(lark, form, &others, &any, root, Some(&[name]));
                push(lark, &other.replace("{type}", name), json);
            }
        }
        None => {
            if let Some(value) = value(lark, form, &kinds, &any, root, reading)? {
                push(lark, "", value);
            }
        }
    }
    let most = object.max.map_or(String::new(), |max| max.to_string());
    if options.is_empty() || object.max == Some(0) {
        return if object.min == 0 { Ok(lark.rule(between.to_owned())) } else { Err("no arguments are valid".into()) };
    }
    let one = lark.rule(format!("{} {between}", group(&options)));
    Ok(lark.rule(format!("{between} {one}{{{},{most}}}", object.min)))
}
