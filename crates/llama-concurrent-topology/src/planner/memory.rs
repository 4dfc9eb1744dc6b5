//! Where the weights of a plan lie.

use llama_concurrent_types::{EngineConfig, Error, ErrorKind, Replicate, Result};

use super::ModelSize;
use crate::{
    machine::Machine,
    placement::{MemoryPolicy, Placement, WeightCopy},
};

/// Gives workers on nodes of their own their own copies, if they are wanted and fit.
pub(super) fn place_weights(
    placement: &mut Placement,
    machine: &Machine,
    config: &EngineConfig,
    model: Option<&ModelSize>,
) -> Result<()> {
    let mut nodes = Vec::new();
    for worker in &placement.workers {
        match &worker.memory {
            MemoryPolicy::Node(node) => nodes.push(*node),
            MemoryPolicy::Interleave(several) => nodes.extend(several),
            MemoryPolicy::System => {}
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    let is_on_one_node = |memory: &MemoryPolicy| matches!(memory, MemoryPolicy::Node(_));
    if !placement.workers.iter().any(|worker| is_on_one_node(&worker.memory)) {
        if nodes.len() > 1 {
            placement.shared_weights = MemoryPolicy::Interleave(nodes);
        } else if config.replicate == Replicate::Always {
            placement.reasons.push("one copy of the weights: no worker has a NUMA node of its own".into());
        }
        return Ok(());
    }
    let shortage = model.and_then(|model| find_shortage(placement, machine, config, model));
    match (config.replicate, shortage) {
        (Replicate::Never, _) => {
            placement.reasons.push("one copy of the weights, as asked for".into());
            share(placement, nodes);
        }
        (Replicate::Auto, Some(shortage)) => {
            placement.warnings.push(format!("{shortage}; all workers share one copy, spread over the nodes"));
            share(placement, nodes);
        }
        (Replicate::Always, Some(shortage)) => {
            let message = format!("{shortage}; use replicate auto or never, fewer slots, or a smaller n_ctx");
            return Err(Error::new(ErrorKind::OutOfMemory, message));
        }
        (_, None) => {
            for worker in &mut placement.workers {
                if let MemoryPolicy::Node(node) = worker.memory {
                    worker.weights = WeightCopy::OfNode(node);
                }
            }
            placement.reasons.push(match nodes.len() {
                1 => "the weights are read into the memory of that node".into(),
                n => format!("{n} copies of the weights, one in the memory of each node"),
            });
        }
    }
    Ok(())
}

fn share(placement: &mut Placement, nodes: Vec<usize>) {
    placement.shared_weights = match nodes[..] {
        [node] => MemoryPolicy::Node(node),
        _ => MemoryPolicy::Interleave(nodes),
    };
}

/// Why a copy on every node does not fit, in words.
fn find_shortage(placement: &Placement, machine: &Machine, config: &EngineConfig, model: &ModelSize) -> Option<String> {
    let n_ctx = config.n_ctx_for(model.n_ctx_train);
    let kv_of = |slots: usize| (model.kv_of_slot(n_ctx) * slots as f64) as u64;
    // Repacked weights take a little more than those of the file.
    let weights = model.weights + model.weights / 8;
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let mut total = 0;
    for copy in placement.workers.iter().map(|worker| &worker.memory).fold(Vec::new(), |mut nodes, memory| {
        if let MemoryPolicy::Node(node) = memory
            && !nodes.contains(node)
        {
            nodes.push(*node);
        }
        nodes
    }) {
        let here = placement.workers.iter().filter(|worker| worker.memory == MemoryPolicy::Node(copy));
        let kv = kv_of(here.map(|worker| worker.slots).sum());
        let node = machine.node(copy)?;
        let free = node.free.unwrap_or(node.memory);
        total += weights + kv;
        if weights + kv > free {
            return Some(format!(
                "a copy of the weights on node {copy} needs {} ({} and {} of KV), but {} are free there",
                gib(weights + kv),
                gib(weights),
                gib(kv),
                gib(free)
            ));
        }
    }
    let free = machine.free_memory.filter(|&free| total > free)?;
    Some(format!("a copy of the weights on each node needs {} with KV, but {} are free", gib(total), gib(free)))
}
