//! The hardware as Linux describes it under `/sys/devices`. hwloc reads the same files; a library that must load where hwloc
//! is not installed reads them itself.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    cpu_list::parse_kernel_list,
    machine::{Core, Machine, NumaNode},
};

/// Cores that reach at least this share of the fastest one's capacity are of the fast kind.
const FAST_SHARE: f64 = 0.7;

/// Reads the machine below `devices` (`/sys/devices`). `allowed_cpus` and `allowed_nodes` are what this process may use;
/// `None` is all. `None` if nothing is described there.
pub(super) fn read(devices: &Path, allowed_cpus: Option<&[usize]>, allowed_nodes: Option<&[usize]>) -> Option<Machine> {
    let text = |path: &str| fs::read_to_string(devices.join(path)).ok();
    let list = |path: &str| text(path).map(|list| parse_kernel_list(&list)).unwrap_or_default();
    let online = list("system/cpu/online");
    if online.is_empty() {
        return None;
    }
    let allowed = |cpu: &usize| allowed_cpus.is_none_or(|allowed| allowed.contains(cpu));
    let nodes = list("system/node/online");
    let mut node_of = BTreeMap::new();
    for &node in &nodes {
        node_of.extend(list(&format!("system/node/node{node}/cpulist")).into_iter().map(|cpu| (cpu, node)));
    }
    let speeds = Speeds::read(&online, list, text);

    let mut cores: Vec<Core> = Vec::new();
    let mut l3_groups: Vec<Vec<usize>> = Vec::new();
    for &cpu in &online {
        if cores.iter().any(|core| core.cpus.contains(&cpu)) {
            continue;
        }
        let file = |name: &str| format!("system/cpu/cpu{cpu}/{name}");
        // Newer kernels call the list of siblings core_cpus_list.
        let names = ["topology/core_cpus_list", "topology/thread_siblings_list"];
        let siblings = names.iter().map(|name| list(&file(name))).find(|siblings| siblings.contains(&cpu));
        let mut cpus = siblings.unwrap_or_else(|| vec![cpu]);
        cpus.retain(|sibling| online.contains(sibling));
        let package = text(&file("topology/physical_package_id")).and_then(|id| id.trim().parse().ok());
        let mut l3 = last_cache(&list, &text, cpu);
        l3.retain(|cpu| online.contains(cpu));
        let group = l3_groups.iter().position(|group| *group == l3).unwrap_or_else(|| {
            l3_groups.push(l3);
            l3_groups.len() - 1
        });
        cores.push(Core {
            allowed: cpus.iter().copied().filter(&allowed).collect(),
            cpus,
            // Virtual machines without packages say -1.
            package: package.unwrap_or(0),
            node: node_of.get(&cpu).copied(),
            l3: group,
            kind: speeds.kind(cpu),
        });
    }
    let nodes = nodes
        .into_iter()
        .map(|id| {
            let info = text(&format!("system/node/node{id}/meminfo")).unwrap_or_default();
            let (memory, free) = node_memory(&info);
            NumaNode { id, memory, free, allowed: allowed_nodes.is_none_or(|allowed| allowed.contains(&id)) }
        })
        .collect();
    Some(Machine { cores, nodes, ..Machine::default() })
}

/// CPUs that share the last-level cache with one: of level 3 or more, else the CPUs of its package.
fn last_cache(list: &impl Fn(&str) -> Vec<usize>, text: &impl Fn(&str) -> Option<String>, cpu: usize) -> Vec<usize> {
    let level = |index: usize| -> Option<usize> {
        text(&format!("system/cpu/cpu{cpu}/cache/index{index}/level"))?.trim().parse().ok()
    };
    let levels = (0..16).map_while(|index| level(index).map(|level| (level, index)));
    match levels.filter(|&(level, _)| level >= 3).max() {
        Some((_, index)) => list(&format!("system/cpu/cpu{cpu}/cache/index{index}/shared_cpu_list")),
        None => {
            let names = ["topology/package_cpus_list", "topology/core_siblings_list"];
            let of_package = |name: &&str| list(&format!("system/cpu/cpu{cpu}/{name}"));
            names.iter().map(of_package).find(|cpus| !cpus.is_empty()).unwrap_or_default()
        }
    }
}

/// Total and reclaimable memory in bytes, from a node's `meminfo`. What of the page cache can be dropped counts as free.
fn node_memory(info: &str) -> (u64, Option<u64>) {
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.split_once(name))?.1;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    let cache = || Some(field("Active(file):")? + field("Inactive(file):")?);
    (field("MemTotal:").unwrap_or(0), field("MemFree:").map(|free| free + cache().unwrap_or(0)))
}

/// Which CPUs are of which kind, on machines that mix them.
enum Speeds {
    Alike,
    /// The fast ones by name, as Intel's hybrid processors have them.
    Fast(Vec<usize>),
    /// By capacity, as ARM has them.
    Capacity(BTreeMap<usize, f64>),
}

impl Speeds {
    fn read(online: &[usize], list: impl Fn(&str) -> Vec<usize>, text: impl Fn(&str) -> Option<String>) -> Self {
        // These two exist only where the processor has both kinds.
        let (fast, slow) = (list("cpu_core/cpus"), list("cpu_atom/cpus"));
        if !fast.is_empty() && !slow.is_empty() {
            return Self::Fast(fast);
        }
        let capacity = |&cpu: &usize| -> Option<(usize, f64)> {
            Some((cpu, text(&format!("system/cpu/cpu{cpu}/cpu_capacity"))?.trim().parse().ok()?))
        };
        match online.iter().map(capacity).collect::<Option<BTreeMap<_, _>>>() {
            Some(capacities) => Self::Capacity(capacities),
            None => Self::Alike,
        }
    }

