//! How the next token is chosen.

use std::path::{Path, PathBuf};

use clap::Args;
use llama_concurrent::{Constraint, SamplingParams};

use crate::failure::Failure;

#[derive(Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingOptions {
    /// 0 takes the likeliest token each time; 1 draws from the model's own distribution
    #[arg(long, alias = "temperature", value_name = "T", default_value_t = defaults().temperature, allow_negative_numbers = true)]
    pub temp: f32,

    /// Draw among the K likeliest tokens only; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = defaults().top_k, allow_negative_numbers = true)]
    pub top_k: u32,

    /// Draw among the likeliest tokens whose probabilities add up to P; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = defaults().top_p, allow_negative_numbers = true)]
    pub top_p: f32,

    /// Drop tokens less likely than this share of the likeliest; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = defaults().min_p, allow_negative_numbers = true)]
    pub min_p: f32,

    /// Divide the logits of tokens seen in the last 64; 1 is off
    #[arg(long, value_name = "X", default_value_t = defaults().repetition_penalty, allow_negative_numbers = true)]
    pub repetition_penalty: f32,

    /// Subtract this for each time a token was seen in the last 64; 0 is off
    #[arg(long, value_name = "X", default_value_t = defaults().frequency_penalty, allow_negative_numbers = true)]
    pub frequency_penalty: f32,

    /// Subtract this once if a token was seen in the last 64; 0 is off
    #[arg(long, value_name = "X", default_value_t = defaults().presence_penalty, allow_negative_numbers = true)]
    pub presence_penalty: f32,

    /// Seed of the random choice, which matters from a temperature above 0
    #[arg(long, value_name = "N", default_value_t = defaults().seed, allow_negative_numbers = true)]
    pub seed: u32,

    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,

    /// Write special tokens too, such as [TOOL_CALLS], which are left out otherwise
    #[arg(long)]
    pub special: bool,

    /// Go on for at least N tokens before the model may end
    #[arg(long, value_name = "N", default_value_t = defaults().min_tokens, allow_negative_numbers = true)]
    pub min_tokens: u32,

    /// End the text before this token; may be given several times
    #[arg(long = "stop-token-id", value_name = "ID")]
    pub stop_token_ids: Vec<i32>,

    /// Keep the tokens of about the expected surprise whose probabilities add up to P; 1 is off
    #[arg(long, alias = "typical", value_name = "P", default_value_t = defaults().typical_p, allow_negative_numbers = true)]
    pub typical_p: f32,

    /// Drop tokens whose logit is more than X standard deviations below the largest; 0 is off
    #[arg(long, alias = "top-nsigma", value_name = "X", default_value_t = defaults().top_n_sigma, allow_negative_numbers = true)]
    pub top_n_sigma: f32,

    /// How probable it is that of the tokens above --xtc-threshold only the least likely stays; 0 is off
    #[arg(long, value_name = "P", default_value_t = defaults().xtc_probability, allow_negative_numbers = true)]
    pub xtc_probability: f32,

    /// Probability from which a token counts for XTC
    #[arg(long, value_name = "P", default_value_t = defaults().xtc_threshold, allow_negative_numbers = true)]
    pub xtc_threshold: f32,

    /// Move the temperature by up to X, up where the model is undecided; 0 is off
    #[arg(long, value_name = "X", default_value_t = defaults().dynatemp_range, allow_negative_numbers = true)]
    pub dynatemp_range: f32,

    /// How the uncertainty is mapped to --dynatemp-range; 1 is linear
    #[arg(long, alias = "dynatemp-exp", value_name = "X", default_value_t = defaults().dynatemp_exponent, allow_negative_numbers = true)]
    pub dynatemp_exponent: f32,

    /// Mirostat 1 or 2 in place of --top-k, --top-p and the other cuts; 0 is off
    #[arg(long, value_name = "N", default_value_t = defaults().mirostat, allow_negative_numbers = true)]
    pub mirostat: u32,

    /// Mirostat's target for the surprise, in bits
    #[arg(long, alias = "mirostat-ent", value_name = "X", default_value_t = defaults().mirostat_tau, allow_negative_numbers = true)]
    pub mirostat_tau: f32,

    /// Mirostat's learning rate
    #[arg(long, alias = "mirostat-lr", value_name = "X", default_value_t = defaults().mirostat_eta, allow_negative_numbers = true)]
    pub mirostat_eta: f32,

    /// Write JSON that is valid under this JSON schema: a file, or the schema itself
    #[arg(long, value_name = "FILE|JSON", group = "constraint")]
    pub json_schema: Option<String>,

    /// Write a text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", group = "constraint", allow_hyphen_values = true)]
    pub regex: Option<String>,

    /// Write a text of the grammar in this file: llama.cpp's GBNF with a rule 'root', or llguidance's form of Lark with 'start'
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub grammar_file: Option<PathBuf>,
}

impl SamplingOptions {
    pub fn params(&self) -> Result<SamplingParams, Failure> {
        Ok(SamplingParams {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed,
            stop: self.stop.clone(),
            special: self.special,
            constraint: self.constraint()?,
            min_tokens: self.min_tokens,
            stop_token_ids: self.stop_token_ids.clone(),
            typical_p: self.typical_p,
            top_n_sigma: self.top_n_sigma,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            dynatemp_range: self.dynatemp_range,
            dynatemp_exponent: self.dynatemp_exponent,
            mirostat: self.mirostat,
            mirostat_tau: self.mirostat_tau,
            mirostat_eta: self.mirostat_eta,
            max_tokens: None,
            penalty_last_n: defaults().penalty_last_n,
            logit_bias: Vec::new(),
            ignore_eos: false,
            logprobs: None,
        })
    }

    fn constraint(&self) -> Result<Option<Constraint>, Failure> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| Failure::BadInput(format!("cannot read {}: {e}", path.display())))
        };
        Ok(match self {
            Self { json_schema: Some(text), .. } if text.trim_start().starts_with('{') => {
                Some(Constraint::JsonSchema(text.clone()))
            }
            Self { json_schema: Some(path), .. } => Some(Constraint::JsonSchema(read(Path::new(path))?)),
            Self { regex: Some(regex), .. } => Some(Constraint::Regex(regex.clone())),
            Self { grammar_file: Some(path), .. } => Some(Constraint::Lark(read(path)?)),
            _ => None,
        })
    }
}

fn defaults() -> SamplingParams {
    SamplingParams::default()
}
