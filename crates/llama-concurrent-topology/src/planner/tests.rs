//! Machines that nobody has at hand, and the plans for them.

use llama_concurrent_types::{Replicate, Strategy};

use super::*;
use crate::{NumaNode, parse_list};

const GIB: u64 = 1 << 30;

/// Nodes of so many cores each; second siblings are numbered after all first ones, as Linux does.
struct Built {
    nodes: usize,
    cores: usize,
    smt: usize,
    /// Groups of cores in a node that share a cache.
    l3: usize,
    memory: u64,
}

impl Built {
    fn machine(&self) -> Machine {
        let all = self.nodes * self.cores;
        let mut machine = Machine::flat(0..all);
        for (i, core) in machine.cores.iter_mut().enumerate() {
            core.cpus = (0..self.smt).map(|sibling| sibling * all + i).collect();
            core.allowed = core.cpus.clone();
            core.l3 = i * self.nodes * self.l3 / all;
            (core.package, core.node) = (i / self.cores, Some(i / self.cores));
        }
        let node = |id| NumaNode { id, memory: self.memory, free: Some(self.memory), allowed: true };
        machine.nodes = (0..self.nodes).map(node).collect();
        machine.free_memory = Some(self.memory * self.nodes as u64);
        machine
    }
}

fn this_vm() -> Machine {
    Built { nodes: 1, cores: 2, smt: 1, l3: 1, memory: 24 * GIB }.machine()
}

/// Two sockets with 16 cores and 32 siblings each.
fn two_sockets() -> Machine {
    Built { nodes: 2, cores: 16, smt: 2, l3: 1, memory: 128 * GIB }.machine()
}

fn epyc() -> Machine {
    Built { nodes: 4, cores: 16, smt: 2, l3: 2, memory: 64 * GIB }.machine()
}

/// The first cores slow, the others fast, one memory that the system does not call a node.
fn apple(slow: usize, fast: usize) -> Machine {
    let mut machine = Machine::flat(0..slow + fast);
    machine.cores.iter_mut().enumerate().for_each(|(i, core)| core.kind = (i >= slow).into());
    machine
}

fn limited(mut machine: Machine, cpus: &str) -> Machine {
    let cpus = parse_list(cpus).unwrap();
    machine.cores.iter_mut().for_each(|core| core.allowed.retain(|cpu| cpus.contains(cpu)));
    machine
}

fn with_quota(machine: Machine, quota: f64) -> Machine {
    Machine { quota: Some(quota), ..machine }
}

fn without_memory(mut machine: Machine, node: usize) -> Machine {
    machine.nodes[node].memory = 0;
    machine
}

/// A third node, of memory alone.
fn with_bare_node(mut machine: Machine) -> Machine {
    let id = machine.nodes.len();
    machine.nodes.push(NumaNode { id, memory: 64 * GIB, free: None, allowed: true });
    machine
}

fn offline(mut machine: Machine, cpus: &str) -> Machine {
    let cpus = parse_list(cpus).unwrap();
    for core in &mut machine.cores {
        core.cpus.retain(|cpu| !cpus.contains(cpu));
        core.allowed.retain(|cpu| !cpus.contains(cpu));
    }
    machine.cores.retain(|core| !core.cpus.is_empty());
    machine
}

