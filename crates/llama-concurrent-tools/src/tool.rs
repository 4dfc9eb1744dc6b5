//! Tools that a model may call.

use std::fmt;

use serde_json::{Value, json};

/// A tool, as OpenAI's API describes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Tool {
    /// What the model calls it.
    pub name: String,
    /// What the model is told of it; read by chat templates alone.
    pub description: String,
    /// The JSON schema of its arguments, an object. Null: no arguments are described, any are taken.
    pub parameters: Value,
    /// The caller relies on arguments that are valid under the schema.
    pub strict: bool,
}

impl Tool {
    /// A tool with arguments of this JSON schema.
    pub fn new(name: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: String::new(), parameters, strict: false }
    }

    /// As OpenAI's chat API and chat templates have it.
    pub fn to_json(&self) -> Value {
        let parameters = match &self.parameters {
            Value::Null => json!({"type": "object", "properties": {}}),
            schema => schema.clone(),
        };
        let mut function = json!({"name": self.name, "description": self.description, "parameters": parameters});
        if self.strict {
            function["strict"] = true.into();
        }
        json!({"type": "function", "function": function})
    }

    /// Reads the list `tools` of OpenAI's chat API, or of its Responses API, where the fields of a function stand beside
    /// its type.
    ///
    /// # Errors
    /// [`ToolError`] for what is no function, and for a name that is missing or stands twice.
    pub fn list(tools: &Value) -> Result<Vec<Self>, ToolError> {
        let list = match tools {
            Value::Null => return Ok(Vec::new()),
            Value::Array(list) => list,
            _ => return Err(ToolError("'tools' must be a list".into())),
        };
        let mut read: Vec<Self> = Vec::with_capacity(list.len());
        for (index, tool) in list.iter().enumerate() {
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or("function");
            if kind != "function" {
                let message = format!("tool {index} is of type '{kind}'; only 'function' is supported");
                return Err(ToolError(message));
            }
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let Some(name) = name else { return Err(ToolError(format!("tool {index} has no name"))) };
            if read.iter().any(|other| other.name == name) {
                return Err(ToolError(format!("two tools have the name '{name}'")));
            }
            let text = |field: &str| function.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            read.push(Self {
                name: name.to_owned(),
                description: text("description"),
                parameters: function.get("parameters").cloned().unwrap_or(Value::Null),
                strict: function.get("strict").and_then(Value::as_bool).unwrap_or(false),
            });
        }
        Ok(read)
    }
}

/// Whether the model calls tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// It calls at least one.
    Required,
    /// It calls none; what looks like a call is content.
    None,
    /// It calls this one.
    Function(String),
}

impl ToolChoice {
    /// Reads the field `tool_choice` of OpenAI's APIs.
    ///
    /// # Errors
    /// [`ToolError`] for anything else.
    pub fn from_json(choice: &Value) -> Result<Self, ToolError> {
        match choice {
            Value::Null => Ok(Self::Auto),
            Value::String(word) => match word.as_str() {
                "auto" => Ok(Self::Auto),
                "required" | "any" => Ok(Self::Required),
                "none" => Ok(Self::None),
                other => Err(ToolError(format!("tool_choice '{other}' is not one of auto, required and none"))),
            },
            other => {
                let function = other.get("function").unwrap_or(other);
                match function.get("name").and_then(Value::as_str) {
                    Some(name) => Ok(Self::Function(name.to_owned())),
                    None => Err(ToolError("tool_choice names no function".into())),
                }
            }
        }
    }
}

/// What is wrong with tools, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolError(pub(crate) String);

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ToolError {}
