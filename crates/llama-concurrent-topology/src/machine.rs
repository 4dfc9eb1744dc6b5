//! A machine as this process may use it: cores with their siblings, caches and speed, and nodes with their memory.

use super::cpu_list::format_list;

/// A physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The CPUs in it that are online, as the operating system numbers them; with SMT more than one.
    pub cpus: Vec<usize>,
    /// Those of them that this process may use.
    pub allowed: Vec<usize>,
    /// The package (socket) that it is in.
    pub package: usize,
    /// The NUMA node that it belongs to, by the operating system's number; `None` where the machine has no nodes.
    pub node: Option<usize>,
    /// The group of cores that it shares a last-level cache with.
    pub l3: usize,
    /// How fast it is among the cores of this machine: a higher number is a faster kind. 0 where all are alike.
    pub kind: u32,
}

/// Memory, and the cores near it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// The operating system's number.
    pub id: usize,
    /// Bytes of memory; 0 for a node that has none.
    pub memory: u64,
    /// Bytes that can be had without swapping; `None` where that is unknown.
    pub free: Option<u64>,
    /// Whether this process may use its memory.
    pub allowed: bool,
}

/// Cores, nodes and limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// All cores with a CPU online, whether this process may use them or not.
    pub cores: Vec<Core>,
    /// All NUMA nodes; empty where the machine has none.
    pub nodes: Vec<NumaNode>,
    /// CPUs' worth of time that the cgroup of this process allows.
    pub quota: Option<f64>,
    /// Bytes of memory that can be had without swapping and that the cgroup allows.
    pub free_memory: Option<u64>,
    /// The share of the last ten seconds in which some thread of this machine waited for a CPU, 0 to 1; `None` where the system
    /// does not say.
    pub cpu_pressure: Option<f64>,
}

impl Machine {
    /// A machine of so many equal cores with one CPU each, and nothing else known about it.
    pub fn flat(cpus: impl IntoIterator<Item = usize>) -> Self {
        let core = |cpu| Core { cpus: vec![cpu], allowed: vec![cpu], package: 0, node: None, l3: 0, kind: 0 };
        Self { cores: cpus.into_iter().map(core).collect(), ..Self::default() }
    }

    /// Cores of which this process may use a CPU.
    pub fn usable_cores(&self) -> impl Iterator<Item = &Core> + Clone {
        self.cores.iter().filter(|core| !core.allowed.is_empty())
    }

    /// Compute threads that the quota lets run at once; at least one.
    pub(super) fn threads_by_quota(&self) -> usize {
        self.quota.map_or(usize::MAX, |cpus| (cpus as usize).max(1))
    }

    /// A node by its number.
    pub fn node(&self, id: usize) -> Option<&NumaNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node whose memory a core should use: its own, or where that has none, one of the same package, or the first.
    pub(super) fn home(&self, core: &Core) -> Option<usize> {
        let serves = |id: usize| self.node(id).is_some_and(|node| node.memory > 0 && node.allowed);
        let neighbours = || {
            let same_package = self.cores.iter().filter(|other| other.package == core.package);
            same_package.filter_map(|other| other.node).find(|&id| serves(id))
        };
        let any = || self.nodes.iter().find(|node| serves(node.id)).map(|node| node.id);
        core.node.filter(|&id| serves(id)).or_else(neighbours).or_else(any)
    }

    /// Every online CPU of a set of cores that this process may use.
    pub fn allowed_cpus(&self) -> Vec<usize> {
        let mut cpus: Vec<usize> = self.cores.iter().flat_map(|core| core.allowed.iter().copied()).collect();
        cpus.sort_unstable();
        cpus
    }

    /// One line: `2 packages, 2 nodes, 32 cores (64 CPUs), of which this process may use 6`.
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let cpus: usize = self.cores.iter().map(|core| core.cpus.len()).sum();
        let mut packages: Vec<usize> = self.cores.iter().map(|core| core.package).collect();
        packages.sort_unstable();
        packages.dedup();
        let mut parts = vec![count(packages.len(), "package")];
        if !self.nodes.is_empty() {
            parts.push(count(self.nodes.len(), "NUMA node"));
        }
        let smt = if cpus == self.cores.len() { String::new() } else { format!(" with {}", count(cpus, "CPU")) };
        parts.push(format!("{}{smt}", count(self.cores.len(), "core")));
        let usable = self.usable_cores().count();
        if usable < self.cores.len() {
            parts.push(format!("of which this process may use {usable} (CPUs {})", format_list(&self.allowed_cpus())));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_without_memory_near_it_goes_to_its_package() {
        let node = |id, memory| NumaNode { id, memory, free: None, allowed: true };
        let mut machine = Machine::flat(0..4);
        machine.nodes = vec![node(0, 1), node(1, 1), node(2, 0)];
        for (core, (package, node)) in machine.cores.iter_mut().zip([(0, 0), (1, 1), (1, 2), (2, 2)]) {
            (core.package, core.node) = (package, Some(node));
        }
        let homes: Vec<_> = machine.cores.iter().map(|core| machine.home(core)).collect();
        assert_eq!(homes, [Some(0), Some(1), Some(1), Some(0)]);
    }
}