    fn kind(&self, cpu: usize) -> u32 {
        match self {
            Self::Alike => 0,
            Self::Fast(fast) => fast.contains(&cpu).into(),
            Self::Capacity(of) => {
                let largest = of.values().copied().fold(0.0, f64::max);
                let slow = of.values().any(|&capacity| capacity < largest * FAST_SHARE);
                (slow && of.get(&cpu).is_some_and(|&capacity| capacity >= largest * FAST_SHARE)).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of what a kernel shows, in a folder.
    struct Shown(tempfile::TempDir);

    impl Shown {
        fn new(files: &[(&str, &str)]) -> Self {
            let shown = Self(tempfile::tempdir().unwrap());
            files.iter().for_each(|(path, text)| shown.write(path, text));
            shown
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }

        fn cpu(&self, cpu: usize, siblings: &str, package: &str, l3: &str) {
            self.write(&format!("system/cpu/cpu{cpu}/topology/thread_siblings_list"), siblings);
            self.write(&format!("system/cpu/cpu{cpu}/topology/physical_package_id"), package);
            for (index, level, shared) in [(0, "1", siblings), (1, "1", siblings), (2, "2", siblings), (3, "3", l3)] {
                self.write(&format!("system/cpu/cpu{cpu}/cache/index{index}/level"), level);
                self.write(&format!("system/cpu/cpu{cpu}/cache/index{index}/shared_cpu_list"), shared);
            }
        }

        fn read(&self, cpus: Option<&[usize]>, nodes: Option<&[usize]>) -> Machine {
            read(self.0.path(), cpus, nodes).unwrap()
        }
    }

    /// Two packages of two cores with two siblings each; CPU 7 is offline, node 2 has memory only.
    fn two_packages() -> Shown {
        let meminfo = "Node 0 MemTotal:  1000 kB\nNode 0 MemFree:  400 kB\nNode 0 Active(file): 30 kB\n\
                       Node 0 Inactive(file): 20 kB";
        let shown = Shown::new(&[
            ("system/cpu/online", "0-6"),
            ("system/node/online", "0-2"),
            ("system/node/node0/cpulist", "0-1,4-5"),
            ("system/node/node1/cpulist", "2-3,6"),
            ("system/node/node2/cpulist", ""),
            ("system/node/node0/meminfo", meminfo),
            ("system/node/node1/meminfo", "Node 1 MemTotal:  0 kB"),
            ("system/node/node2/meminfo", "Node 2 MemTotal:  500 kB"),
        ]);
        for (cpu, siblings, package, l3) in [
            (0, "0,4", "0", "0-1,4-5"),
            (1, "1,5", "0", "0-1,4-5"),
            (2, "2,6", "1", "2-3,6-7"),
            (3, "3,7", "1", "2-3,6-7"),
            (4, "0,4", "0", "0-1,4-5"),
            (5, "1,5", "0", "0-1,4-5"),
            (6, "2,6", "1", "2-3,6-7"),
        ] {
            shown.cpu(cpu, siblings, package, l3);
        }
        shown
    }

    #[test]
    fn cores_nodes_and_caches_are_found() {
        let machine = two_packages().read(None, None);
        let core = |cpus: &[usize], package, l3| Core {
            cpus: cpus.into(),
            allowed: cpus.into(),
            package,
            node: Some(package),
            l3,
            kind: 0,
        };
        assert_eq!(machine.cores, [core(&[0, 4], 0, 0), core(&[1, 5], 0, 0), core(&[2, 6], 1, 1), core(&[3], 1, 1)]);
        let node = |id, kib: u64, free: Option<u64>| NumaNode {
            id,
            memory: kib * 1024,
            free: free.map(|kib| kib * 1024),
            allowed: true,
        };
        assert_eq!(machine.nodes, [node(0, 1000, Some(450)), node(1, 0, None), node(2, 500, None)]);
    }

    #[test]
    fn the_mask_narrows_cores_and_nodes() {
        let machine = two_packages().read(Some(&[4, 2]), Some(&[0]));
        let allowed: Vec<_> = machine.cores.iter().map(|core| core.allowed.as_slice()).collect();
        assert_eq!(allowed, [&[4][..], &[], &[2], &[]]);
        let nodes: Vec<_> = machine.nodes.iter().map(|node| node.allowed).collect();
        assert_eq!(nodes, [true, false, false]);
    }

    #[test]
    fn kinds_of_cores_are_told_apart() {
        let hybrid = Shown::new(&[("system/cpu/online", "0-3"), ("cpu_core/cpus", "0-1"), ("cpu_atom/cpus", "2-3")]);
        let kinds = |shown: &Shown| shown.read(None, None).cores.iter().map(|core| core.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&hybrid), [1, 1, 0, 0]);
        let arm = Shown::new(&[("system/cpu/online", "0-3")]);
        for (cpu, capacity) in ["1024", "900", "400", "400"].iter().enumerate() {
            arm.write(&format!("system/cpu/cpu{cpu}/cpu_capacity"), capacity);
        }
        assert_eq!(kinds(&arm), [1, 1, 0, 0]);
        for cpu in 0..4 {
            arm.write(&format!("system/cpu/cpu{cpu}/cpu_capacity"), "1024");
        }
        assert_eq!(kinds(&arm), [0, 0, 0, 0]);
    }

    #[test]
    fn nothing_described_is_no_machine() {
        assert!(read(Shown::new(&[]).0.path(), None, None).is_none());
        let bare = Shown::new(&[("system/cpu/online", "0-1")]).read(None, None);
        assert_eq!((bare.cores.len(), bare.nodes.len()), (2, 0), "without a description, every CPU is a core");
    }
}
