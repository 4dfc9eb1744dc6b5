//! The routes of llama-server, with its field names.

pub(crate) mod completion;
pub(crate) mod infill;
pub(crate) mod props;
pub(crate) mod slots;
pub(crate) mod tokenize;
