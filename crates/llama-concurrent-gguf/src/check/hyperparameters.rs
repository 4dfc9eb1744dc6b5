//! A model's settings, checked as `llama_model_base::load_hparams` and the graphs in `src/models/` of the pinned
//! llama.cpp assert them.

use super::architecture::{Architecture, HeadRule};
use crate::error::Problem;
use crate::header::{Header, wrong_type};
use crate::value::Value;

/// `LLAMA_MAX_LAYERS`.
const MAX_LAYERS: u32 = 512;
/// `LLAMA_MAX_EXPERTS`.
const MAX_EXPERTS: u32 = 1024;

/// The sizes that the checks need; heads per layer, as some models vary them.
pub(super) struct Hyperparameters {
    /// Layers that each token passes.
    pub n_layer: u32,
    pub n_embd: u32,
    pub n_ctx_train: u32,
    pub n_head: Vec<u32>,
    pub n_head_kv: Vec<u32>,
    pub head_dim_k: u32,
    pub head_dim_v: u32,
    /// Experts that a row is sent to; the most, where layers differ.
    pub n_expert_used: u32,
}

impl Hyperparameters {
    /// Reads and checks the settings of a model of this architecture, whose keys begin with its `name`.
    pub fn read(header: &Header, name: &str, architecture: Architecture) -> Result<Self, Problem> {
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
        let context_length = format!("{name}.context_length");
        let n_ctx_train = header.u32(&context_length)?.ok_or_else(|| missing(&context_length))?;
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
        let n_expert_used = check_experts(header, name, n_layer_all)?;
        let sizes =
            Hyperparameters { n_layer, n_embd, n_ctx_train, n_head, n_head_kv, head_dim_k, head_dim_v, n_expert_used };
        check_rope(header, name, architecture, &sizes)?;
        check_floats(header, name)?;
        check_wkv(header, name)?;
        Ok(sizes)
    }

    /// Elements of the key and the value cache that one token takes, all layers together.
    pub fn kv_elements_per_token(&self, header: &Header, name: &str) -> (u64, u64) {
        // An estimate. Whether a model may have these keys, and of which type, is for llama.cpp to say.
        let number = |what: &str| match header.get(&format!("{name}.{what}")) {
            Some(&Value::U32(number)) => number,
            _ => 0,
        };
        // Of each so many layers only the last attends; the others keep a state of fixed size.
        let interval = number("full_attention_interval").max(1);
        // Weights that a token passes several times, each time with keys and values of their own.
        let loops = u64::from(number("num_loops").clamp(1, MAX_LAYERS));
        let heads: u64 = (1..=self.n_layer)
            .zip(&self.n_head_kv)
            .filter(|(layer, _)| layer.is_multiple_of(interval))
            .map(|(_, &heads)| u64::from(heads))
            .sum();
        // Latent attention stores one vector for both.
        let latent = number("attention.key_length_mla") > 0;
        let width_v = if latent { 0 } else { self.head_dim_v };
        let elements = |width: u32| heads.saturating_mul(u64::from(width)).saturating_mul(loops);
        (elements(self.head_dim_k), elements(width_v))
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

/// ggml asserts that what a norm adds is not negative; other nonsense makes every logit NaN.
fn check_floats(header: &Header, name: &str) -> Result<(), Problem> {
    for what in ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.freq_base"] {
        let key = format!("{name}.{what}");
        match header.get(&key) {
            Some(Value::F32(number)) if !number.is_finite() || *number < 0.0 => {
                return Err(Problem::invalid(format!(
                    "'{key}' is {number}; the file was written wrongly or is damaged"
                )));
            }
            None | Some(Value::F32(_)) => (),
            Some(other) => return Err(wrong_type(&key, other, "f32")),
        }
    }
    Ok(())
}

/// Architectures without rotary positions, whose files may say so with a 0.
const WITHOUT_ROTATION: [&str; 8] = ["baichuan", "bloom", "glm5-next", "gpt2", "jais", "mpt", "refact", "starcoder"];

fn check_rope(header: &Header, name: &str, architecture: Architecture, sizes: &Hyperparameters) -> Result<(), Problem> {
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
    let dims = given.unwrap_or(sizes.head_dim_k);
    if architecture.heads == HeadRule::KeyEqualsValueEqualsRope && dims != sizes.head_dim_k && sizes.n_head[0] > 0 {
        return Err(Problem::invalid(format!(
            "'{key}' is {dims}, and heads are {} wide; llama.cpp aborts where they differ in a model of the \
             architecture '{name}'",
            sizes.head_dim_k
        )));
    }
    if given == Some(0) && sizes.n_head[0] > 0 && !WITHOUT_ROTATION.contains(&name) {
        return Err(Problem::invalid(format!(
            "'{key}' is 0, and llama.cpp never ends to turn positions over no dimensions; the file was written wrongly"
        )));
    }
    let widest = header.u32(&format!("{name}.attention.key_length_swa"))?.unwrap_or(0).max(sizes.head_dim_k);
    if sizes.n_head[0] > 0 && given.is_some_and(|dims| dims > widest) {
        return Err(Problem::invalid(format!(
            "'{key}' is {dims}, and heads are {widest} wide; llama.cpp aborts when it turns more than there is: the file \
             was written wrongly"
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

/// The assertions on experts in `load_hparams`. How many of them a row is sent to.
fn check_experts(header: &Header, name: &str, n_layer: u32) -> Result<u32, Problem> {
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
        return Ok(used);
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

/// `ggml_compute_forward_rwkv_wkv7_f32` reads rows of a head in steps of up to 64 floats, beyond the row where it is shorter.
/// All published models have heads of 64.
fn check_wkv(header: &Header, name: &str) -> Result<(), Problem> {
    const STEP: u32 = 64;
    if !["rwkv7", "arwkv7"].contains(&name) {
        return Ok(());
    }
    let key = format!("{name}.wkv.head_size");
    match header.u32(&key)? {
        Some(size) if size == 0 || !size.is_multiple_of(STEP) => Err(Problem::invalid(format!(
            "'{key}' is {size}, and llama.cpp computes heads of a multiple of {STEP} only; the file was converted wrongly"
        ))),
        _ => Ok(()),
    }
}
