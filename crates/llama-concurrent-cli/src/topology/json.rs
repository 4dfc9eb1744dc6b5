//! Machine and plan as JSON.

use llama_concurrent_topology::{Machine, Placement, WeightCopy, WorkerPlan};
use serde_json::{Value, json};

pub fn of(machine: &Machine, placement: &Placement) -> Value {
    json!({
        "machine": {
            "summary": machine.summary(),
            "usable_cpus": machine.allowed_cpus(),
            "quota_cpus": machine.quota,
            "free_memory_bytes": machine.free_memory,
            "cpu_pressure": machine.cpu_pressure,
            "nodes": machine.nodes.iter().map(|node| json!({
                "id": node.id,
                "memory_bytes": node.memory,
                "free_bytes": node.free,
                "usable": node.allowed,
            })).collect::<Vec<_>>(),
            "cores": machine.cores.iter().map(|core| json!({
                "cpus": core.cpus,
                "usable_cpus": core.allowed,
                "package": core.package,
                "node": core.node,
                "l3": core.l3,
                "kind": core.kind,
            })).collect::<Vec<_>>(),
        },
        "plan": {
            "workers": placement.workers.iter().map(worker).collect::<Vec<_>>(),
            "threads": placement.threads(),
            "slots": placement.slots(),
            "weight_copies": placement.copies().len(),
            "shared_weights": placement.shared_weights.to_string(),
            "reasons": placement.reasons,
            "warnings": placement.warnings,
        },
    })
}

fn worker(plan: &WorkerPlan) -> Value {
    json!({
        "node": plan.node,
        "cpus": plan.cpus,
        "threads": plan.threads,
        "bound": plan.pin,
        "one_core_each": plan.one_core_each,
        "memory": plan.memory.to_string(),
        "own_weights": matches!(plan.weights, WeightCopy::OfNode(_)),
        "slots": plan.slots,
    })
}
