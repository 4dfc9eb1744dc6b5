//! The machine that this process runs on; where the description of its hardware comes from, by operating system.

use super::{limits, machine::Machine};

impl Machine {
    /// Looks at the machine that this process runs on, anew each time. What cannot be found out is taken as unlimited.
    pub fn detect() -> Self {
        Self {
            quota: limits::cpu_quota(),
            free_memory: limits::free_memory(),
            cpu_pressure: limits::cpu_pressure(),
            ..hardware()
        }
    }
}

/// Cores and nodes, narrowed to what this process may use. At least one core.
fn hardware() -> Machine {
    of_system().filter(|machine| machine.usable_cores().next().is_some()).unwrap_or_else(flat)
}

/// Where nothing describes the hardware: every CPU that this process may use is a core.
fn flat() -> Machine {
    let by_mask = || core_affinity::get_core_ids().map(|ids| ids.into_iter().map(|core| core.id).collect());
    let counted = || (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    let known = limits::allowed_cpus().or_else(by_mask).filter(|cpus: &Vec<usize>| !cpus.is_empty());
    Machine::flat(known.unwrap_or_else(counted))
}

#[cfg(target_os = "linux")]
fn of_system() -> Option<Machine> {
    let (cpus, nodes) = (limits::allowed_cpus(), limits::allowed_nodes());
    super::sysfs::read(std::path::Path::new("/sys/devices"), cpus.as_deref(), nodes.as_deref())
}

/// Apple's processors: level 0 holds the performance cores. Threads cannot be bound there; the class of service that workers
/// ask for keeps them on those.
#[cfg(target_os = "macos")]
fn of_system() -> Option<Machine> {
    use sysctl::Sysctl;
    let number = |name: &str| sysctl::Ctl::new(name).ok()?.value_string().ok()?.trim().parse::<usize>().ok();
    let fast = number("hw.perflevel0.physicalcpu").or_else(|| number("hw.physicalcpu"))?;
    let slow = number("hw.perflevel1.physicalcpu").unwrap_or(0);
    let mut machine = Machine::flat(0..fast + slow);
    if slow > 0 {
        // The slower ones are numbered first.
        machine.cores.iter_mut().enumerate().for_each(|(cpu, core)| core.kind = (cpu >= slow).into());
    }
    Some(machine)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn of_system() -> Option<Machine> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_at_least_one_core() {
        let machine = Machine::detect();
        assert!(machine.usable_cores().count() >= 1, "{machine:?}");
        assert!(machine.threads_by_quota() >= 1);
        let mut cpus: Vec<_> = machine.cores.iter().flat_map(|core| &core.cpus).collect();
        let all = cpus.len();
        cpus.sort_unstable();
        cpus.dedup();
        assert_eq!(cpus.len(), all, "each CPU is in one core");
    }
}
