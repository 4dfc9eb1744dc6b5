//! Which CPUs and which memory the workers use: the machine as this process may use it, and a plan with its reasons.
//!
//! [`Machine`] is a value: detected here, or made from a description of some other machine. [`plan`] is a pure function of
//! it, of an [`EngineConfig`](llama_concurrent_types::EngineConfig) and of a model's size, so a plan can be seen and tested for machines
//! that nobody has at hand.

mod cpu_list;
mod detect;
mod limits;
mod machine;
mod placement;
mod planner;
#[cfg(target_os = "linux")]
mod sysfs;

pub use cpu_list::{format_list, parse_list};
pub use machine::{Core, Machine, NumaNode};
pub use placement::{MemoryPolicy, Placement, WeightCopy, WorkerPlan};
pub use planner::{ModelSize, plan};
