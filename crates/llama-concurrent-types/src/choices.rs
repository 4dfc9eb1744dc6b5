//! What fields of the engine's configuration are chosen from.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use crate::error::{Error, ErrorKind, Result};

/// Names for the useful pool shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// One context with one slot: one request after the other, lowest latency for one user.
    Sequential,
    /// Many contexts of one slot each: one token per context per turn, isolated and exactly reproducible.
    RoundRobin,
    /// One context with many slots, decoded together: the highest throughput.
    Batched,
    /// `Batched`, with one worker for each NUMA node.
    #[default]
    Auto,
}

impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Strategy; 4] = [Strategy::Sequential, Strategy::RoundRobin, Strategy::Batched, Strategy::Auto];

    /// The name used on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Sequential => "sequential",
            Strategy::RoundRobin => "round-robin",
            Strategy::Batched => "batched",
            Strategy::Auto => "auto",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Strategy::ALL.into_iter().find(|s| s.as_str() == name).ok_or_else(|| {
            let known = Strategy::ALL.map(Strategy::as_str).join(", ");
            Error::new(ErrorKind::InvalidConfig, format!("unknown strategy '{name}'; use one of {known}"))
        })
    }
}

/// Element type of a K or V cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// 16-bit floats: the reference.
    #[default]
    F16,
    /// 8-bit blocks: about half the memory of F16.
    Q8_0,
    /// 32-bit floats: twice the memory of F16.
    F32,
    /// 4-bit blocks: about a quarter of the memory of F16, and noticeably less exact.
    Q4_0,
}

impl KvType {
    /// Every type, in the order of the documentation.
    pub const ALL: [KvType; 4] = [KvType::F16, KvType::Q8_0, KvType::F32, KvType::Q4_0];

    /// Whether values lie in blocks with a scale each.
    pub fn has_blocks(self) -> bool {
        matches!(self, KvType::Q8_0 | KvType::Q4_0)
    }

    /// The name used on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
            KvType::F32 => "f32",
            KvType::Q4_0 => "q4_0",
        }
    }

    /// Bytes of one element, block scales included.
    pub fn bytes_per_element(self) -> f64 {
        match self {
            KvType::F16 => 2.0,
            KvType::Q8_0 => 34.0 / 32.0,
            KvType::F32 => 4.0,
            KvType::Q4_0 => 18.0 / 32.0,
        }
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KvType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        KvType::ALL.into_iter().find(|t| t.as_str() == name).ok_or_else(|| {
            let known = KvType::ALL.map(KvType::as_str).join(", ");
            Error::new(ErrorKind::InvalidConfig, format!("unknown cache type '{name}'; use one of {known}"))
        })
    }
}

/// Where packed weights are kept, so that the next load maps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackCache {
    /// In a file beside the model, called as the model with `.packed` at the end.
    BesideModel,
    /// In a file in this folder, which must exist.
    Folder(PathBuf),
}

/// Called while a model loads with the share that is done, 0 to 1; returning `false` stops the load.
pub type LoadProgress = Arc<dyn Fn(f32) -> bool + Send + Sync>;
