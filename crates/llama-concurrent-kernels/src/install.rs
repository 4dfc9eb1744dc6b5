//! Installation, once per process, and its result.

use crate::IsaLevel;
use std::{env, sync::OnceLock};

/// The environment variable that overrides the argument of [`install`]: `off`, `auto`, or the name of a [`IsaLevel`].
pub const ENVIRONMENT: &str = "LLAMA_CONCURRENT_KERNELS";

/// Which kernels to install.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The fastest that this machine supports.
    #[default]
    Auto,
    /// None.
    Off,
    /// The kernels of one level, for tests and comparisons.
    Only(IsaLevel),
}

/// The kernels in use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The level of the kernels in use; `None` if ggml computes everything.
    pub level: Option<IsaLevel>,
    /// The weight formats that are computed with them.
    pub formats: Vec<WeightFormat>,
    /// Which kernels were installed, or why none were.
    pub reason: String,
    /// Whether the reason is a fault that the user should be warned of.
    pub warning: bool,
}

/// A format of weights that there are kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightFormat {
    /// As named in files.
    pub name: &'static str,
    /// Its number in ggml (`ggml_type`).
    pub ggml_type: u32,
    /// The elements of a row are a multiple of this.
    pub block_len: usize,
    /// Whether weights are floats, which are computed with the kernels only where [`set_floats`] asks for it.
    pub is_float: bool,
    /// Whether quantising searches a codebook, which takes ggml seconds. In a file of such a format any bytes are weights, after a
    /// scale in half precision at the beginning of each block.
    pub has_codebook: bool,
}

impl Status {
    fn none(reason: impl Into<String>) -> Self {
        Self { level: None, formats: Vec::new(), reason: reason.into(), warning: false }
    }

    #[cfg(target_arch = "x86_64")]
    fn fault(reason: impl Into<String>) -> Self {
        Self { warning: true, ..Self::none(reason) }
    }
}

static STATUS: OnceLock<Status> = OnceLock::new();

/// Installs kernels, after a check that takes some milliseconds. Only the first call has an effect; all calls return its
/// result. It must precede the first load of a model in the process, which is when llama.cpp reads the list of buffer
/// types.
pub fn install(mode: Mode) -> &'static Status {
    STATUS.get_or_init(|| match wanted(mode) {
        Ok(Mode::Off) => Status::none("kernels are switched off"),
        Ok(mode) => install_now(mode),
        Err(status) => status,
    })
}

/// The result of [`install`], or that it was not called.
pub fn status() -> Status {
    STATUS.get().cloned().unwrap_or_else(|| Status::none("kernels were not installed"))
}

/// Sets whether the weights of models loaded from now on are computed with the kernels; initially true. Does not affect
/// models loaded before.
pub fn set_enabled(enabled: bool) {
    #[cfg(target_arch = "x86_64")]
    crate::state::set_enabled(enabled);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = enabled;
}

/// Sets whether weights that are floats (F32, F16, BF16) are packed, too; initially false. ggml is as fast with those, and computes
/// them where the file is mapped. Does not affect models loaded before.
pub fn set_floats(enabled: bool) {
    #[cfg(target_arch = "x86_64")]
    crate::state::set_floats(enabled);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = enabled;
}

/// Sets whether attention is computed with the kernels; initially true. Affects every model, so it must not be called while
/// any computes: the threads of an operation must agree.
pub fn set_attention(enabled: bool) {
    #[cfg(target_arch = "x86_64")]
    crate::state::set_attention(enabled);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = enabled;
}

/// The mode, unless the environment overrides it.
fn wanted(mode: Mode) -> Result<Mode, Status> {
    match env::var(ENVIRONMENT).as_deref() {
        Err(_) | Ok("") => Ok(mode),
        Ok("off") => Ok(Mode::Off),
        Ok("auto") => Ok(Mode::Auto),
        Ok(name) => IsaLevel::from_name(name).map(Mode::Only).ok_or_else(|| {
            let names = IsaLevel::ALL.map(IsaLevel::name).join(", ");
            let reason = format!("{ENVIRONMENT} is {name:?}; it may be off, auto, {names}");
            Status { warning: true, ..Status::none(reason) }
        }),
    }
}

#[cfg(target_arch = "x86_64")]
fn install_now(mode: Mode) -> Status {
    use crate::{
        check,
        dispatch::{PACKINGS, Packing},
        hook, state,
    };

    let level = match mode {
        Mode::Only(level) if level.is_available() => level,
        Mode::Only(level) => return Status::fault(format!("this machine does not have {level}")),
        _ => match IsaLevel::best() {
            Some(level) => level,
            None => return Status::none("no kernels for this CPU: it does not have AVX2, FMA and F16C"),
        },
    };
    if let Some(fault) = check::find_fault(level) {
        return Status::fault(format!("the {level} kernels failed their check and are off: {fault}"));
    }
    state::set_level(level);
    unsafe extern "C" {
        fn lck_register(functions: *const hook::Functions) -> i32;
    }
    // SAFETY: the function is guarded against exceptions and copies the table; the line above made the callbacks ready.
    match unsafe { lck_register(&hook::FUNCTIONS) } {
        0 => Status {
            level: Some(level),
            formats: PACKINGS.iter().map(Packing::weight_format).collect(),
            reason: format!("kernels for {level}"),
            warning: false,
        },
        1 => Status::none("ggml uses AMX on this CPU"),
        _ => Status::fault("the kernels could not be registered with ggml"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn install_now(_: Mode) -> Status {
    Status::none(format!("there are kernels for x86 only, and this CPU is {}", env::consts::ARCH))
}
