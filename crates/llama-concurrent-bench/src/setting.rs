//! What is asked, and of which model.

use std::path::Path;

use llama_concurrent::{Result, Tokenizer};

use crate::{
    numbers::bytes,
    script::Script,
    summary::Slo,
    workload::{Load, Workload},
};

/// What is asked of all systems.
pub struct Setting {
    /// What is replay.
    pub workload: Workload,
    /// By how many, and how often.
    pub load: Load,
    /// A promise that is looked at.
    pub slo: Option<Slo>,
    /// The model in words.
    pub model: String,
    /// The tokenizer of the model.
    pub tokenizer: Tokenizer,
}

impl Setting {
    /// Of the model file at `path`, whose tokenizer counts the tokens.
    ///
    /// # Errors
    /// The file is no model.
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