/// A worker in a line: CPUs, threads, memory, weights, slots.
fn lines(placement: &Placement) -> String {
    let line = |worker: &WorkerPlan| {
        let bound = match (worker.one_core_each, worker.pin) {
            (true, true) => "",
            (false, true) => " among them",
            _ => " free",
        };
        format!(
            "{} x{}{bound}, {}, {}, {} slots",
            format_list(&worker.cpus),
            worker.threads,
            worker.memory,
            worker.weights,
            worker.slots
        )
    };
    placement.workers.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn defaults() -> EngineConfig {
    EngineConfig::default()
}

/// 8 GiB of weights, 64 MiB of KV in a slot of 2048 tokens.
const MODEL: ModelSize = ModelSize {
    weights: 8 * GIB,
    kv_per_token: 32_768.0,
    n_ctx_train: 4096,
    sliding_window: None,
    n_batch: 512,
    one_sequence: None,
};

#[test]
fn plans_for_machines_and_wishes() {
    let wish = |change: fn(&mut EngineConfig)| {
        let mut config = defaults();
        change(&mut config);
        config
    };
    let one =
        |cpus: &str, threads: usize| format!("{cpus} x{threads}, left to the system, one for all workers, 16 slots");
    let two = "0-15 x16, on node 0, a copy on node 0, 16 slots\n16-31 x16, on node 1, a copy on node 1, 16 slots";
    for (name, machine, config, expected) in [
        ("two cores", this_vm(), defaults(), one("0-1", 2)),
        ("one CPU by taskset", limited(this_vm(), "1"), defaults(), one("1", 1)),
        ("quota of one", with_quota(this_vm(), 1.0), defaults(), one("0-1", 1).replace("x1", "x1 among them")),
        ("8 threads on 2 cores", this_vm(), wish(|c| c.threads = Some(8)), one("0-1", 2)),
        ("M1", apple(4, 4), defaults(), one("4-7", 4)),
        ("M1 Ultra", apple(4, 16), defaults(), one("4-19", 16)),
        ("M1, only slow ones allowed", limited(apple(4, 4), "0-3"), defaults(), one("0-3", 4)),
        ("M1, all by name", apple(4, 4), wish(|c| c.cpus = Some((0..8).collect())), one("0-7", 8)),
        (
            "1 x 16 SMT2",
            Built { nodes: 1, cores: 16, smt: 2, l3: 1, memory: 64 * GIB }.machine(),
            defaults(),
            one("0-15", 16),
        ),
        ("2 x 16 SMT2", two_sockets(), defaults(), two.into()),
        (
            "unpinned, still on their nodes",
            two_sockets(),
            wish(|c| c.pin = false),
            two.replace("x16", "x16 among them"),
        ),
        (
            "placement none",
            two_sockets(),
            wish(|c| c.placement = PlacementPolicy::None),
            one("0-31", 32).replace("x32", "x32 free"),
        ),
        (
            "one node by wish",
            two_sockets(),
            wish(|c| c.nodes = Some(vec![1])),
            "16-31 x16, on node 1, a copy on node 1, 16 slots".into(),
        ),
        (
            "no replicas",
            two_sockets(),
            wish(|c| c.replicate = Replicate::Never),
            two.replace("a copy on node 0", "one for all workers").replace("a copy on node 1", "one for all workers"),
        ),
        (
            "one user",
            two_sockets(),
            wish(|c| c.strategy = Strategy::Sequential),
            "0-15 x16, on node 0, a copy on node 0, 1 slots".into(),
        ),
        (
            "one worker by wish",
            two_sockets(),
            wish(|c| c.workers = Some(1)),
            "0-31 x32, spread over nodes 0-1, one for all workers, 16 slots".into(),
        ),
        ("20 threads", two_sockets(), wish(|c| c.threads = Some(20)), two.replace("x16", "x10 among them")),
        ("12 slots", two_sockets(), wish(|c| c.slots = Some(12)), two.replace("16 slots", "6 slots")),
        (
            "EPYC, 4 nodes of 2 caches",
            epyc(),
            defaults(),
            (0..4)
                .map(|n| format!("{}-{} x16, on node {n}, a copy on node {n}, 16 slots", 16 * n, 16 * n + 15))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        (
            "EPYC by cache",
            epyc(),
            wish(|c| (c.placement, c.nodes) = (PlacementPolicy::L3, Some(vec![3]))),
            "48-55 x8, on node 3, a copy on node 3, 16 slots\n56-63 x8, on node 3, a copy on node 3, 16 slots".into(),
        ),
        (
            "container of 6 CPUs of one node",
            limited(two_sockets(), "2-7"),
            defaults(),
            "2-7 x6, on node 0, a copy on node 0, 16 slots".into(),
        ),
        (
            "container of 6 CPUs across nodes",
            limited(two_sockets(), "13-18"),
            defaults(),
            "13-15 x3, on node 0, a copy on node 0, 16 slots\n16-18 x3, on node 1, a copy on node 1, 16 slots".into(),
        ),
        (
            "container of 3 cores with siblings",
            limited(two_sockets(), "0-2,32-34"),
            defaults(),
            "0-2 x3, on node 0, a copy on node 0, 16 slots".into(),
        ),
        (
            "a lone core on the other node",
            limited(two_sockets(), "0-7,16"),
            defaults(),
            "0-7 x8, on node 0, a copy on node 0, 16 slots".into(),
        ),
        (
            "the same by node",
            limited(two_sockets(), "0-7,16"),
            wish(|c| c.placement = PlacementPolicy::Node),
            "0-7 x8, on node 0, a copy on node 0, 16 slots\n16 x1, on node 1, a copy on node 1, 16 slots".into(),
        ),
        (
            "quota of 6 CPUs",
            with_quota(two_sockets(), 6.0),
            defaults(),
            "0-15 x6 among them, on node 0, a copy on node 0, 16 slots".into(),
        ),
        (
            "quota of 1.5 CPUs",
            with_quota(two_sockets(), 1.5),
            defaults(),
            "0-15 x1 among them, on node 0, a copy on node 0, 16 slots".into(),
        ),
        ("a node without memory", without_memory(two_sockets(), 1), defaults(), one("0-31", 32)),
        ("a node without CPUs", with_bare_node(two_sockets()), defaults(), two.into()),
        (
            "offline CPUs",
            offline(two_sockets(), "0,32,17"),
            defaults(),
            // The second sibling of core 17 is online.
            "1-15 x15, on node 0, a copy on node 0, 16 slots\n16,18-31,49 x16, on node 1, a copy on node 1, 16 slots"
                .into(),
        ),
        (
            "more workers than nodes",
            two_sockets(),
            wish(|c| c.workers = Some(4)),
            "0-7 x8, on node 0, a copy on node 0, 4 slots\n8-15 x8, on node 0, a copy on node 0, 4 slots\n\
             16-23 x8, on node 1, a copy on node 1, 4 slots\n24-31 x8, on node 1, a copy on node 1, 4 slots"
                .into(),
        ),
    ] {
        let config = if name == "more workers than nodes" { config.slots(16) } else { config };
        config.validate().unwrap();
        let placement = plan(&machine, &config, Some(&MODEL)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(lines(&placement), expected, "{name}: {placement:#?}");
        check(&machine, &config, &placement);
        assert!(!placement.reasons.is_empty());
    }
}

/// What holds for every plan.
fn check(machine: &Machine, config: &EngineConfig, placement: &Placement) {
    let allowed = machine.allowed_cpus();
    let mut cpus: Vec<usize> = placement.workers.iter().flat_map(|worker| worker.cpus.clone()).collect();
    assert!(cpus.iter().all(|cpu| allowed.contains(cpu)));
    let seats = cpus.len();
    cpus.sort_unstable();
    cpus.dedup();
    assert_eq!(cpus.len(), seats, "no CPU in two workers");
    assert!(placement.threads() <= seats.min(machine.threads_by_quota()), "never more threads than may run");
    assert!(placement.workers.iter().all(|worker| worker.threads >= 1 && worker.slots >= 1));
    let cores_used = |core: &&Core| core.cpus.iter().filter(|cpu| cpus.contains(cpu)).count();
    assert!(machine.cores.iter().all(|core| cores_used(&core) <= 1), "one CPU of each core");
    if let Some(threads) = config.threads {
        assert!(placement.threads() <= threads);
    }
}

#[test]
fn every_combination_of_limits_gives_a_sound_plan() {
    let machines = [this_vm(), two_sockets(), epyc(), apple(4, 4), without_memory(epyc(), 2), with_bare_node(epyc())];
    for machine in machines {
        for quota in [None, Some(0.4), Some(2.5), Some(19.0)] {
            for cpus in ["0-511", "0-1", "1-63", "1,17,33,49"] {
                for (threads, workers, slots) in [
                    (None, None, None),
                    (Some(1), None, None),
                    (Some(7), Some(3), Some(5)),
                    (None, Some(9), Some(2)),
                    (Some(1000), Some(1000), Some(200)),
                ] {
                    for placement in PlacementPolicy::ALL {
                        let machine = limited(Machine { quota, ..machine.clone() }, cpus);
                        if machine.usable_cores().next().is_none() {
                            continue;
                        }
                        let config = defaults().threads(threads).workers(workers).slots(slots).placement(placement);
                        check(&machine, &config, &plan(&machine, &config, None).unwrap());
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_asked_for_and_not_granted_is_said_once() {
    let words = |machine: &Machine, config: EngineConfig| plan(machine, &config, Some(&MODEL)).unwrap().warnings;
    for (config, expected) in [
        (defaults().threads(8), "8 threads were asked for, but this process may use 2"),
        (defaults().workers(3), "3 workers were asked for, but only 2 threads may run"),
    ] {
        let warnings = words(&this_vm(), config);
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
    }
    let quota = words(&with_quota(this_vm(), 1.0), defaults().threads(2));
    assert!(quota.len() == 1 && quota[0].contains("the cgroup allows 1 CPUs"), "{quota:?}");
    for fine in [defaults(), defaults().threads(2)] {
        assert_eq!(words(&this_vm(), fine), Vec::<String>::new());
    }
}

#[test]
fn weights_that_do_not_fit_twice_are_shared() {
    // 45 GiB with what repacking adds, and 1 GiB of KV.
    let large = ModelSize { weights: 40 * GIB, ..MODEL };
    let mut machine = two_sockets();
    machine.nodes[1].free = Some(45 * GIB);
    let placement = plan(&machine, &defaults(), Some(&large)).unwrap();
    assert!(placement.workers.iter().all(|worker| worker.weights == WeightCopy::Shared));
    assert_eq!(placement.shared_weights, MemoryPolicy::Interleave(vec![0, 1]));
    assert_eq!(placement.workers[1].memory, MemoryPolicy::Node(1), "KV is bound all the same");
    let expected = "node 1 needs 46.0 GiB (45.0 GiB and 1.0 GiB of KV), but 45.0 GiB are free there";
    assert!(placement.warnings[0].contains(expected), "{:?}", placement.warnings);

    machine.nodes[1].free = Some(46 * GIB);
    assert_eq!(plan(&machine, &defaults(), Some(&large)).unwrap().copies().len(), 2);
    machine.free_memory = Some(91 * GIB);
    let always = defaults().replicate(Replicate::Always);
    let error = plan(&machine, &always, Some(&large)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("92.0 GiB"), "{error}");
}

#[test]
fn cpus_and_nodes_that_cannot_be_had_are_refused() {
    let refusal = |machine: Machine, config: EngineConfig| {
        let error = plan(&machine, &config, None).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::InvalidConfig);
        error.to_string()
    };
    let cpus = |cpus: &[usize]| defaults().cpus(cpus.to_vec());
    let nodes = |nodes: &[usize]| defaults().nodes(nodes.to_vec());
    assert!(refusal(this_vm(), cpus(&[0, 7])).contains("CPU 7 was asked for, but this process may use CPUs 0-1"));
    assert!(refusal(limited(this_vm(), "1"), cpus(&[0])).contains("CPUs 1"));
    assert!(refusal(two_sockets(), nodes(&[2])).contains("this machine has nodes 0-1"));
    assert!(refusal(apple(4, 4), nodes(&[0])).contains("has no NUMA nodes"));
    assert!(refusal(with_bare_node(two_sockets()), nodes(&[2])).contains("no core of node 2"));
    assert!(refusal(limited(two_sockets(), "0-3"), nodes(&[1])).contains("no core of node 1"));
}

#[test]
fn reasons_name_what_decided() {
    for (machine, expected) in [
        (apple(4, 4), "4 performance cores"),
        (two_sockets(), "2 copies of the weights"),
        (two_sockets(), "SMT siblings"),
        (limited(two_sockets(), "2-7"), "6 of 32 cores: CPUs 2-7"),
        (with_quota(two_sockets(), 1.5), "1.5 CPUs' worth of time"),
        (with_bare_node(two_sockets()), "node 2, which has no CPUs"),
        (without_memory(two_sockets(), 1), "node 1, which has no memory"),
        (epyc(), "--placement l3"),
        (limited(two_sockets(), "0-7,16"), "node 1 stays idle"),
        (Machine { cpu_pressure: Some(0.5), ..epyc() }, "waited for a CPU in 50 % of the last 10 s"),
        (Machine { cpu_pressure: Some(0.0), ..epyc() }, "which nobody does now"),
    ] {
        let reasons = plan(&machine, &defaults(), Some(&MODEL)).unwrap().reasons;
        assert!(reasons.iter().any(|reason| reason.contains(expected)), "{expected}: {reasons:#?}");
    }
}
