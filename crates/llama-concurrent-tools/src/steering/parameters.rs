//! Arguments as a list of names and values within markup.

use serde_json::Value;

use super::kinds::{All, Kind, Object, Property, kinds};
use super::lark::{Lark, group, literal};
use super::space;
use super::texts::{before, plain_number, type_of, written};
use super::values::{Style, Values};
use crate::format::Parameters;
use crate::schema::{Types, types_of_property};

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

/// Writes parameters of one tool.
struct Writer<'l, 'v, 'a> {
    lark: &'l mut Lark<'v>,
    form: &'static Parameters,
    schema: Schema<'a>,
    values: Values<'a>,
}

/// The expression for the arguments of a tool.
///
/// # Errors
/// In words, for what cannot be written in this notation.
pub(super) fn arguments(lark: &mut Lark<'_>, form: &'static Parameters, schema: Schema<'_>) -> Result<String, String> {
    let values = Values::new(Style::Json(form.close), schema.rewritten);
    let mut writer = Writer { lark, form, schema, values };
    let mut options = Vec::new();
    let mut why = "its schema allows no object".to_owned();
    for object in objects(schema.rewritten)? {
        match writer.object(&object) {
            Ok(body) => options.push(body),
            Err(reason) => why = reason,
        }
    }
    if options.is_empty() { Err(why) } else { Ok(writer.lark.rule(group(&options))) }
}

/// The objects that a schema allows.
pub(super) fn objects(rewritten: &Value) -> Result<Vec<Object<'_>>, String> {
    let objects = kinds(&[rewritten], rewritten)?.into_iter().filter_map(|kind| match kind {
        Kind::Object(object) => object.bounded(),
        _ => None,
    });
    Ok(objects.collect())
}

impl<'a> Writer<'_, '_, 'a> {
    fn object(&mut self, object: &Object<'a>) -> Result<String, String> {
        let between = space(self.form.between);
        if object.is_map() {
            return self.any_names(object, &between);
        }
        let mut body = between.clone();
        for property in &object.properties {
            let written = self.check_name(property.name).and_then(|()| self.parameter(property));
            match written {
                Ok(Some(one)) if property.required => body += &format!(" {one} {between}"),
                Ok(Some(one)) => body += &format!(" ({one} {between})?"),
                Ok(None) if property.required => return Err(format!("no value of {:?} can be written", property.name)),
                Err(why) if property.required => return Err(why),
                // What need not be there is left out.
                Ok(None) | Err(_) => {}
            }
        }
        Ok(self.lark.rule(if body.is_empty() { "\"\"".into() } else { body }))
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        let is_fine = !name.is_empty()
            && name.len() <= MAX_NAME
            && name.trim() == name
            && !name.contains(['\n', '<'])
            && !name.contains(self.form.key_end);
        if is_fine {
            Ok(())
        } else {
            Err(format!("the argument {name:?} has a name that its markup cannot hold; rename it"))
        }
    }

    /// One parameter. `None`: no value can be written.
    fn parameter(&mut self, property: &Property<'a>) -> Result<Option<String>, String> {
        let original = self.schema.original;
        let reading = types_of_property(original, property.name, original);
        let values = self.by_attributes(&property.of, reading)?;
        let options: Vec<String> = values
            .into_iter()
            .map(|(attributes, value)| {
                format!("{} {value}", self.lark.markup(&opening(self.form, property.name, &attributes)))
            })
            .collect();
        Ok((!options.is_empty()).then(|| self.lark.rule(group(&options))))
    }

