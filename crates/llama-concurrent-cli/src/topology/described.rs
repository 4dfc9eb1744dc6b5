//! Machines described by hwloc: a synthetic description, or an XML file written by `lstopo`.
//!
//! Only this command uses hwloc. The engine reads the system's own description, so that its library loads where hwloc is not
//! installed; a test compares the two.

use std::path::Path;

use llama_concurrent_topology::Machine;

use crate::failure::Failure;

#[cfg(feature = "hwloc")]
pub fn synthetic(spec: &str) -> Result<Machine, Failure> {
    let bad = |why: String| Failure::BadInput(format!("hwloc does not understand the machine '{spec}': {why}"));
    let builder = hwloc::builder().from_synthetic(spec).map_err(|error| bad(error.to_string()))?;
    hwloc::machine(builder).map_err(bad)
}

#[cfg(feature = "hwloc")]
pub fn from_xml(file: &Path) -> Result<Machine, Failure> {
    let bad = |why: String| Failure::BadInput(format!("hwloc cannot read {}: {why}", file.display()));
    // hwloc's own error would only say that it failed.
    std::fs::metadata(file).map_err(|error| bad(error.to_string()))?;
    let builder = hwloc::builder().from_xml_file(file).map_err(|error| bad(error.to_string()))?;
    hwloc::machine(builder).map_err(bad)
}

#[cfg(not(feature = "hwloc"))]
pub fn synthetic(_: &str) -> Result<Machine, Failure> {
    Err(without())
}

#[cfg(not(feature = "hwloc"))]
pub fn from_xml(_: &Path) -> Result<Machine, Failure> {
    Err(without())
}

#[cfg(not(feature = "hwloc"))]
fn without() -> Failure {
    Failure::BadInput("this program was built without hwloc; build it with the feature 'hwloc'".into())
}

#[cfg(feature = "hwloc")]
mod hwloc {
    use hwlocality::{
        Topology,
        object::{TopologyObject, attributes::ObjectAttributes, types::ObjectType},
        topology::builder::{BuildFlags, TopologyBuilder},
    };
    use llama_concurrent_topology::{Core, Machine, NumaNode};

    pub fn builder() -> TopologyBuilder {
        Topology::builder()
    }

    /// Builds the topology, including what the described process may not use, and converts it.
    pub fn machine(builder: TopologyBuilder) -> Result<Machine, String> {
        let builder = builder.with_flags(BuildFlags::INCLUDE_DISALLOWED).map_err(|error| error.to_string())?;
        let topology = builder.build().map_err(|error| error.to_string())?;
        let allowed = topology.allowed_cpuset();
        let kinds: Vec<_> = topology.cpu_kinds().into_iter().flatten().collect();
        let cpus_of = |object: &TopologyObject| -> Option<Vec<usize>> {
            Some(object.cpuset()?.iter_set().map(usize::from).collect())
        };
        // A core may have several memories near it; the nearest is the one with the fewest cores.
        let mut near: Vec<(usize, Vec<usize>)> = topology
            .objects_with_type(ObjectType::NUMANode)
            .filter_map(|node| Some((node.os_index()?, cpus_of(node)?)))
            .collect();
        near.sort_by_key(|(id, cpus)| (cpus.len(), *id));
        let core = |object: &TopologyObject| {
            let cpus = cpus_of(object)?;
            let first = *cpus.first()?;
            let kind = kinds.iter().position(|kind| kind.cpuset.iter_set().any(|cpu| usize::from(cpu) == first));
            let ancestor = |of| object.first_ancestor_with_type(of).map(TopologyObject::logical_index);
            let package = ancestor(ObjectType::Package).unwrap_or(0);
            Some(Core {
                allowed: cpus
                    .iter()
                    .copied()
                    .filter(|&cpu| allowed.iter_set().any(|a| usize::from(a) == cpu))
                    .collect(),
                cpus,
                package,
                node: near.iter().find(|(_, cpus)| cpus.contains(&first)).map(|&(id, _)| id),
                l3: ancestor(ObjectType::L3Cache).unwrap_or(package),
                // Kinds are listed from the least to the most capable one; those without a rank are alike.
                kind: kind.filter(|&kind| kinds[kind].efficiency.is_some()).unwrap_or(0) as u32,
            })
        };
        let has_cores = topology.objects_with_type(ObjectType::Core).next().is_some();
        let unit = if has_cores { ObjectType::Core } else { ObjectType::PU };
        let allowed_nodes: Vec<usize> = topology.allowed_nodeset().iter_set().map(usize::from).collect();
        let node = |object: &TopologyObject| {
            let id = object.os_index()?;
            let memory = match object.attributes() {
                Some(ObjectAttributes::NUMANode(node)) => node.local_memory().map_or(0, u64::from),
                _ => 0,
            };
            Some(NumaNode { id, memory, free: None, allowed: allowed_nodes.contains(&id) })
        };
        Ok(Machine {
            cores: topology.objects_with_type(unit).filter_map(core).collect(),
            nodes: topology.objects_with_type(ObjectType::NUMANode).filter_map(node).collect(),
            ..Machine::default()
        })
    }
}

#[cfg(all(test, feature = "hwloc"))]
mod tests;
