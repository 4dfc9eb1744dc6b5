//! Which kernels compute the products of a model's matrices, and how many of them.

use std::collections::BTreeMap;

use llama_concurrent_kernels::{Mode, install};

use crate::gguf::{MatrixGroup, ModelSummary};

/// Rows of a weight that the kernels pack together.
const PANEL: u64 = 16;
/// The name of the kernels that are not ours.
pub(crate) const GGML: &str = "ggml";

/// The products of those matrices that are stored alike and computed by the same kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProductShare {
    /// The instruction set of this library's kernels, such as "avx512vnni", or "ggml".
    pub kernels: &'static str,
    /// How the weights are stored, such as "Q4_0".
    pub format: &'static str,
    /// Multiplications for each row of a batch: rows times columns of the matrices. Of experts those that a row is sent to.
    pub products: u64,
    /// Bytes of the matrices as they lie in the file, all experts included.
    pub bytes: u64,
}

/// What computes the products of a model on this machine, as far as its file tells: with this library's kernels, where there
/// are any, or without. The largest share comes first.
pub fn planned_products(model: &ModelSummary, kernels: bool) -> Vec<ProductShare> {
    let mut shares = Shares::default();
    for group in &model.matrices {
        let ours = our_kernels(group).filter(|_| kernels);
        shares.add(ours, group.tensor_type.name(), group.products(model.work.n_expert_used), group.bytes);
    }
    shares.sorted()
}

/// The share of all products that this library's kernels compute, 0 to 1.
pub fn share_of_kernels(products: &[ProductShare]) -> f64 {
    let sum = |shares: &mut dyn Iterator<Item = &ProductShare>| shares.map(|share| share.products as f64).sum::<f64>();
    let all = sum(&mut products.iter());
    let ours = sum(&mut products.iter().filter(|share| share.kernels != GGML));
    if all > 0.0 { ours / all } else { 0.0 }
}

/// In words, such as `avx2 31 % (Q6_K), ggml 69 % (Q4_1, F32)`.
pub fn describe_products(products: &[ProductShare]) -> String {
    let all: f64 = products.iter().map(|share| share.products as f64).sum();
    let mut parts: Vec<(&str, f64, Vec<&str>)> = Vec::new();
    for share in products {
        let part = match parts.iter_mut().find(|(kernels, ..)| *kernels == share.kernels) {
            Some(part) => part,
            None => {
                parts.push((share.kernels, 0.0, Vec::new()));
                parts.last_mut().expect("one was added")
            }
        };
        part.1 += share.products as f64;
        part.2.push(share.format);
    }
    let percent = |of: f64| match of / all * 100.0 {
        // Not all, and not nothing.
        little if little < 1.0 => "< 1".to_owned(),
        much if (99.0..100.0).contains(&much) => "> 99".to_owned(),
        other => format!("{other:.0}"),
    };
    let text = |(kernels, of, formats): &(&str, f64, Vec<&str>)| {
        format!("{kernels} {} % ({})", percent(*of), formats.join(", "))
    };
    parts.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The kernels of ours that compute these matrices; none where ggml does.
pub(crate) fn our_kernels(group: &MatrixGroup) -> Option<&'static str> {
    let status = install(Mode::Auto);
    let level = status.level?;
    let (kind, known) = (group.tensor_type, status.formats.contains(&group.tensor_type.name()));
    let whole = match (&group.dims[..], group.is_experts) {
        ([k, rows], _) | ([k, rows, _], true) => k % kind.block_len() == 0 && rows % PANEL == 0,
        _ => false,
    };
    (known && whole).then(|| level.name())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kernels: &'static str, format: &'static str, products: u64) -> ProductShare {
        ProductShare { kernels, format, products, bytes: products }
    }

    #[test]
    fn shares_are_told_in_words() {
        let mixed = [share("ggml", "Q4_1", 600), share("avx2", "Q6_K", 390), share("ggml", "F32", 10)];
        assert_eq!(describe_products(&mixed), "ggml 61 % (Q4_1, F32), avx2 39 % (Q6_K)");
        assert_eq!(share_of_kernels(&mixed), 0.39);
        assert_eq!(describe_products(&[share("avx2", "Q4_0", 9)]), "avx2 100 % (Q4_0)");
        let nearly = [share("avx2", "Q4_0", 999), share("ggml", "F32", 1)];
        assert_eq!(describe_products(&nearly), "avx2 > 99 % (Q4_0), ggml < 1 % (F32)");
        assert_eq!((share_of_kernels(&[]), describe_products(&[])), (0.0, String::new()));
    }
}
