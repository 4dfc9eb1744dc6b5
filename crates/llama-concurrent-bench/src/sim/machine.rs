//! The simulated machine, and the layout of workers and weights on it.

use std::{fmt, str::FromStr};

use super::Calibration;

/// A machine of NUMA nodes, each with cores and memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineSpec {
    /// NUMA nodes.
    pub nodes: usize,
    /// Cores of each.
    pub cores: usize,
    /// The memory bandwidth of a node in GB/s; `None` if unspecified.
    pub bandwidth: Option<f64>,
}

/// Eight channels of DDR4-3200 have 205 GB/s nominally, of which programs reach about three quarters.
const SERVER_NODE: f64 = 150.0;

impl MachineSpec {
    /// GB/s of a node's memory. If unspecified, the calibrated bandwidth, scaled up in proportion if there are more cores than
    /// it was measured with, up to the bandwidth of a server's node.
    pub fn bandwidth(&self, calibration: &Calibration) -> f64 {
        let growth = (self.cores as f64 / calibration.cores as f64).max(1.0);
        let measured = calibration.node_bandwidth;
        self.bandwidth.unwrap_or_else(|| (measured * growth).min(measured.max(SERVER_NODE)))
    }
}

impl FromStr for MachineSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no machine: give nodes x cores of each, such as 2x16, or 2x16@90 with GB/s");
        let (shape, bandwidth) = match text.split_once('@') {
            None => (text, None),
            Some((shape, rate)) => (shape, Some(rate.parse::<f64>().map_err(|_| wrong())?)),
        };
        let (nodes, cores) = shape.split_once('x').ok_or_else(wrong)?;
        let (nodes, cores) = (nodes.parse().map_err(|_| wrong())?, cores.parse().map_err(|_| wrong())?);
        if !(1..=64).contains(&nodes) || !(1..=1024).contains(&cores) {
            return Err(format!("{text:?}: nodes are 1 to 64, cores of each 1 to 1024"));
        }
        if bandwidth.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(format!("{text:?}: the memory bandwidth must be a number of GB/s above 0"));
        }
        Ok(Self { nodes, cores, bandwidth })
    }
}

impl fmt::Display for MachineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.nodes, self.cores)?;
        self.bandwidth.map_or(Ok(()), |rate| write!(f, "@{rate}"))
    }
}

/// The layout of workers and weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerLayout {
    /// One worker whose threads are on all nodes, weights and KV spread evenly over their memory.
    Together,
    /// A worker on each node with a copy of the weights in its memory.
    Replicas,
    /// A worker on each node, all of which read one copy in the first node's memory.
    Shared,
}

impl WorkerLayout {
    /// The layouts that differ on a machine.
    pub fn of(machine: &MachineSpec) -> &'static [WorkerLayout] {
        if machine.nodes == 1 { &[WorkerLayout::Together] } else { &[Self::Together, Self::Replicas, Self::Shared] }
    }

    /// A short description.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerLayout::Together => "one worker over all nodes",
            WorkerLayout::Replicas => "a worker per node, weights in each",
            WorkerLayout::Shared => "a worker per node, weights shared",
        }
    }

    /// The resources of each worker. `remote` is how many times slower reads from another node's memory are.
    pub fn workers(self, machine: &MachineSpec, node_bandwidth: f64, remote: f64) -> Vec<WorkerResources> {
        let nodes = machine.nodes as f64;
        let (all_cores, own) = (machine.nodes * machine.cores, node_bandwidth);
        match self {
            WorkerLayout::Together => {
                // One part in `nodes` of the data is in the memory of a thread's own node.
                let slower = (1.0 + (nodes - 1.0) * remote) / nodes;
                let bandwidth = nodes * own / slower;
                vec![WorkerResources { threads: all_cores, nodes: machine.nodes, weights: bandwidth, kv: bandwidth }]
            }
            WorkerLayout::Replicas => {
                vec![WorkerResources { threads: machine.cores, nodes: 1, weights: own, kv: own }; machine.nodes]
            }
            WorkerLayout::Shared => (0..machine.nodes)
                .map(|node| {
                    let slower = if node == 0 { 1.0 } else { remote };
                    WorkerResources { threads: machine.cores, nodes: 1, weights: own / nodes / slower, kv: own }
                })
                .collect(),
        }
    }
}

/// The resources of one worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerResources {
    /// Compute threads, each on a core.
    pub threads: usize,
    /// Nodes that they are on.
    pub nodes: usize,
    /// GB/s at which they read weights together.
    pub weights: f64,
    /// GB/s at which they read KV together.
    pub kv: f64,
}
