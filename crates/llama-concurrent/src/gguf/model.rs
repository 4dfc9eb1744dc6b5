//! Whether a sound file holds a model that llama.cpp will load, and that it will not abort on later.
//!
//! Follows `llama_model_base::load_hparams`, the `GGML_ASSERT`s of `src/models/` and the CPU backend's operators in
//! the pinned llama.cpp. What its loader refuses with a clear message of its own (a tensor of the wrong shape) is left
//! to it.

use super::architecture::{self, Architecture, HeadRule};
use super::error::{GgufError, Problem};
use super::header::Header;
use super::split;
use super::summary::{ModelSummary, file_type_name};
use super::tensor::{TensorInfo, TensorType};
use super::value::Value;
use super::vocabulary;

/// `LLAMA_MAX_LAYERS`.
const MAX_LAYERS: u32 = 512;
/// `LLAMA_MAX_EXPERTS`.
const MAX_EXPERTS: u32 = 1024;
/// `TENSOR_ALIGNMENT` in ggml-backend.cpp: a mapped buffer that starts elsewhere is an assertion failure.
const MAPPED_ALIGNMENT: u64 = 32;

impl Header {
    /// Checks that this is a text generation model that the llama.cpp of this build can run, and describes it. For the
    /// first file of a model in several, reads the headers of the others too.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](super::GgufErrorKind::Unsupported) for a sound file of another purpose, architecture or
    /// tokenizer; [`Invalid`](super::GgufErrorKind::Invalid) for settings that contradict each other or the tensors;
    /// any kind for the other files of a split model.
    pub fn check_model(&self) -> Result<ModelSummary, GgufError> {
        let at_path = |problem: Problem| problem.at(self.path());
        let n_files = split::number_of_files(self).map_err(at_path)?;
        let (name, architecture) = self.check_purpose().map_err(at_path)?;
        let others = split::read_other_parts(self, n_files)?;
        let weights = Weights { parts: std::iter::once(self).chain(&others).collect() };
        self.describe(name, architecture, &weights).map_err(at_path)
    }

