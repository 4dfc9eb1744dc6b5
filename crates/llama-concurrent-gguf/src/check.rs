//! Whether a sound file holds a model that llama.cpp will load, and that it will not abort on later.
//!
//! Follows the loader and the CPU backend's operators in the pinned llama.cpp. What the loader refuses with a clear
//! message of its own (a tensor of the wrong shape) is left to it.

mod architecture;
mod hyperparameters;
mod vocabulary;

use std::collections::HashMap;

use super::error::{GgufError, Problem};
use super::header::{Header, wrong_type};
use super::split;
use super::summary::{MatrixGroup, ModelSummary, ModelWork, file_type_name};
use super::tensor::{OUTPUT, TensorInfo, TensorType, is_by_element, is_matrix, is_of_experts};
use super::value::Value;
use super::window;
use architecture::Architecture;
use hyperparameters::Hyperparameters;

#[cfg(test)]
pub(super) use architecture::all_names;
pub use architecture::{encoders, generators, graph_faults};
pub use vocabulary::{PRE_TOKENIZERS, VocabularySummary};

/// `TENSOR_ALIGNMENT` in ggml-backend.cpp: a mapped buffer that starts elsewhere is an assertion failure. Weights that are
/// read get places of their own.
const MAPPED_ALIGNMENT: u64 = 32;

impl Header {
    /// Checks that this is a model which the llama.cpp of this build can run, to generate text or to make vectors of texts,
    /// and describes it. For the first file of a model in several, reads the headers of the others too.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](super::GgufErrorKind::Unsupported) for a sound file of another purpose, architecture or
    /// tokenizer; [`Invalid`](super::GgufErrorKind::Invalid) for settings that contradict each other or the tensors;
    /// any kind for the other files of a split model.
    pub fn check_model(&self) -> Result<ModelSummary, GgufError> {
        let at_path = |problem: Problem| problem.at(self.path());
        let n_files = split::number_of_files(self).map_err(at_path)?;
        let (name, architecture) = self.architecture().map_err(at_path)?;
        let others = split::read_other_parts(self, n_files)?;
        let weights = Weights { parts: std::iter::once(self).chain(&others).collect() };
        // llama.cpp does not look at the type, so neither is it a reason of its own to refuse a file.
        self.describe(name, architecture, &weights).map_err(|problem| at_path(self.other_purpose().unwrap_or(problem)))
    }

    /// What a file is for that is no model by its own words.
    fn other_purpose(&self) -> Option<Problem> {
        Some(Problem::unsupported(match self.get("general.type").and_then(Value::as_str)? {
            "model" => return None,
            "adapter" => "this is a LoRA adapter; give the model that it was made for".to_owned(),
            "mmproj" => "this is the image or audio part of a multimodal model; give the language model that it \
                         belongs to"
                .to_owned(),
            other => format!("this is no model: its 'general.type' is '{}'", other.escape_debug()),
        }))
    }

    fn architecture(&self) -> Result<(&str, Architecture), Problem> {
        let name = self.str("general.architecture")?.ok_or_else(|| {
            Problem::invalid(
                "'general.architecture' is missing, so nothing says how to run the model; get another copy",
            )
        })?;
        Ok((name, architecture::find(name)?))
    }

    fn without_weights(&self) -> Problem {
        Problem::unsupported(if self.get("tokenizer.ggml.tokens").is_some() {
            "the file has a vocabulary but no weights; it can lend its tokenizer to a synthetic model, and to generate \
             text a complete model is needed"
        } else {
            "the file has no weights; get a complete file of the model"
        })
    }

    /// Whether a token sees its text as this program computes it: an encoder's all of it, another's what comes before.
    fn check_attention(&self, name: &str, architecture: Architecture) -> Result<(), Problem> {
        let causal = format!("{name}.attention.causal");
        match self.get(&causal) {
            None | Some(Value::Bool(true)) => Ok(()),
            Some(Value::Bool(false)) if architecture.encoder => Ok(()),
            Some(Value::Bool(false)) => Err(Problem::unsupported(format!(
                "'{causal}' is false in a model of the architecture '{name}', which attends to whole texts through a KV cache; \
                 this program does that only with the architectures of encoders, such as bert and modern-bert"
            ))),
            Some(other) => Err(wrong_type(&causal, other, "bool")),
        }?;
        let decisions = format!("{name}.decision.block_count");
        match self.u32(&decisions)? {
            None | Some(0) => Ok(()),
            Some(_) => Err(Problem::unsupported(format!(
                "'{decisions}' says that the model scores decisions, which this program does not run"
            ))),
        }
    }

