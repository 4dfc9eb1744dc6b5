//! How workers and weights may be laid out over a machine.

use crate::named::named;

/// How workers are laid out over the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlacementPolicy {
    /// One worker for each NUMA node that has memory and a fair share of the cores.
    #[default]
    Auto,
    /// One worker for each NUMA node that has memory, however few cores it has.
    Node,
    /// One worker for each group of cores that share a last-level cache; their memory is that of their node.
    L3,
    /// One worker over all cores; neither its threads nor its memory are bound.
    None,
}

/// Whether each NUMA node gets a copy of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Replicate {
    /// Where they fit beside the KV caches; else all nodes share one copy that is spread over them.
    #[default]
    Auto,
    /// Always; an engine for which they do not fit is refused.
    Always,
    /// Never.
    Never,
}

/// How the compute threads of a worker wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitPolicy {
    /// They spin while each has a core to itself, and sleep while busy neighbours want the cores, too.
    #[default]
    Auto,
    /// They spin.
    Active,
    /// They sleep.
    Passive,
}

named!(PlacementPolicy, "placement", Auto = "auto", Node = "node", L3 = "l3", None = "none");
named!(Replicate, "way to replicate", Auto = "auto", Always = "always", Never = "never");
named!(WaitPolicy, "wait policy", Auto = "auto", Active = "active", Passive = "passive");
