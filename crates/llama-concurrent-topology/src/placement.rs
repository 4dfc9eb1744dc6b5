//! What a plan consists of, and the wishes that it follows.

use std::fmt;

/// Where the memory of a worker should lie: its KV and scratch memory, and weights that only it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// Wherever the system puts it.
    System,
    /// On this NUMA node as long as it has room.
    Node(usize),
    /// Page by page in turn on these nodes.
    Interleave(Vec<usize>),
}

impl fmt::Display for MemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("left to the system"),
            Self::Node(node) => write!(f, "on node {node}"),
            Self::Interleave(nodes) => write!(f, "spread over nodes {}", super::format_list(nodes)),
        }
    }
}

/// Which copy of the weights a worker reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightCopy {
    /// The one of the engine, mapped from the file if the configuration says so.
    Shared,
    /// A private one, read into the memory of this node; workers on one node share it.
    OfNode(usize),
}

impl fmt::Display for WeightCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("one for all workers"),
            Self::OfNode(node) => write!(f, "a copy on node {node}"),
        }
    }
}

/// Where one worker computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// CPUs (as the operating system numbers them) that its threads may run on.
    pub cpus: Vec<usize>,
    /// Compute threads, the worker thread included.
    pub threads: usize,
    /// Bind the threads to `cpus`.
    pub pin: bool,
    /// Bind each thread to a core of its own.
    pub one_core_each: bool,
    /// The NUMA node that it is on; `None` if it spans several or the machine has none.
    pub node: Option<usize>,
    /// Where its memory should lie.
    pub memory: MemoryPolicy,
    /// The weights that it reads.
    pub weights: WeightCopy,
    /// Requests that it can run at once.
    pub slots: usize,
}

impl WorkerPlan {
    /// A worker with so many threads that is bound to nothing.
    pub fn anywhere(threads: usize) -> Self {
        Self {
            cpus: Vec::new(),
            threads,
            pin: false,
            one_core_each: false,
            node: None,
            memory: MemoryPolicy::System,
            weights: WeightCopy::Shared,
            slots: 1,
        }
    }
}

/// A plan, and what a person should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One entry for each worker.
    pub workers: Vec<WorkerPlan>,
    /// Where the shared copy of the weights should lie.
    pub shared_weights: MemoryPolicy,
    /// Why it is so, in words.
    pub reasons: Vec<String>,
    /// Wishes that were not granted, in words.
    pub warnings: Vec<String>,
}

impl Placement {
    /// Compute threads over all workers.
    pub fn threads(&self) -> usize {
        self.workers.iter().map(|worker| worker.threads).sum()
    }

    /// Requests that can run at once over all workers.
    pub fn slots(&self) -> usize {
        self.workers.iter().map(|worker| worker.slots).sum()
    }

    /// The copies of the weights that the workers read, each once.
    pub fn copies(&self) -> Vec<WeightCopy> {
        let mut copies = Vec::new();
        for worker in &self.workers {
            if !copies.contains(&worker.weights) {
                copies.push(worker.weights);
            }
        }
        copies
    }
}
