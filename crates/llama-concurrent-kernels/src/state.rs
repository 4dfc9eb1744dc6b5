//! The installed kernels, for the life of the process.

use crate::{
    IsaLevel,
    dispatch::{Kernels, PACKINGS, Packing},
};
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

static LEVEL: OnceLock<IsaLevel> = OnceLock::new();
static KERNELS: OnceLock<Vec<Kernels>> = OnceLock::new();
static ENABLED: AtomicBool = AtomicBool::new(true);
static FLOATS: AtomicBool = AtomicBool::new(false);
static ATTENTION: AtomicBool = AtomicBool::new(true);

/// The kernels of each format, in the order of [`PACKINGS`]; empty before installation.
pub(crate) fn kernels() -> &'static [Kernels] {
    KERNELS.get().map_or(&[], Vec::as_slice)
}

/// The level; `None` before installation.
pub(crate) fn level() -> Option<IsaLevel> {
    LEVEL.get().copied()
}

/// Sets the level, once; the level must be available.
pub(crate) fn set_level(level: IsaLevel) {
    LEVEL.get_or_init(|| level);
    KERNELS.get_or_init(|| PACKINGS.iter().map(|packing| (packing.kernels)(level)).collect());
}

/// Whether weights of this format, of models loaded from now on, are packed.
pub(crate) fn accepts(packing: &Packing) -> bool {
    ENABLED.load(Ordering::Relaxed) && (!packing.is_float || FLOATS.load(Ordering::Relaxed))
}

pub(crate) fn set_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

pub(crate) fn set_floats(enabled: bool) {
    FLOATS.store(enabled, Ordering::Relaxed);
}

pub(crate) fn computes_attention() -> bool {
    ATTENTION.load(Ordering::Relaxed)
}

pub(crate) fn set_attention(enabled: bool) {
    ATTENTION.store(enabled, Ordering::Relaxed);
}