    /// Values with their closings, each behind its attributes.
    fn by_attributes(&mut self, all: &All<'a>, reading: Types) -> Result<Vec<(String, String)>, String> {
        let kinds = kinds(all, self.schema.rewritten)?;
        let Some((text, other)) = self.form.text_attributes else {
            return Ok(self.value(&kinds, all, reading)?.map(|value| (String::new(), value)).into_iter().collect());
        };
        let (texts, others): (Vec<Kind<'a>>, Vec<Kind<'a>>) = kinds.into_iter().partition(Kind::is_text);
        let mut values = Vec::new();
        if !texts.is_empty() {
            values.extend(self.value(&texts, all, Types::TEXT)?.map(|value| (text.to_owned(), value)));
        }
        if reading.is_text() {
            // Whoever reads it takes it for a text, whatever its attributes say.
            return Ok(values);
        }
        let mut names: Vec<&str> = others.iter().map(type_of).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of_type: Vec<Kind<'a>> = others.iter().filter(|kind| type_of(kind) == name).cloned().collect();
            values.extend(self.json(&of_type, all)?.map(|value| (other.replace("{type}", name), value)));
        }
        Ok(values)
    }

    /// A value with its closing.
    fn value(&mut self, kinds: &[Kind<'a>], all: &All<'a>, reading: Types) -> Result<Option<String>, String> {
        let cdata: &[&str] = if self.form.has_cdata { &[r"<!\[CDATA\[(?s:.*)"] } else { &[] };
        let written = written(kinds, reading, self.form.close, cdata)?;
        let mut options = Vec::new();
        if let Some(plain) = &written.plain {
            let value = before(self.lark, plain, &self.closing());
            options.push(format!("{} {value}", self.value_opening()));
        }
        let as_json: Vec<Kind<'a>> =
            kinds.iter().filter(|kind| written.json.contains(&type_of(kind))).cloned().collect();
        if !as_json.is_empty() {
            options.extend(self.json(&as_json, all)?);
        }
        Ok((!options.is_empty()).then(|| group(&options)))
    }

    fn json(&mut self, kinds: &[Kind<'a>], all: &All<'a>) -> Result<Option<String>, String> {
        let opening = self.value_opening();
        if let [number] = kinds
            && let Some(number) = plain_number(number)
        {
            return Ok(Some(format!("{opening} {}", before(self.lark, &format!("/{number}/"), &self.closing()))));
        }
        let json = self.values.of_kinds(self.lark, kinds, all)?;
        Ok(json.map(|json| format!("{opening} {json} {}", self.lark.markup(&self.closing()))))
    }

    /// What stands between the name and a value.
    fn value_opening(&self) -> String {
        let line = if self.form.on_lines { literal("\n") } else { String::new() };
        match self.form.value_open {
            "" => line,
            open => format!("{} {} {line}", space("\n"), self.lark.markup(open)),
        }
    }

    fn closing(&self) -> String {
        if self.form.on_lines { format!("\n{}", self.form.close) } else { self.form.close.to_owned() }
    }

    /// Parameters of any names.
    fn any_names(&mut self, object: &Object<'a>, between: &str) -> Result<String, String> {
        const HOLE: &str = "\u{1}";
        let original = self.schema.original;
        let of = object.rest.clone().unwrap_or_default();
        let reading = types_of_property(original, HOLE, original);
        let mut options = Vec::new();
        for (attributes, value) in self.by_attributes(&of, reading)? {
            let whole = opening(self.form, HOLE, &attributes);
            let (open, close) = whole.split_once(HOLE).unwrap_or((&whole, ""));
            let name = before(self.lark, NAME, close);
            options.push(format!("{} {name} {value}", self.lark.markup(open)));
        }
        if options.is_empty() || object.max == Some(0) {
            let nothing = if between.is_empty() { "\"\"" } else { between };
            return if object.min == 0 {
                Ok(self.lark.rule(nothing.into()))
            } else {
                Err("no arguments are valid".into())
            };
        }
        let most = object.max.map_or(String::new(), |max| max.to_string());
        let one = self.lark.rule(format!("{} {between}", group(&options)));
        Ok(self.lark.rule(format!("{between} {one}{{{},{most}}}", object.min)))
    }
}

fn opening(form: &Parameters, name: &str, attributes: &str) -> String {
    format!("{}{name}{}{attributes}{}", form.open, form.key_end, form.attributes_end)
}
