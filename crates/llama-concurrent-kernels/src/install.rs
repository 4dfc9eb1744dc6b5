//! Installation, once in a process, and what came of it.

use crate::Level;
use std::{env, sync::OnceLock};

/// The environment variable that overrides what [`install`] is asked for: `off`, `auto`, or the name of a [`Level`].
pub const ENVIRONMENT: &str = "LLAMA_CONCURRENT_KERNELS";

/// Which kernels to install.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The fastest that this machine has.
    #[default]
    Auto,
    /// None.
    Off,
    /// Those of one level, for tests and comparisons.
    Only(Level),
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The level of the kernels in use; `None` if ggml computes everything.
    pub level: Option<Level>,
    /// The weight formats that are computed with them, as files name them.
    pub formats: Vec<&'static str>,
    /// In words: what was installed, or why nothing.
    pub reason: String,
    /// Whether that reason is a fault that somebody should hear of.
    pub warning: bool,
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

/// Installs kernels, after a check that takes some milliseconds. Only the first call does anything; all return what it
/// came to. It must come before the first model of the process is loaded: llama.cpp asks for the list of buffer types
/// only then.
pub fn install(mode: Mode) -> &'static Status {
    STATUS.get_or_init(|| match wanted(mode) {
        Ok(Mode::Off) => Status::none("kernels are switched off"),
        Ok(mode) => install_now(mode),
        Err(status) => status,
    })
}

/// What [`install`] came to, or that it was not called.
pub fn status() -> Status {
    STATUS.get().cloned().unwrap_or_else(|| Status::none("kernels were not installed"))
}

/// Whether the weights of models loaded from now on are computed with the kernels; true at first. Models that are
/// loaded keep what they have.
pub fn set_enabled(enabled: bool) {
    #[cfg(target_arch = "x86_64")]
    crate::state::set_enabled(enabled);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = enabled;
}

/// Whether attention is computed with the kernels; true at first. Every model is concerned, so this must not be called
/// while any computes: the threads of one operation have to agree.
pub fn set_attention(enabled: bool) {
    #[cfg(target_arch = "x86_64")]
    crate::state::set_attention(enabled);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = enabled;
}

/// The mode, unless the environment says another.
fn wanted(mode: Mode) -> Result<Mode, Status> {
    match env::var(ENVIRONMENT).as_deref() {
        Err(_) | Ok("") => Ok(mode),
        Ok("off") => Ok(Mode::Off),
        Ok("auto") => Ok(Mode::Auto),
        Ok(name) => Level::from_name(name).map(Mode::Only).ok_or_else(|| {
            let names = Level::ALL.map(Level::name).join(", ");
            let reason = format!("{ENVIRONMENT} is {name:?}; it may be off, auto, {names}");
            Status { warning: true, ..Status::none(reason) }
        }),
    }
}

#[cfg(target_arch = "x86_64")]
fn install_now(mode: Mode) -> Status {
    use crate::{check, dispatch::PACKINGS, hook, state};

    let level = match mode {
        Mode::Only(level) if level.is_available() => level,
        Mode::Only(level) => return Status::fault(format!("this machine does not have {level}")),
        _ => match Level::best() {
            Some(level) => level,
            None => return Status::none("no kernels for this CPU: it does not have AVX2, FMA and F16C"),
        },
    };
    if let Some(fault) = check::find_fault(level) {
        return Status::fault(format!("the {level} kernels failed their check and are off: {fault}"));
    }
    state::choose(level);
    unsafe extern "C" {
        fn lck_register(functions: *const hook::Functions) -> i32;
    }
    // SAFETY: the function guards itself and copies the table; what it calls back is ready since the line above.
    match unsafe { lck_register(&hook::FUNCTIONS) } {
        0 => Status {
            level: Some(level),
            formats: PACKINGS.iter().map(|packing| packing.name).collect(),
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
