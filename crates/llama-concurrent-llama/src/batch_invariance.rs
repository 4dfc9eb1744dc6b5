//! Whether a row's results depend on the other rows of a call.
//!
//! With ggml's kernels they do: these sum in a different order when a call has more rows. With ours they do not, nor do
//! the operations that ggml computes row by row. If our kernels compute all matrices and attention, sequences decoded
//! together get bit-identical results to sequences decoded alone. With `reproducible`, weights that are floats are packed as
//! well: the routers of experts are such matrices.

use llama_concurrent_gguf::ModelSummary;
use llama_concurrent_kernels::{Mode, computes_heads_of, install};
use llama_concurrent_types::EngineConfig;

use crate::{kernels::attention_is_left_to_ggml, products::our_kernels};

/// Architectures that consist of matrices, attention, and operations that ggml computes row by row.
#[rustfmt::skip]
pub const ROW_BY_ROW: [&str; 76] = [
    "afmoe", "apertus", "arcee", "arctic", "baichuan", "bailingmoe", "bailingmoe2", "bloom", "chatglm", "codeshell",
    "cohere2", "cohere2moe", "command-r", "dbrx", "deci", "deepseek", "dots1", "ernie4_5", "ernie4_5-moe", "exaone",
    "exaone-moe", "exaone4", "falcon", "gemma", "gemma2", "gemma3", "gemma4", "glm4", "glm4moe", "gpt-oss", "gpt2",
    "gptneox", "granite", "granitemoe", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe", "internlm2", "jais",
    "jais2", "laguna", "llama", "llama4", "maincoder", "mellum", "mimo2", "minicpm", "minicpm3", "minimax-m2",
    "mistral3", "mpt", "nemotron", "olmo", "olmo2", "olmoe", "openelm", "orion", "phi2", "phi3", "phimoe", "plamo",
    "qwen", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "refact", "seed_oss", "smallthinker", "smollm3", "stablelm",
    "starcoder", "starcoder2", "step35", "xverse",
];

/// Why the results of a sequence may depend on the other rows in its batch; `None` if they do not.
pub fn batch_invariance_obstacle(config: &EngineConfig, summary: &ModelSummary) -> Option<String> {
    if !config.kernels || !config.repack {
        return Some("the kernels, or the repacking that they need, are off".into());
    }
    let kernels = install(Mode::Auto);
    if kernels.level.is_none() {
        return Some(kernels.reason.clone());
    }
    if attention_is_left_to_ggml() {
        return Some("another engine in this process was loaded without kernels".into());
    }
    if !config.flash_attn {
        return Some("flash attention is off".into());
    }
    if !ROW_BY_ROW.contains(&summary.architecture.as_str()) {
        let architecture = &summary.architecture;
        return Some(format!(
            "the architecture {architecture} is not among those that are known to be computed row by row"
        ));
    }
    for (width, kv_type) in [(summary.head_dim_k, config.type_k), (summary.head_dim_v, config.type_v)] {
        if !computes_heads_of(width as usize, kv_type.has_blocks()) {
            return Some(format!("the kernels leave attention with heads of {width} values to ggml"));
        }
    }
    left_to_ggml(summary, config)
}

/// Names a matrix that the kernels do not compute.
fn left_to_ggml(summary: &ModelSummary, config: &EngineConfig) -> Option<String> {
    let left = summary.matrices.iter().find(|group| our_kernels(group, config.reproducible).is_none())?;
    Some(format!("the kernels do not compute {} of type {}", left.first, left.tensor_type.name()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;
    use llama_concurrent_gguf::{Header, TensorType, Value};
    use llama_concurrent_gguf_synth::{Parts, Shape, SynthOptions, WeightType, write};
    use llama_cpp_sys_2 as sys;

    /// Splits a file into one with its metadata and one with its tensors, as `llama-gguf-split --no-tensor-first-split` does.
    fn split(file: &Path, folder: &Path) -> PathBuf {
        let mut first = Parts::read(file).unwrap();
        let n_tensors = first.tensors.len() as i32;
        let mut second = Parts { tensors: std::mem::take(&mut first.tensors), ..Parts::default() };
        for (number, part) in [&mut first, &mut second].into_iter().enumerate() {
            part.set("split.no", Value::U16(number as u16));
            part.set("split.count", Value::U16(2));
            part.set("split.tensors.count", Value::I32(n_tensors));
        }
        fs::write(folder.join("m-00002-of-00002.gguf"), second.encode()).unwrap();
        let path = folder.join("m-00001-of-00002.gguf");
        fs::write(&path, first.encode()).unwrap();
        path
    }

    #[test]
    fn all_files_of_a_model_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.gguf");
        let left = |path: &Path| {
            left_to_ggml(
                &Header::read(path).unwrap().check_model().unwrap(),
                &EngineConfig::default().reproducible(true),
            )
        };
        // Rows of one block of the type that is left to ggml: two bits for 256 weights, and a scale.
        let shape = Shape { n_embd: 256, n_ff: 256, n_head: 4, n_head_kv: 2, n_vocab: 1024, ..Shape::SMOLLM_135M };
        let ternary = TensorType::from_id(sys::GGML_TYPE_TQ2_0).unwrap();
        for (weight_type, fits) in [(WeightType::F16, true), (WeightType::Q8_0, true), (WeightType::Q8_0, false)] {
            let options = SynthOptions { weight_type, n_layer: Some(1), ..SynthOptions::new(shape.clone()) };
            write(&options, &whole, &mut |_, _| ()).unwrap();
            if !fits {
                let mut parts = Parts::read(&whole).unwrap();
                let tensor = parts.tensors.iter_mut().find(|tensor| tensor.name == "blk.0.ffn_up.weight").unwrap();
                tensor.tensor_type = ternary;
                tensor.data = vec![0; 256 * ternary.block_bytes() as usize];
                fs::write(&whole, parts.encode()).unwrap();
            }
            let parts = split(&whole, folder.path());
            assert_eq!(left(&parts), left(&whole));
            if install(Mode::Auto).level.is_some() {
                assert_eq!(left(&parts).is_none(), fits, "{:?}", left(&parts));
            }
        }
    }
}
