//! What a tool's schema says of a value that a model wrote as text: whether it is a text or JSON.

use serde_json::Value;

/// References and unions that are followed from one place.
const MAX_STEPS: usize = 32;

/// Types of JSON that a value may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const TEXT: Self = Self(1);
    pub(crate) const NUMBER: Self = Self(2);
    pub(crate) const BOOLEAN: Self = Self(4);
    pub(crate) const NULL: Self = Self(8);
    pub(crate) const OBJECT: Self = Self(16);
    pub(crate) const LIST: Self = Self(32);
    pub(crate) const ANY: Self = Self(63);
    pub(crate) const NONE: Self = Self(0);

    /// Of the values that are valid under `schema`, which is part of `root`.
    pub(crate) fn of(schema: &Value, root: &Value) -> Self {
        Self::within(schema, root, &mut { MAX_STEPS })
    }

    fn within(schema: &Value, root: &Value, steps: &mut usize) -> Self {
        if *steps == 0 {
            return Self::ANY;
        }
        *steps -= 1;
        let Value::Object(map) = schema else { return Self::ANY };
        let mut types = match map.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).fold(Self::NONE, |all, name| all.or(Self::named(name)))
            }
            _ => Self::ANY,
        };
        if map.get("nullable") == Some(&Value::Bool(true)) {
            types = types.or(Self::NULL);
        }
        if let Some(value) = map.get("const") {
            types = types.and(Self::of_value(value));
        }
        if let Some(Value::Array(values)) = map.get("enum") {
            types = types.and(values.iter().fold(Self::NONE, |all, value| all.or(Self::of_value(value))));
        }
        if types == Self::ANY && !map.contains_key("type") {
            if map.contains_key("properties") {
                types = Self::OBJECT;
            } else if map.contains_key("items") {
                types = Self::LIST;
            } else if map.contains_key("pattern") || map.contains_key("format") {
                types = Self::TEXT;
            }
        }
        if let Some(target) = map.get("$ref").and_then(Value::as_str).and_then(|reference| target(reference, root)) {
            types = types.and(Self::within(target, root, steps));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(options)) = map.get(key) {
                let any = options.iter().fold(Self::NONE, |all, option| all.or(Self::within(option, root, steps)));
                types = types.and(any);
            }
        }
        if let Some(Value::Array(parts)) = map.get("allOf") {
            types = parts.iter().fold(types, |all, part| all.and(Self::within(part, root, steps)));
        }
        types
    }

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "string" => Self::TEXT,
            "integer" | "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "object" => Self::OBJECT,
            "array" => Self::LIST,
            _ => Self::ANY,
        }
    }

    pub(crate) fn of_value(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::TEXT,
            Value::Number(_) => Self::NUMBER,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Null => Self::NULL,
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::LIST,
        }
    }

    /// Of a JSON text, by its first character.
    pub(crate) fn of_json(text: &str) -> Self {
        match text.trim_start().bytes().next() {
            Some(b'"') => Self::TEXT,
            Some(b'{') => Self::OBJECT,
            Some(b'[') => Self::LIST,
            Some(b't' | b'f') => Self::BOOLEAN,
            Some(b'n') => Self::NULL,
            _ => Self::NUMBER,
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_text(self) -> bool {
        self == Self::TEXT
    }

    pub(crate) fn may_be_text(self) -> bool {
        self.has(Self::TEXT)
    }

    pub(crate) fn may_be_object(self) -> bool {
        self.has(Self::OBJECT)
    }

    pub(crate) fn may_be_list(self) -> bool {
        self.has(Self::LIST)
    }

    /// JSON Schema's name of the type, where it is one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TEXT => "string",
            Self::NUMBER => "number",
            Self::BOOLEAN => "boolean",
            Self::NULL => "null",
            Self::LIST => "array",
            _ => "object",
        }
    }
}

/// What a reference within a schema means, where it is one of the plain kind.
pub(crate) fn target<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// A schema with its references followed, and the options of its unions, as far as `steps` go.
pub(crate) fn options<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let (mut open, mut all) = (vec![schema], Vec::new());
    while let Some(schema) = open.pop() {
        if all.len() + open.len() > MAX_STEPS {
            break;
        }
        all.push(schema);
        open.extend(schema.get("$ref").and_then(Value::as_str).and_then(|reference| target(reference, root)));
        for key in ["anyOf", "oneOf", "allOf"] {
            open.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
    }
    all
}

/// The schema of a property.
pub(crate) fn property<'a>(schema: &'a Value, name: &str, root: &'a Value) -> Option<&'a Value> {
    let all = options(schema, root);
    let listed = all.iter().find_map(|schema| schema.get("properties")?.get(name));
    listed
        .or_else(|| all.iter().find_map(|schema| schema.get("additionalProperties").filter(|other| other.is_object())))
}

/// Types that a property may have, by all alternatives that speak of it.
pub(crate) fn types_of_property(schema: &Value, name: &str, root: &Value) -> Types {
    let all = options(schema, root);
    let known: Vec<&Value> = all.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect();
    match known.is_empty() {
        true => property(schema, name, root).map_or(Types::ANY, |of| Types::of(of, root)),
        false => known.into_iter().fold(Types::NONE, |types, of| types.or(Types::of(of, root))),
    }
}

/// The schema of the items of a list.
pub(crate) fn items<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Value> {
    options(schema, root).iter().find_map(|schema| schema.get("items"))
}