    /// Whether it ranks texts: whether its last matrix has a row for each label, or one where there are none. llama.cpp reads so
    /// many numbers of each text, whatever the matrix gives.
    fn has_rank_head(&self, name: &str, weights: &Weights) -> Result<bool, Problem> {
        let labels = format!("{name}.classifier.output_labels");
        let n_labels = match self.get(&labels) {
            None => 1,
            Some(Value::Array(labels)) => labels.len() as u64,
            Some(other) => return Err(wrong_type(&labels, other, "arr[str]")),
        };
        let last = ["cls.output.weight", "cls.weight"].into_iter().find_map(|name| weights.find(name));
        Ok(last.is_some_and(|matrix| matrix.dims.get(1).copied().unwrap_or(1) == n_labels))
    }

    /// What llama.cpp asserts of single encoders.
    fn check_encoder(&self, name: &str, weights: &Weights, sizes: &Hyperparameters) -> Result<(), Problem> {
        for what in ["dense_2_feat_in", "dense_3_feat_out"] {
            let key = format!("{name}.{what}");
            if let Some(width) = self.u32(&key)?.filter(|&width| width != 0 && width != sizes.n_embd) {
                return Err(Problem::invalid(format!(
                    "'{key}' is {width}, and vectors are {} wide; the file was written wrongly",
                    sizes.n_embd
                )));
            }
        }
        if name != "jina-bert-v2" {
            return Ok(());
        }
        let n_ff = self.per_layer(&format!("{name}.feed_forward_length"), sizes.n_layer)?.unwrap_or_default();
        for (layer, n_ff) in n_ff.into_iter().map(u64::from).enumerate() {
            let up = format!("blk.{layer}.ffn_up.weight");
            let rows = weights.find(&up).map(|tensor| tensor.dims.get(1).copied().unwrap_or(1));
            if let Some(rows) = rows.filter(|&rows| rows != n_ff && rows != n_ff.saturating_mul(2)) {
                return Err(Problem::invalid(format!(
                    "'{up}' has {rows} rows, and llama.cpp aborts unless it has the {n_ff} of the feed-forward length, or twice \
                     as many; the file was written wrongly"
                )));
            }
        }
        Ok(())
    }

    fn describe(&self, name: &str, architecture: Architecture, weights: &Weights) -> Result<ModelSummary, Problem> {
        if weights.tensors().next().is_none() {
            return Err(self.without_weights());
        }
        let sizes = Hyperparameters::read(self, name, architecture)?;
        self.check_attention(name, architecture)?;
        let vocabulary = vocabulary::check(self)?;
        weights.check(architecture, &sizes, vocabulary.n_tokens)?;
        if architecture.encoder {
            self.check_encoder(name, weights, &sizes)?;
        }

        let (kv_elements_k, kv_elements_v) =
            if architecture.encoder { (0, 0) } else { sizes.kv_elements_per_token(self, name) };
        let mut warnings = vocabulary.warnings;
        let misplaced = weights.parts.iter().find_map(|part| misplaced(part));
        if let Some((tensor, start)) = misplaced {
            warnings.push(format!(
                "the tensor '{}' starts at byte {start}, no multiple of {MAPPED_ALIGNMENT}, so the file is read into \
                 memory and not mapped; written again with alignment {MAPPED_ALIGNMENT}, as llama-quantize does, it \
                 can be",
                tensor.name
            ));
        }
        if sizes.n_ctx_train == 0 {
            warnings.push(format!("'{name}.context_length' is 0, so nothing says how long texts may be"));
        }
        // Sparse files can claim more than a sum of 64 bits holds.
        let total = |size: fn(&TensorInfo) -> u64| weights.tensors().map(size).fold(0, u64::saturating_add);
        Ok(ModelSummary {
            architecture: name.to_owned(),
            name: self.str("general.name")?.map(str::to_owned),
            file_type: match self.u32("general.file_type")?.and_then(file_type_name) {
                Some(file_type) => file_type.to_owned(),
                None => weights.most_common_type().name().to_owned(),
            },
            n_files: weights.parts.len() as u32,
            tensor_bytes: total(|tensor| tensor.bytes),
            parameters: total(|tensor| tensor.elements),
            n_layer: sizes.n_layer,
            n_embd: sizes.n_embd,
            n_head: sizes.n_head.iter().copied().max().unwrap_or(0),
            n_head_kv: sizes.n_head_kv.iter().copied().max().unwrap_or(0),
            head_dim_k: sizes.head_dim_k,
            head_dim_v: sizes.head_dim_v,
            n_ctx_train: sizes.n_ctx_train,
            n_expert: self.u32(&format!("{name}.expert_count"))?.unwrap_or(0),
            n_vocab: vocabulary.n_tokens,
            tokenizer: vocabulary.tokenizer,
            has_chat_template: vocabulary.has_chat_template,
            is_encoder: architecture.encoder,
            has_rank_head: self.has_rank_head(name, weights)?,
            sliding_window: if architecture.encoder { None } else { window::find(self, name, &sizes.n_head_kv)? },
            work: weights.work(sizes.n_expert_used),
            matrices: weights.matrices(),
            faults: architecture::graph_faults(name),
            can_be_mapped: misplaced.is_none(),
            warnings,
            kv_elements_k,
            kv_elements_v,
        })
    }
}

