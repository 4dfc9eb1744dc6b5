//! Which CPUs the workers run on: the machine as this process may use it, and a plan for its threads.
//!
//! One worker on the physical cores of the process is all there is today. NUMA nodes, efficiency classes and memory
//! placement belong here as well; they change [`plan_workers`], not its callers.

mod machine;

pub use machine::Machine;
pub(crate) use machine::free_memory;

/// Where one worker computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// CPUs (as the operating system numbers them) that its threads may run on.
    pub cpus: Vec<usize>,
    /// Compute threads, the worker thread included.
    pub threads: usize,
    /// Bind the threads to `cpus`.
    pub pin: bool,
}

/// A plan, and what a person should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One entry for each worker.
    pub workers: Vec<WorkerPlan>,
    /// Wishes that were not granted, in words.
    pub warnings: Vec<String>,
}

/// Spreads `threads` (by default one per usable physical core) over `workers` disjoint sets of cores.
///
/// Never plans more threads than may run at once: ggml's barriers spin, so one thread too many makes all wait for the
/// scheduler's time slice.
pub fn plan_workers(machine: &Machine, workers: usize, threads: Option<usize>, pin: bool) -> Placement {
    let usable = machine.usable_threads();
    let mut warnings = Vec::new();
    let wanted = threads.unwrap_or(usable);
    if wanted > usable {
        warnings.push(format!("{wanted} threads were asked for, but {}; using {usable}", machine.describe_limit()));
    }
    let mut workers = workers.max(1);
    let threads = wanted.min(usable).max(1);
    if workers > threads {
        warnings.push(format!("{workers} workers were asked for, but only {threads} threads may run; using {threads}"));
        workers = threads;
    }
    // Cores left over are given out too: a worker with more cores than threads lets the system choose among them.
    let share = |total: usize, i: usize| total / workers + usize::from(i < total % workers);
    let mut cores = machine.cores().iter().copied();
    let workers = (0..workers)
        .map(|i| WorkerPlan {
            cpus: cores.by_ref().take(share(machine.cores().len(), i)).collect(),
            threads: share(threads, i),
            pin,
        })
        .collect();
    Placement { workers, warnings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cores: usize, quota: Option<f64>) -> Machine {
        Machine::new((0..cores).map(|c| c * 2).collect(), quota)
    }

    #[test]
    fn threads_are_the_usable_cores_unless_fewer_are_wanted() {
        for (cores, quota, wanted, threads, warnings) in [
            (4, None, None, 4, 0),
            (4, None, Some(2), 2, 0),
            (4, None, Some(9), 4, 1),
            (4, Some(2.5), None, 2, 0),
            (4, Some(0.5), None, 1, 0),
            (4, Some(2.0), Some(4), 2, 1),
            (1, None, None, 1, 0),
        ] {
            let placement = plan_workers(&machine(cores, quota), 1, wanted, true);
            assert_eq!(placement.workers[0].threads, threads, "{cores} cores, quota {quota:?}, wanted {wanted:?}");
            assert_eq!(placement.warnings.len(), warnings);
            assert_eq!(placement.workers[0].cpus.len(), cores);
        }
    }

    #[test]
    fn workers_get_disjoint_cores() {
        let placement = plan_workers(&machine(5, None), 2, None, true);
        let [a, b] = &placement.workers[..] else { panic!() };
        assert_eq!((a.cpus.as_slice(), b.cpus.as_slice()), (&[0, 2, 4][..], &[6, 8][..]));
        assert_eq!((a.threads, b.threads), (3, 2));
        let lowered = plan_workers(&machine(2, None), 3, None, true);
        assert_eq!((lowered.workers.len(), lowered.warnings.len()), (2, 1));
    }
}
