//! The instruction sets that there are kernels for, and detection.

use std::fmt;

/// An instruction set that there are kernels for, fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaLevel {
    /// 512-bit vectors and byte products in one instruction: Intel since Cascade Lake and Ice Lake, AMD since Zen 4.
    Avx512Vnni,
    /// 256-bit vectors and byte products in one instruction: Intel since Alder Lake.
    AvxVnni,
    /// 512-bit vectors: Intel Skylake-X.
    Avx512,
    /// 256-bit vectors: nearly every x86 CPU of the last ten years.
    Avx2,
    /// `AvxVnni` in the encoding of AVX-512. Never selected automatically; it tests that path on machines without AVX-VNNI.
    AvxVnniEvex,
}

impl IsaLevel {
    /// All levels, in order of preference.
    pub const ALL: [Self; 5] = [Self::Avx512Vnni, Self::AvxVnni, Self::Avx512, Self::Avx2, Self::AvxVnniEvex];

    /// The name used in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512vnni",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::AvxVnniEvex => "avxvnni-evex",
        }
    }

    /// The level with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether this CPU, under this operating system, has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        match self {
            Self::Avx512Vnni | Self::AvxVnniEvex => avx512 && is_x86_feature_detected!("avx512vnni"),
            Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => avx512,
            Self::Avx2 => avx2,
        }
    }

    /// Whether this CPU, under this operating system, has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        false
    }

    /// The fastest level of this machine.
    pub fn best() -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.is_available())
    }
}

impl fmt::Display for IsaLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
