//! The setting of a benchmark: workload, load and model.

use std::path::Path;

use llama_concurrent::{Result, Tokenizer};

use crate::{
    numbers::bytes,
    script::Script,
    summary::Slo,
    workload::{Load, Workload},
};

/// The setting for all systems under test.
pub struct Setting {
    /// The workload.
    pub workload: Workload,
    /// The number of users and requests.
    pub load: Load,
    /// The service-level objective, if any.
    pub slo: Option<Slo>,
    /// A description of the model.
    pub model: String,
    /// The tokenizer of the model.
    pub tokenizer: Tokenizer,
}

impl Setting {
    /// Creates a setting for the model file at `path`, whose tokenizer counts the tokens.
    ///
    /// # Errors
    /// If the file is not a model.
    pub fn new(path: &Path, workload: Workload, load: Load, slo: Option<Slo>) -> Result<Self> {
        let tokenizer = Tokenizer::load(path)?;
        let summary = tokenizer.model();
        let name = summary.name.as_deref().unwrap_or("model without a name");
        let model = format!("{name} ({}, {})", summary.file_type, bytes(summary.tensor_bytes as f64));
        Ok(Self { workload, load, slo, model, tokenizer })
    }

    /// The workload in words.
    pub fn about(&self) -> String {
        let scaled = match self.load.scale {
            1.0 => String::new(),
            scale => format!("; all lengths times {scale}"),
        };
        format!("{}: {}{scaled}.", self.workload, self.workload.about())
    }

    /// The scripts of one repeat.
    pub fn scripts(&self, load: &Load) -> Vec<Script> {
        let count =
            |text: &str| self.tokenizer.tokenize_with(text, false, false).map_or(text.len() / 4, |tokens| tokens.len());
        self.workload.scripts(load, &count)
    }
}