    fn check_purpose(&self) -> Result<(&str, Architecture), Problem> {
        if let Some(kind) = self.get("general.type").and_then(Value::as_str)
            && kind != "model"
        {
            return Err(Problem::unsupported(match kind {
                "adapter" => "this is a LoRA adapter; give the model that it was made for".to_owned(),
                "mmproj" => "this is the image or audio part of a multimodal model; give the language model that it \
                             belongs to"
                    .to_owned(),
                other => format!("this is no model: its 'general.type' is '{}'", other.escape_debug()),
            }));
        }
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

    fn describe(&self, name: &str, architecture: Architecture, weights: &Weights) -> Result<ModelSummary, Problem> {
        if weights.tensors().next().is_none() {
            return Err(self.without_weights());
        }
        let shape = Shape::read(self, name, architecture)?;
        check_experts(self, name, shape.n_layer_all)?;
        check_rope(self, name, architecture, &shape)?;
        let vocabulary = vocabulary::check(self)?;
        weights.check(architecture, &shape, vocabulary.n_tokens)?;

        let (kv_elements_k, kv_elements_v) = shape.kv_elements_per_token(self, name)?;
        let tensor_bytes = weights.tensors().map(|tensor| tensor.bytes).sum();
        Ok(ModelSummary {
            architecture: name.to_owned(),
            name: self.str("general.name")?.map(str::to_owned),
            file_type: match self.u32("general.file_type")?.and_then(file_type_name) {
                Some(file_type) => file_type.to_owned(),
                None => weights.most_common_type().name().to_owned(),
            },
            n_files: weights.parts.len() as u32,
            tensor_bytes,
            parameters: weights.tensors().map(|tensor| tensor.elements).sum(),
            n_layer: shape.n_layer,
            n_embd: shape.n_embd,
            n_head: shape.n_head.iter().copied().max().unwrap_or(0),
            n_head_kv: shape.n_head_kv.iter().copied().max().unwrap_or(0),
            head_dim_k: shape.head_dim_k,
            head_dim_v: shape.head_dim_v,
            n_ctx_train: shape.n_ctx_train,
            n_expert: self.u32(&format!("{name}.expert_count"))?.unwrap_or(0),
            n_vocab: vocabulary.n_tokens,
            tokenizer: vocabulary.tokenizer,
            has_chat_template: vocabulary.has_chat_template,
            kv_elements_k,
            kv_elements_v,
        })
    }
}

/// The sizes that the checks need; heads per layer, as some models vary them.
struct Shape {
    /// Layers in the file, those for the prediction of further tokens included.
    n_layer_all: u32,
    /// Layers that each token passes.
    n_layer: u32,
    n_embd: u32,
    n_ctx_train: u32,
    n_head: Vec<u32>,
    n_head_kv: Vec<u32>,
    head_dim_k: u32,
    head_dim_v: u32,
}

impl Shape {
    fn read(header: &Header, name: &str, architecture: Architecture) -> Result<Shape, Problem> {
        let n_layer_all = positive(header, &format!("{name}.block_count"))?;
        if n_layer_all > MAX_LAYERS {
            return Err(Problem::invalid(format!(
                "'{name}.block_count' is {n_layer_all}, and llama.cpp takes {MAX_LAYERS} layers at most; the file is \
                 damaged"
            )));
        }
        let n_layer_nextn = header.u32(&format!("{name}.nextn_predict_layers"))?.unwrap_or(0);
        if n_layer_nextn >= n_layer_all {
            return Err(Problem::invalid(format!(
                "'{name}.nextn_predict_layers' is {n_layer_nextn} of {n_layer_all} layers, which leaves none to \
                 generate with; get a complete file of the model"
            )));
        }
        let n_embd = positive(header, &format!("{name}.embedding_length"))?;
        let n_ctx_train = positive(header, &format!("{name}.context_length"))?;
        header.per_layer(&format!("{name}.feed_forward_length"), n_layer_all)?;

        let head_key = format!("{name}.attention.head_count");
        let n_head = match header.per_layer(&head_key, n_layer_all)? {
            Some(heads) => heads,
            None if architecture.recurrent => vec![0; n_layer_all as usize],
            None => return Err(missing(&head_key)),
        };
        let n_head_kv = header.per_layer(&format!("{head_key}_kv"), n_layer_all)?.unwrap_or_else(|| n_head.clone());
        check_heads(&head_key, &n_head, &n_head_kv, architecture)?;

        let (key_length, value_length) =
            (format!("{name}.attention.key_length"), format!("{name}.attention.value_length"));
        let (head_dim_k, head_dim_v) = match n_head[0] {
            0 => (0, 0),
            heads => (head_dim(header, &key_length, n_embd, heads)?, head_dim(header, &value_length, n_embd, heads)?),
        };
        if architecture.heads != HeadRule::Free && head_dim_k != head_dim_v {
            return Err(Problem::invalid(format!(
                "'{key_length}' is {head_dim_k} and '{value_length}' is {head_dim_v}; llama.cpp aborts where they \
                 differ in a model of the architecture '{name}'"
            )));
        }
        let n_layer = n_layer_all - n_layer_nextn;
        Ok(Shape { n_layer_all, n_layer, n_embd, n_ctx_train, n_head, n_head_kv, head_dim_k, head_dim_v })
    }

