//! Machine and plan as a tree of text.

use std::fmt::Write;

use llama_concurrent::{EngineConfig, Strategy};
use llama_concurrent_bench::numbers::{bytes, count};
use llama_concurrent_topology::{Core, Machine, ModelSize, Placement, WorkerPlan, format_list};

const WIDTH: usize = 100;

/// The memory of a model, in bytes.
pub struct ModelMemory {
    weights: f64,
    /// K and V cache of one request.
    kv: f64,
    /// Tokens of one request.
    n_ctx: usize,
}

impl ModelMemory {
    pub fn of(model: &ModelSize, config: &EngineConfig) -> Self {
        let n_ctx = config.pool_shape(Strategy::Batched, 1, model.n_ctx_train).n_ctx;
        Self { weights: model.weights as f64, kv: model.kv_of_slot(n_ctx), n_ctx }
    }
}

/// A line with lines below it.
struct Branch {
    text: String,
    below: Vec<Branch>,
}

impl Branch {
    fn leaf(text: String) -> Self {
        Self { text, below: Vec::new() }
    }

    fn write(&self, out: &mut String, indent: &str) {
        for (i, branch) in self.below.iter().enumerate() {
            let is_last = i + 1 == self.below.len();
            let (mark, further) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let further = format!("{indent}{further}");
            // A second line of one branch keeps the lines of the tree together.
            let continued = format!("{further}{}", if branch.below.is_empty() { "  " } else { "│ " });
            let (first, continued) = (format!("{indent}{mark}"), continued);
            let options = textwrap::Options::new(WIDTH).initial_indent(&first).subsequent_indent(&continued);
            let _ = writeln!(out, "{}", textwrap::fill(&branch.text, options));
            branch.write(out, &further);
        }
    }
}

pub fn of(machine: &Machine, placement: &Placement, model: Option<&ModelMemory>) -> String {
    let limits = limits(machine);
    let mut hardware: Vec<Branch> = limits.into_iter().map(Branch::leaf).collect();
    hardware.extend(packages(machine));
    let workers = placement.workers.iter().enumerate().map(|(i, plan)| worker(i, plan, model)).collect();
    let leaves = |lines: &[String]| lines.iter().cloned().map(Branch::leaf).collect::<Vec<_>>();
    let of_weights = model.map_or(String::new(), |model| format!(" ({})", bytes(model.weights)));
    let size = [
        count(placement.workers.len(), "worker"),
        count(placement.threads(), "thread"),
        count(placement.slots(), "slot"),
        match placement.copies().len() {
            1 => format!("one copy of the weights{of_weights}"),
            copies => format!("{copies} copies of the weights{of_weights}"),
        },
    ];
    let mut parts = vec![
        Branch { text: format!("Machine: {}", machine.summary()), below: hardware },
        Branch { text: format!("Plan: {}", size.join(", ")), below: workers },
        Branch { text: "Why".into(), below: leaves(&placement.reasons) },
    ];
    if !placement.warnings.is_empty() {
        parts.push(Branch { text: "Not as asked for".into(), below: leaves(&placement.warnings) });
    }
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{}", part.text);
        part.write(&mut out, "");
    }
    out
}

fn limits(machine: &Machine) -> Vec<String> {
    let quota = machine.quota.map(|quota| format!("the cgroup allows {quota} CPUs' worth of time"));
    let memory = machine.free_memory.map(|free| format!("{} of memory can be had", bytes(free as f64)));
    quota.into_iter().chain(memory).collect()
}

fn packages(machine: &Machine) -> Vec<Branch> {
    let all: Vec<&Core> = machine.cores.iter().collect();
    let mut branches: Vec<Branch> = grouped(&all, |core| core.package)
        .into_iter()
        .map(|(package, cores)| {
            let nodes = grouped(&cores, |core| core.node).into_iter();
            let below = nodes.flat_map(|(node, cores)| match node {
                Some(id) => vec![Branch { text: node_text(machine, id), below: caches(&cores) }],
                None => caches(&cores),
            });
            Branch { text: format!("package {package}"), below: below.collect() }
        })
        .collect();
    let bare = machine.nodes.iter().filter(|node| machine.cores.iter().all(|core| core.node != Some(node.id)));
    branches.extend(bare.map(|node| Branch::leaf(format!("{}, no CPUs", node_text(machine, node.id)))));
    branches
}

fn node_text(machine: &Machine, id: usize) -> String {
    let Some(node) = machine.node(id) else { return format!("NUMA node {id}") };
    let memory = match (node.memory, node.free) {
        (0, _) => "no memory".into(),
        (memory, Some(free)) => format!("{}, {} free", bytes(memory as f64), bytes(free as f64)),
        (memory, None) => bytes(memory as f64),
    };
    let barred = if node.allowed { "" } else { ", its memory not for this process" };
    format!("NUMA node {id}: {memory}{barred}")
}

