//! The kernel's lists of CPUs and nodes.

pub use llama_concurrent_types::{format_list, parse_list};

/// The kernel's own lists: empty where there is none.
pub(super) fn parse_kernel_list(list: &str) -> Vec<usize> {
    parse_list(list).unwrap_or_default()
}
