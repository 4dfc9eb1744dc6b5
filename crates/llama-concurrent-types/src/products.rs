//! What share of a model's products which kernels compute.

/// The name of the kernels that are not ours.
pub const GGML: &str = "ggml";

/// The products of those matrices that are stored alike and computed by the same kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