fn caches(cores: &[&Core]) -> Vec<Branch> {
    let fastest = cores.iter().map(|core| core.kind).max().unwrap_or(0);
    let mut branches = Vec::new();
    for ((_, kind), cores) in grouped(cores, |core| (core.l3, core.kind)) {
        let what = match (kind, fastest) {
            (_, 0) => "core",
            (kind, fastest) if kind == fastest => "performance core",
            _ => "efficiency core",
        };
        let first: Vec<usize> = cores.iter().filter_map(|core| core.cpus.first().copied()).collect();
        let siblings: Vec<usize> = cores.iter().flat_map(|core| core.cpus.iter().skip(1).copied()).collect();
        let mut text = format!("{} on one cache: CPUs {}", count(cores.len(), what), format_list(&first));
        if cores.len() == 1 {
            text = format!("{}: CPU {}", count(1, what), format_list(&first));
        }
        if !siblings.is_empty() {
            let _ = write!(text, ", siblings {}", format_list(&siblings));
        }
        let usable: Vec<usize> = cores.iter().flat_map(|core| core.allowed.iter().copied()).collect();
        if usable.is_empty() {
            text.push_str("; not for this process");
        } else if usable.len() < first.len() + siblings.len() {
            let _ = write!(text, "; this process may use {}", format_list(&usable));
        }
        branches.push(Branch::leaf(text));
    }
    branches
}

fn worker(index: usize, plan: &WorkerPlan, model: Option<&ModelMemory>) -> Branch {
    let on = plan.node.map_or(String::new(), |node| format!(" on node {node}"));
    let kept = match (plan.pin, plan.one_core_each) {
        (_, true) => "each on its own",
        (true, false) => "kept on these",
        (false, _) => "not bound",
    };
    let several = if plan.cpus.len() == 1 { "CPU" } else { "CPUs" };
    let kv = model.map_or(String::new(), |ModelMemory { kv, n_ctx, .. }| {
        format!(" of {n_ctx} tokens each: {} of KV", bytes(kv * plan.slots as f64))
    });
    let lines = [
        format!("{} on {several} {}, {kept}", count(plan.threads, "thread"), format_list(&plan.cpus)),
        format!("weights: {}; its other memory: {}", plan.weights, plan.memory),
        format!("{} at once{kv}", count(plan.slots, "request")),
    ];
    Branch { text: format!("worker {index}{on}"), below: lines.into_iter().map(Branch::leaf).collect() }
}

/// In the order of the first of each group.
fn grouped<'a, K: PartialEq>(cores: &[&'a Core], key: impl Fn(&Core) -> K) -> Vec<(K, Vec<&'a Core>)> {
    let mut groups: Vec<(K, Vec<&Core>)> = Vec::new();
    for core in cores {
        let key = key(core);
        match groups.iter_mut().find(|group| group.0 == key) {
            Some(group) => group.1.push(core),
            None => groups.push((key, vec![core])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_concurrent::EngineConfig;
    use llama_concurrent_topology::plan;

    #[test]
    fn a_tree_names_cores_workers_and_reasons() {
        let mut machine = Machine::flat(0..8);
        for (i, core) in machine.cores.iter_mut().enumerate() {
            core.kind = (i >= 4).into();
        }
        machine.quota = Some(2.0);
        let placement = plan(&machine, &EngineConfig::default().threads(3), None).unwrap();
        let text = of(&machine, &placement, None);
        for line in [
            "Machine: 1 package, 8 cores",
            "├─ the cgroup allows 2 CPUs' worth of time",
            "   ├─ 4 efficiency cores on one cache: CPUs 0-3",
            "   └─ 4 performance cores on one cache: CPUs 4-7",
            "Plan: 1 worker, 2 threads, 16 slots, one copy of the weights",
            "   ├─ 2 threads on CPUs 4-7, kept on these",
            "Not as asked for",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn with_a_model_its_memory_is_told() {
        let model = ModelSize {
            weights: 512 << 20,
            kv_per_token: 1024.0,
            n_ctx_train: 8192,
            sliding_window: None,
            n_batch: 512,
            one_sequence: None,
        };
        let config = EngineConfig::default().slots(4);
        let placement = plan(&Machine::flat(0..2), &config, Some(&model)).unwrap();
        let text = of(&Machine::flat(0..2), &placement, Some(&ModelMemory::of(&model, &config)));
        assert!(text.contains("one copy of the weights (512.00 MiB)"), "{text}");
        assert!(text.contains("4 requests at once of 2048 tokens each: 8.00 MiB of KV"), "{text}");
    }
}
