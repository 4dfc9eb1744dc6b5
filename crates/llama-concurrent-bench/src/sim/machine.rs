//! The machine that is planned for, and where workers and weights lie in it.

use std::{fmt, str::FromStr};

use super::Calibration;

/// NUMA nodes with cores and memory of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// NUMA nodes.
    pub nodes: usize,
    /// Cores of each.
    pub cores: usize,
    /// What the cores of a node together read from its memory, in GB/s; `None` where nobody said.
    pub bandwidth: Option<f64>,
}

/// Eight channels of DDR4-3200 have 205 GB/s on paper, of which programs reach about three quarters.
const SERVER_NODE: f64 = 150.0;

impl Machine {
    /// GB/s of a node's memory. Where nobody said: as calibrated, for no more cores than that was measured with; for
    /// more, so much more, up to what a server's node has.
    pub fn bandwidth(&self, calibration: &Calibration) -> f64 {
        let growth = (self.cores as f64 / calibration.cores as f64).max(1.0);
        let measured = calibration.node_bandwidth;
        self.bandwidth.unwrap_or_else(|| (measured * growth).min(measured.max(SERVER_NODE)))
    }
}

impl FromStr for Machine {
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

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.nodes, self.cores)?;
        self.bandwidth.map_or(Ok(()), |rate| write!(f, "@{rate}"))
    }
}

/// Where workers and weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One worker whose threads are on all nodes, weights and KV spread evenly over their memory.
    Together,
    /// A worker on each node with a copy of the weights in its memory.
    Replicas,
    /// A worker on each node, all of which read one copy in the first node's memory.
    Shared,
}

impl Placement {
    /// Those that differ on a machine.
    pub fn of(machine: &Machine) -> &'static [Placement] {
        if machine.nodes == 1 { &[Placement::Together] } else { &[Self::Together, Self::Replicas, Self::Shared] }
    }

    /// In a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Placement::Together => "one worker over all nodes",
            Placement::Replicas => "a worker per node, weights in each",
            Placement::Shared => "a worker per node, weights shared",
        }
    }

    /// The workers. `remote` is how many times longer it takes to read from the memory of another node.
    pub fn seats(self, machine: &Machine, node_bandwidth: f64, remote: f64) -> Vec<Seat> {
        let nodes = machine.nodes as f64;
        let (all_cores, own) = (machine.nodes * machine.cores, node_bandwidth);
        match self {
            Placement::Together => {
                // Each thread finds one part in `nodes` in its own node's memory.
                let slower = (1.0 + (nodes - 1.0) * remote) / nodes;
                let bandwidth = nodes * own / slower;
                vec![Seat { threads: all_cores, nodes: machine.nodes, weights: bandwidth, kv: bandwidth }]
            }
            Placement::Replicas => {
                vec![Seat { threads: machine.cores, nodes: 1, weights: own, kv: own }; machine.nodes]
            }
            Placement::Shared => (0..machine.nodes)
                .map(|node| {
                    let slower = if node == 0 { 1.0 } else { remote };
                    Seat { threads: machine.cores, nodes: 1, weights: own / nodes / slower, kv: own }
                })
                .collect(),
        }
    }
}

/// What one worker has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seat {
    /// Compute threads, each on a core.
    pub threads: usize,
    /// Nodes that they are on.
    pub nodes: usize,
    /// GB/s at which they read weights together.
    pub weights: f64,
    /// GB/s at which they read KV together.
    pub kv: f64,
}
