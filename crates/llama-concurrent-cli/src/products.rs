//! The shares of the kernels, for the JSON of `run --stats` and `inspect`.

use llama_concurrent::ProductShare;
use serde::Serialize;

#[derive(Serialize)]
pub struct Products {
    kernels: &'static str,
    format: &'static str,
    products: u64,
    bytes: u64,
}

impl From<&ProductShare> for Products {
    fn from(share: &ProductShare) -> Self {
        let &ProductShare { kernels, format, products, bytes, .. } = share;
        Self { kernels, format, products, bytes }
    }
}