    /// Elements of the key and the value cache that one token takes, all layers together.
    fn kv_elements_per_token(&self, header: &Header, name: &str) -> Result<(u64, u64), Problem> {
        // Of each so many layers only the last attends; the others keep a state of fixed size.
        let interval = header.u32(&format!("{name}.full_attention_interval"))?.unwrap_or(1).max(1);
        // Weights that a token passes several times, each time with keys and values of their own.
        let loops = u64::from(header.u32(&format!("{name}.num_loops"))?.unwrap_or(1).clamp(1, MAX_LAYERS));
        let heads: u64 = (1..=self.n_layer)
            .zip(&self.n_head_kv)
            .filter(|(layer, _)| layer.is_multiple_of(interval))
            .map(|(_, &heads)| u64::from(heads))
            .sum();
        // Latent attention stores one vector for both.
        let latent = header.u32(&format!("{name}.attention.key_length_mla"))?.unwrap_or(0) > 0;
        let width_v = if latent { 0 } else { self.head_dim_v };
        let elements = |width: u32| heads.saturating_mul(u64::from(width)).saturating_mul(loops);
        Ok((elements(self.head_dim_k), elements(width_v)))
    }
}

fn check_heads(key: &str, n_head: &[u32], n_head_kv: &[u32], architecture: Architecture) -> Result<(), Problem> {
    for (layer, (&heads, &heads_kv)) in n_head.iter().zip(n_head_kv).enumerate() {
        if (heads == 0 || heads_kv == 0) && !architecture.partly_without_heads {
            return Err(Problem::invalid(format!(
                "'{key}' or '{key}_kv' is 0 in layer {layer}, and attention needs heads; the file was written wrongly"
            )));
        }
        if heads_kv != 0 && !heads.is_multiple_of(heads_kv) {
            return Err(Problem::invalid(format!(
                "layer {layer} has {heads} attention heads and {heads_kv} for keys and values, which do not divide \
                 them evenly ('{key}', '{key}_kv'); the file was written wrongly"
            )));
        }
    }
    Ok(())
}

fn head_dim(header: &Header, key: &str, n_embd: u32, heads: u32) -> Result<u32, Problem> {
    match header.u32(key)? {
        Some(0) => Err(Problem::invalid(format!("'{key}' is 0; the file was written wrongly"))),
        Some(dim) => Ok(dim),
        None if n_embd.is_multiple_of(heads) => Ok(n_embd / heads),
        None => Err(Problem::invalid(format!(
            "the embedding length of {n_embd} does not divide among {heads} heads, and '{key}' is missing; \
             the file was written wrongly"
        ))),
    }
}

fn check_rope(header: &Header, name: &str, architecture: Architecture, shape: &Shape) -> Result<(), Problem> {
    let scaling = format!("{name}.rope.scaling.type");
    if let Some(kind) = header.str(&scaling)?
        && !matches!(kind, "none" | "linear" | "yarn" | "longrope")
    {
        return Err(Problem::unsupported(format!(
            "'{scaling}' is '{}', and llama.cpp knows none, linear, yarn and longrope",
            kind.escape_debug()
        )));
    }
    let key = format!("{name}.rope.dimension_count");
    let given = header.u32(&key)?;
    let dims = given.unwrap_or(shape.head_dim_k);
    if architecture.heads == HeadRule::KeyEqualsValueEqualsRope && dims != shape.head_dim_k && shape.n_head[0] > 0 {
        return Err(Problem::invalid(format!(
            "'{key}' is {dims}, and heads are {} wide; llama.cpp aborts where they differ in a model of the \
             architecture '{name}'",
            shape.head_dim_k
        )));
    }
    let rotates = given.is_some() || architecture.heads == HeadRule::KeyEqualsValueEqualsRope;
    if rotates && !dims.is_multiple_of(2) {
        return Err(Problem::invalid(format!(
            "rotary embedding turns pairs, and '{key}' is {dims}; the file was written wrongly"
        )));
    }
    Ok(())
}

/// The assertions on experts in `load_hparams`.
fn check_experts(header: &Header, name: &str, n_layer: u32) -> Result<(), Problem> {
    let count = |what: &str| header.u32(&format!("{name}.{what}")).map(Option::unwrap_or_default);
    let mut experts = count("expert_count")?;
    let used_per_layer = header.per_layer(&format!("{name}.expert_used_count"), n_layer)?;
    let mut used = used_per_layer.and_then(|layers| layers.into_iter().max()).unwrap_or(0);
    let (groups, groups_used) = (count("expert_group_count")?, count("expert_group_used_count")?);

    if matches!(name, "hunyuan_vl" | "hunyuan-dense") && experts <= 1 {
        (experts, used) = (0, 0);
    }
    let wrong = if experts > MAX_EXPERTS {
        format!("{experts} experts, and llama.cpp takes {MAX_EXPERTS} at most")
    } else if used > experts {
        format!("{experts} experts, of which a token uses {used}")
    } else if experts > 0 && used == 0 {
        format!("{experts} experts, of which a token uses none")
    } else if groups > 0 && groups >= experts {
        format!("{experts} experts in {groups} groups")
    } else if groups > 1 && !experts.is_multiple_of(groups) {
        format!("{experts} experts, which do not divide among {groups} groups")
    } else if groups > 1 && (groups_used == 0 || groups_used >= groups) {
        format!("{groups} groups of experts, of which a token uses {groups_used}")
    } else {
        return Ok(());
    };
    Err(Problem::invalid(format!(
        "the model announces {wrong} ('{name}.expert_count', 'expert_used_count', 'expert_group_count', \
         'expert_group_used_count'); llama.cpp aborts on that: the file was written wrongly"
    )))
}

fn positive(header: &Header, key: &str) -> Result<u32, Problem> {
    match header.u32(key)? {
        Some(0) => Err(Problem::invalid(format!("'{key}' is 0; the file was written wrongly"))),
        Some(value) => Ok(value),
        None => Err(missing(key)),
    }
}

fn missing(key: &str) -> Problem {
    Problem::invalid(format!("'{key}' is missing, and llama.cpp cannot load a model without it; get another copy"))
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

    fn check(&self, architecture: Architecture, shape: &Shape, n_vocab: u32) -> Result<(), Problem> {
        for part in &self.parts {
            for tensor in part.tensors() {
                check_place(part, tensor)?;
                check_type(tensor)?;
            }
        }
        let embeddings = self.find("token_embd.weight").ok_or_else(|| missing_tensor("token_embd.weight"))?;
        let expected = [u64::from(shape.n_embd), u64::from(n_vocab)];
        if embeddings.dims != expected {
            return Err(Problem::invalid(format!(
                "'token_embd.weight' has the shape {:?}, and {expected:?} follows from the embedding length and the \
                 {n_vocab} tokens of the vocabulary; weights and vocabulary are of different models",
                embeddings.dims
            )));
        }
        if architecture.block_norm {
            for layer in 0..shape.n_layer {
                let name = format!("blk.{layer}.attn_norm.weight");
                self.find(&name).ok_or_else(|| missing_tensor(&name))?;
            }
        }
        Ok(())
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

fn check_place(part: &Header, tensor: &TensorInfo) -> Result<(), Problem> {
    if (part.data_offset() + tensor.offset).is_multiple_of(MAPPED_ALIGNMENT) {
        return Ok(());
    }
    Err(Problem::unsupported(format!(
        "the tensor '{}' starts at byte {}, no multiple of {MAPPED_ALIGNMENT} ('general.alignment' is {}), and \
         llama.cpp aborts when it maps such a file; write the model again with alignment {MAPPED_ALIGNMENT}, as \
         llama-quantize does",
        tensor.name,
        part.data_offset() + tensor.offset,
        part.alignment()
    )))
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
    // ggml's add, multiply and rotary embedding abort on a second operand of another type.
    let added_or_multiplied = name.ends_with(".bias")
        || name.ends_with("_norm.weight")
        || name.ends_with("rope_freqs.weight")
        || name.ends_with("rope_factors_long.weight")
        || name.ends_with("rope_factors_short.weight");
    if added_or_multiplied && *tensor_type != TensorType::F32 {
        return Err(Problem::unsupported(format!(
            "the tensor '{name}' is of type {}, and llama.cpp aborts unless it is F32; convert the model again with \
             llama.cpp's convert_hf_to_gguf.py",
            tensor_type.name()
        )));
    }
    Ok(())
}