/// The tensors of all files of a model.
struct Weights<'h> {
    parts: Vec<&'h Header>,
}

impl Weights<'_> {
    fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.parts.iter().flat_map(|part| part.tensors())
    }

    fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.parts.iter().find_map(|part| part.tensor(name))
    }

    fn check(&self, architecture: Architecture, sizes: &Hyperparameters, n_vocab: u32) -> Result<(), Problem> {
        for part in &self.parts {
            for tensor in part.tensors() {
                check_type(tensor)?;
            }
        }
        let embeddings = self.find("token_embd.weight").ok_or_else(|| missing_tensor("token_embd.weight"))?;
        let expected = [u64::from(sizes.n_embd), u64::from(n_vocab)];
        if embeddings.dims != expected {
            return Err(Problem::invalid(format!(
                "'token_embd.weight' has the shape {:?}, and {expected:?} follows from the embedding length and the \
                 {n_vocab} tokens of the vocabulary; weights and vocabulary are of different models",
                embeddings.dims
            )));
        }
        if architecture.block_norm {
            for layer in 0..sizes.n_layer {
                let name = format!("blk.{layer}.attn_norm.weight");
                self.find(&name).ok_or_else(|| missing_tensor(&name))?;
            }
        }
        Ok(())
    }

    /// The tensors that rows are multiplied with.
    fn multiplied(&self) -> impl Iterator<Item = &TensorInfo> {
        let has_output = self.find(OUTPUT).is_some();
        self.tensors().filter(move |tensor| is_matrix(&tensor.name, &tensor.dims, has_output))
    }

    fn matrices(&self) -> Vec<MatrixGroup> {
        let mut groups: Vec<MatrixGroup> = Vec::new();
        let mut places = HashMap::new();
        for tensor in self.multiplied() {
            let is_experts = is_of_experts(&tensor.name);
            let place = *places.entry((tensor.tensor_type.id(), &tensor.dims, is_experts)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => {
                    group.count += 1;
                    group.bytes = group.bytes.saturating_add(tensor.bytes);
                }
                None => groups.push(MatrixGroup {
                    tensor_type: tensor.tensor_type,
                    dims: tensor.dims.clone(),
                    count: 1,
                    first: tensor.name.clone(),
                    is_experts,
                    bytes: tensor.bytes,
                }),
            }
        }
        groups
    }

    fn work(&self, n_expert_used: u32) -> ModelWork {
        let mut work = ModelWork { n_expert_used, ..ModelWork::default() };
        for tensor in self.multiplied() {
            let (weights, bytes) = match tensor.name.as_str() {
                "token_embd.weight" | OUTPUT => (&mut work.output_weights, &mut work.output_bytes),
                name if is_of_experts(name) => (&mut work.expert_weights, &mut work.expert_bytes),
                _ => (&mut work.body_weights, &mut work.body_bytes),
            };
            *weights = weights.saturating_add(tensor.elements);
            *bytes = bytes.saturating_add(tensor.bytes);
        }
        work
    }

    fn most_common_type(&self) -> TensorType {
        let count = |wanted: TensorType| self.tensors().filter(|tensor| tensor.tensor_type == wanted).count();
        let types = (0..64).filter_map(TensorType::from_id);
        types.max_by_key(|&tensor_type| count(tensor_type)).unwrap_or(TensorType::F32)
    }
}

fn missing_tensor(name: &str) -> Problem {
    Problem::invalid(format!("the tensor '{name}' is missing; the file is incomplete: get another copy of the model"))
}

/// The first tensor that a mapped file would hold at a place where llama.cpp's buffers must not start.
fn misplaced(part: &Header) -> Option<(&TensorInfo, u64)> {
    let starts = part.tensors().iter().map(|tensor| (tensor, part.data_offset() + tensor.offset));
    starts.into_iter().find(|(_, start)| !start.is_multiple_of(MAPPED_ALIGNMENT))
}

fn check_type(tensor: &TensorInfo) -> Result<(), Problem> {
    let TensorInfo { name, tensor_type, .. } = tensor;
    // The one tensor that llama.cpp reads as integers: which experts a token is sent to.
    let indices = tensor_type.name() == "I32" && name.contains("tid2eid");
    if !tensor_type.is_weight() && !indices {
        return Err(Problem::unsupported(format!(
            "the tensor '{name}' is of type {}, which llama.cpp does not compute with on a CPU; get another \
             quantisation of the model",
            tensor_type.name()
        )));
    }
    // ggml's add, multiply, rotary embedding and scans abort on a second operand of another type. Whatever is one row is one.
    let is_by_element = tensor.dims.len() < 2 || is_by_element(name);
    if is_by_element && *tensor_type != TensorType::F32 {
        return Err(Problem::unsupported(format!(
            "the tensor '{name}' is of type {}, and llama.cpp aborts unless it is F32; convert the model again with \
             llama.cpp's convert_hf_to_gguf.py",
            tensor_type.name()
        )));
    }
    Ok(())
}
