//! Which kernels compute the products of a model's matrices, and how many of them.

use std::collections::BTreeMap;

use llama_concurrent_gguf::{MatrixGroup, ModelSummary};
use llama_concurrent_kernels::{Mode, install};
use llama_concurrent_types::{EngineConfig, GGML, ProductShare};

/// Which kernels would compute the products of a model on this machine, judged by its file. The largest share comes first.
pub fn planned_products(model: &ModelSummary, config: &EngineConfig) -> Vec<ProductShare> {
    let mut shares = Shares::default();
    for group in &model.matrices {
        let ours = our_kernels(group, config.reproducible).filter(|_| config.kernels && config.repack);
        shares.add(ours, group.tensor_type.name(), group.products(model.work.n_expert_used), group.bytes);
    }
    shares.sorted()
}

/// Our kernels that compute these matrices, if also `floats` are packed or not; `None` if ggml does.
pub(crate) fn our_kernels(group: &MatrixGroup, floats: bool) -> Option<&'static str> {
    let status = install(Mode::Auto);
    let level = status.level?;
    let format = status.formats.iter().find(|format| format.name == group.tensor_type.name())?;
    let whole = match (&group.dims[..], group.is_experts) {
        ([k, rows], _) | ([k, rows, _], true) => k % format.block_len as u64 == 0 && *rows > 0,
        _ => false,
    };
    (whole && (floats || !format.is_float)).then(|| level.name())
}

/// Sums by kernels and format.
#[derive(Default)]
pub(crate) struct Shares(BTreeMap<(&'static str, &'static str), (u64, u64)>);

impl Shares {
    pub(crate) fn add(&mut self, ours: Option<&'static str>, format: &'static str, products: u64, bytes: u64) {
        let sums = self.0.entry((ours.unwrap_or(GGML), format)).or_default();
        sums.0 = sums.0.saturating_add(products);
        sums.1 = sums.1.saturating_add(bytes);
    }

    pub(crate) fn sorted(self) -> Vec<ProductShare> {
        let share = |((kernels, format), (products, bytes))| ProductShare { kernels, format, products, bytes };
        let mut all: Vec<ProductShare> = self.0.into_iter().map(share).collect();
        all.sort_by_key(|share| std::cmp::Reverse(share.products));
        all
    }
}
