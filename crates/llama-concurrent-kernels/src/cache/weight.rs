//! What a packed weight is known by.

/// A weight that is to be packed, where in the model's memory it goes, and its size there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) dims: [i64; 4],
    pub(crate) address: usize,
    pub(crate) size: usize,
}
