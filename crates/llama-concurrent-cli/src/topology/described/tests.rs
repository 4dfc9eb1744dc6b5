//! Machines as hwloc describes them, and the plans for them.

use std::{collections::BTreeSet, path::PathBuf};

use llama_concurrent::EngineConfig;
use llama_concurrent_topology::{Placement, format_list, plan};

use super::*;

fn lines(machine: &Machine) -> String {
    let Placement { workers, .. } = plan(machine, &EngineConfig::default(), None).unwrap();
    let line = |w: &llama_concurrent_topology::WorkerPlan| {
        format!("{} x{}, {}, {}", format_list(&w.cpus), w.threads, w.memory, w.weights)
    };
    workers.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn kept(name: &str) -> Machine {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    from_xml(&folder.join(name)).unwrap_or_else(|_| panic!("{name}"))
}

fn specified(spec: &str) -> Machine {
    synthetic(spec).unwrap_or_else(|_| panic!("{spec}"))
}

#[test]
fn plans_for_machines_that_hwloc_describes() {
    for (name, machine, expected) in [
        ("two cores", specified("core:2 pu:1"), "0-1 x2, left to the system, one for all workers"),
        (
            "1 x 16 SMT2",
            specified("pack:1 [numa(memory=64GB)] l3:1 core:16 pu:2(indexes=2*16)"),
            "0-15 x16, left to the system, one for all workers",
        ),
        (
            "2 x 16 SMT2",
            specified("pack:2 [numa(memory=128GB)] l3:1 core:16 pu:2"),
            "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 x16, on node 0, a copy on node 0\n\
             32,34,36,38,40,42,44,46,48,50,52,54,56,58,60,62 x16, on node 1, a copy on node 1",
        ),
        (
            "4 nodes of 2 caches",
            specified("pack:1 group:4 [numa(memory=64GB)] l3:2 core:2 pu:1"),
            "0-3 x4, on node 0, a copy on node 0\n4-7 x4, on node 1, a copy on node 1\n\
             8-11 x4, on node 2, a copy on node 2\n12-15 x4, on node 3, a copy on node 3",
        ),
        (
            "nodes and a memory for all",
            specified("[numa(memory=64GB)] pack:2 [numa(memory=32GB)] core:4 pu:1"),
            "0-3 x4, on node 0, a copy on node 0\n4-7 x4, on node 1, a copy on node 1",
        ),
        ("M1", kept("m1.xml"), "4-7 x4, left to the system, one for all workers"),
        (
            "container of 6 CPUs",
            kept("container.xml"),
            "5-7 x3, on node 0, a copy on node 0\n8-10 x3, on node 1, a copy on node 1",
        ),
    ] {
        assert_eq!(lines(&machine), expected, "{name}: {machine:#?}");
    }
    let caches: Vec<usize> = specified("pack:2 l3:2 core:1 pu:1").cores.iter().map(|core| core.l3).collect();
    assert_eq!(caches, [0, 1, 2, 3]);
    assert_eq!(specified("[numa(memory=2GiB)] core:1 pu:1").nodes[0].memory, 2 << 30);
}

/// Linux shows both the same files.
#[cfg(target_os = "linux")]
#[test]
fn hwloc_and_our_reader_agree_on_this_machine() {
    let theirs = hwloc::machine(hwloc::builder()).unwrap();
    let ours = Machine::detect();
    let cores = |machine: &Machine| -> Vec<_> {
        let mut cores: Vec<_> = machine.cores.iter().map(|core| (core.cpus.clone(), core.node)).collect();
        cores.sort();
        cores
    };
    let allowed =
        |machine: &Machine| machine.cores.iter().flat_map(|core| core.allowed.clone()).collect::<BTreeSet<_>>();
    let nodes = |machine: &Machine| machine.nodes.iter().map(|node| (node.id, node.memory)).collect::<Vec<_>>();
    // hwloc makes up a node where a machine has none.
    if ours.nodes.is_empty() {
        assert_eq!(ours.cores.len(), theirs.cores.len());
    } else {
        assert_eq!(cores(&ours), cores(&theirs));
        assert_eq!(nodes(&ours), nodes(&theirs));
    }
    // Ours looks at this process's affinity mask besides.
    assert!(allowed(&ours).is_subset(&allowed(&theirs)), "{ours:#?} {theirs:#?}");
}

#[test]
fn what_hwloc_does_not_understand_is_refused() {
    for spec in ["", "core", "core:0", "rubbish:2", "core:2 \0"] {
        assert!(matches!(synthetic(spec), Err(Failure::BadInput(_))), "{spec}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "<topology>").unwrap();
    for path in [file.path(), Path::new("/nowhere.xml")] {
        assert!(matches!(from_xml(path), Err(Failure::BadInput(_))), "{}", path.display());
    }
}
