//! From a machine, a configuration and a model's size to a plan with its reasons. Pure: the same input gives the same plan.

mod memory;
#[cfg(test)]
mod tests;

use llama_concurrent_gguf::{ModelSummary, SlidingWindow};
use llama_concurrent_types::{EngineConfig, Error, ErrorKind, PlacementPolicy, Result, Strategy, WaitPolicy};

use super::{
    cpu_list::format_list,
    machine::{Core, Machine},
    placement::{MemoryPolicy, Placement, WeightCopy, WorkerPlan},
};

/// With fewer cores than this share of the largest node's, a node gets no worker of its own: its requests would be slow.
const FAIR_SHARE: usize = 4;

/// What of a model matters to a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelSize {
    /// Bytes of the weights in the file.
    pub weights: u64,
    /// Bytes of K and V cache that one token of one request takes.
    pub kv_per_token: f64,
    /// Tokens that the model was trained to look back on; 0 where its file does not say.
    pub n_ctx_train: usize,
    /// Layers that keep fewer tokens than a slot has, where there are any.
    pub sliding_window: Option<SlidingWindow>,
    /// Tokens of one call, which those layers keep beside their window.
    pub n_batch: usize,
    /// Why each request needs a context of its own; `None` where one context serves many.
    pub one_sequence: Option<&'static str>,
}

impl ModelSize {
    /// Of a model as its file describes it, with the cache types of a configuration.
    pub fn of(model: &ModelSummary, config: &EngineConfig) -> Self {
        let (k, v) = (config.type_k.bytes_per_element(), config.type_v.bytes_per_element());
        Self {
            weights: model.tensor_bytes,
            kv_per_token: model.kv_bytes_per_token(k, v),
            n_ctx_train: model.n_ctx_train as usize,
            sliding_window: model.sliding_window.filter(|_| !config.swa_full),
            n_batch: config.n_batch,
            one_sequence: model.faults.one_sequence,
        }
    }

    /// Bytes of K and V cache of one slot of `n_ctx` tokens.
    pub fn kv_of_slot(&self, n_ctx: usize) -> f64 {
        let tokens = self.sliding_window.map_or(n_ctx as f64, |window| window.mean_tokens(n_ctx, self.n_batch));
        self.kv_per_token * tokens
    }
}

/// Plans the workers of an engine. Without a model, weights and KV are taken to fit wherever they are wanted.
///
/// Never plans more threads than may run at once: ggml's barriers spin, so one thread too many makes all wait for the
/// system's time slice.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if the configuration names CPUs or nodes that this process cannot use;
/// [`ErrorKind::OutOfMemory`] if copies of the weights are demanded where they do not fit.
pub fn plan(machine: &Machine, config: &EngineConfig, model: Option<&ModelSize>) -> Result<Placement> {
    let mut planner = Planner { machine, config, reasons: Vec::new(), warnings: Vec::new() };
    let seats = planner.choose_cores()?;
    let limit = planner.choose_threads(seats.len());
    let groups = planner.choose_groups(seats, limit);
    let teams = planner.form_teams(groups, limit);
    let kv_of_slot = model.map_or(0.0, |model| model.kv_of_slot(config.n_ctx_for(model.n_ctx_train)));
    let slots = config.slots_of_each_worker(teams.len(), kv_of_slot, machine.free_memory);
    planner.explain_contexts(model, slots);
    let threads = spread(limit, &teams);
    planner.explain_waiting(threads.iter().copied().max().unwrap_or(1));
    let memory_nodes = machine.nodes.iter().filter(|node| node.memory > 0 && node.allowed).count();
    let is_placed = config.placement != PlacementPolicy::None;
    let is_narrowed = config.cpus.is_some() || config.nodes.is_some();
    let workers = teams.into_iter().zip(threads).map(|(team, threads)| {
        let nodes = distinct(team.iter().filter_map(|seat| seat.node));
        let cpus: Vec<usize> = team.iter().map(|seat| seat.cpu).collect();
        let pin = is_narrowed || (is_placed && (config.pin || memory_nodes > 1));
        WorkerPlan {
            threads,
            pin,
            // With cores to spare, the system picks the idle ones among them.
            one_core_each: pin && is_placed && config.pin && cpus.len() == threads,
            node: nodes.first().copied().filter(|_| nodes.len() == 1),
            memory: match &nodes[..] {
                _ if memory_nodes < 2 || !is_placed => MemoryPolicy::System,
                [] => MemoryPolicy::System,
                [node] => MemoryPolicy::Node(*node),
                _ => MemoryPolicy::Interleave(nodes),
            },
            cpus,
            weights: WeightCopy::Shared,
            slots,
        }
    });
    let workers = workers.collect();
    let Planner { reasons, warnings, .. } = planner;
    let mut placement = Placement { workers, shared_weights: MemoryPolicy::System, reasons, warnings };
    memory::place_weights(&mut placement, machine, config, model)?;
    Ok(placement)
}

/// The share of the time, waited for a CPU by some thread, that is worth a word.
const NOTICEABLE_PRESSURE: f64 = 0.05;

/// A core that may get a thread, by the CPU that the thread would run on.
#[derive(Clone, Debug)]
struct Seat {
    cpu: usize,
    node: Option<usize>,
    l3: usize,
}

struct Planner<'a> {
    machine: &'a Machine,
    config: &'a EngineConfig,
    reasons: Vec<String>,
    warnings: Vec<String>,
}

impl Planner<'_> {
    /// A model may not be able to share a context.
    fn explain_contexts(&mut self, model: Option<&ModelSize>, slots: usize) {
        let Some(why) = model.and_then(|model| model.one_sequence).filter(|_| slots > 1) else { return };
        self.because(format!("{slots} contexts of one slot in each worker: {why}"));
        if self.config.strategy == Strategy::Batched {
            self.warnings.push(format!("the strategy is 'round-robin' and not 'batched': {why}"));
        }
    }

    /// How threads wait for each other, and what is known now of others that want their CPUs.
    fn explain_waiting(&mut self, threads: usize) {
        if threads < 2 {
            return;
        }
        self.because(match self.config.wait_policy {
            WaitPolicy::Active => "threads spin for each other, as asked for (--wait-policy)".into(),
            WaitPolicy::Passive => "threads share out their work and sleep, as asked for (--wait-policy)".into(),
            WaitPolicy::Auto => {
                let rule =
                    "threads spin for each other, and share out their work and sleep while others want their CPUs";
                match self.machine.cpu_pressure {
                    Some(pressure) if pressure >= NOTICEABLE_PRESSURE => {
                        let percent = 100.0 * pressure;
                        format!(
                            "{rule}, as seems the case: some thread waited for a CPU in {percent:.0} % of the last 10 s"
                        )
                    }
                    Some(_) => format!("{rule}, which nobody does now"),
                    None => rule.to_owned(),
                }
            }
        });
    }

    fn because(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// One CPU of each physical core that may compute.
    fn choose_cores(&mut self) -> Result<Vec<Seat>> {
        let (machine, config) = (self.machine, self.config);
        self.check_lists()?;
        let wanted_cpu = |cpu: &&usize| config.cpus.as_ref().is_none_or(|cpus| cpus.contains(cpu));
        let wanted_node = |core: &&Core| {
            config.nodes.as_ref().is_none_or(|nodes| machine.home(core).is_some_and(|node| nodes.contains(&node)))
        };
        let mut cores: Vec<&Core> = machine.usable_cores().filter(wanted_node).collect();
        let cpu_of = |core: &Core| core.allowed.iter().filter(wanted_cpu).min().copied();
        cores.retain(|core| cpu_of(core).is_some());
        if cores.is_empty() {
            let nodes =
                config.nodes.as_deref().map_or(String::new(), |nodes| format!(" of node {}", format_list(nodes)));
            return Err(invalid(format!(
                "no core{nodes} may be used: this process may use CPUs {}; name others",
                format_list(&machine.allowed_cpus())
            )));
        }
        let usable = machine.usable_cores().count();
        if usable < machine.cores.len() {
            self.because(format!(
                "affinity or cpuset let this process use {usable} of {} cores: CPUs {}",
                machine.cores.len(),
                format_list(&machine.allowed_cpus())
            ));
        }
        let fastest = cores.iter().map(|core| core.kind).max().unwrap_or(0);
        let slow = cores.iter().filter(|core| core.kind < fastest).count();
        if slow > 0 && config.cpus.is_none() {
            cores.retain(|core| core.kind == fastest);
            self.because(format!(
                "the {} performance cores compute; {slow} efficiency cores stay free, because all threads of a step wait \
                 for the slowest",
                cores.len()
            ));
        }
        if cores.iter().any(|core| core.allowed.iter().filter(wanted_cpu).count() > 1) {
            self.because("one thread for each physical core: SMT siblings share the units that compute");
        }
        let seat = |core: &Core| Some(Seat { cpu: cpu_of(core)?, node: machine.home(core), l3: core.l3 });
        Ok(cores.into_iter().filter_map(seat).collect())
    }

    /// Whether the CPUs and nodes that were asked for can be had.
    fn check_lists(&self) -> Result<()> {
        let machine = self.machine;
        let allowed = machine.allowed_cpus();
        if let Some(cpu) = self.config.cpus.iter().flatten().find(|cpu| !allowed.contains(cpu)) {
            return Err(invalid(format!(
                "CPU {cpu} was asked for, but this process may use CPUs {}",
                format_list(&allowed)
            )));
        }
        let known: Vec<usize> = machine.nodes.iter().map(|node| node.id).collect();
        match self.config.nodes.iter().flatten().find(|node| !known.contains(node)) {
            Some(node) if known.is_empty() => {
                Err(invalid(format!("node {node} was asked for, but this machine has no NUMA nodes")))
            }
            Some(node) => {
                Err(invalid(format!("node {node} was asked for, but this machine has nodes {}", format_list(&known))))
            }
            None => Ok(()),
        }
    }

    /// Compute threads over all workers.
    fn choose_threads(&mut self, cores: usize) -> usize {
        let by_quota = self.machine.threads_by_quota();
        let usable = cores.min(by_quota);
        let limit = match self.machine.quota {
            Some(quota) if by_quota < cores => format!("the cgroup allows {quota} CPUs' worth of time"),
            _ => format!("this process may use {cores} physical cores"),
        };
        if by_quota < cores {
            self.because(format!("{limit}, so {usable} of {cores} cores get a thread: a thread that waits, spins"));
        }
        match self.config.threads {
            Some(wanted) if wanted > usable => {
                self.warnings.push(format!("{wanted} threads were asked for, but {limit}; using {usable}"));
                usable
            }
            Some(wanted) => wanted.max(1),
            None => usable,
        }
    }

    /// Sets of cores that may each get a worker.
    fn choose_groups(&mut self, seats: Vec<Seat>, limit: usize) -> Vec<Vec<Seat>> {
        let config = self.config;
        let cores = seats.len();
        let l3_groups = distinct(seats.iter().map(|seat| seat.l3)).len();
        let mut groups: Vec<Vec<Seat>> = Vec::new();
        for seat in seats {
            let is_same = |other: &Seat| match config.placement {
                PlacementPolicy::None => true,
                PlacementPolicy::L3 => (other.node, other.l3) == (seat.node, seat.l3),
                PlacementPolicy::Auto | PlacementPolicy::Node => other.node == seat.node,
            };
            match groups.iter_mut().find(|group| is_same(&group[0])) {
                Some(group) => group.push(seat),
                None => groups.push(vec![seat]),
            }
        }
        groups.sort_by_key(|group| (group[0].node, group[0].cpu));
        if config.placement == PlacementPolicy::Auto && config.cpus.is_none() && config.nodes.is_none() {
            self.drop_small_nodes(&mut groups);
        }
        if config.workers.is_none() {
            self.drop_idle_groups(&mut groups, limit, cores);
        }
        self.explain_groups(&groups, l3_groups);
        groups
    }

    fn drop_small_nodes(&mut self, groups: &mut Vec<Vec<Seat>>) {
        let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
        let small: Vec<_> = groups.extract_if(.., |group| group.len() * FAIR_SHARE < largest).collect();
        for group in small {
            let (node, cores) = (group[0].node.unwrap_or(0), group.len());
            self.because(format!("node {node} stays idle: with {cores} of its cores, its requests would be slow"));
        }
    }

    /// Keeps as many groups as threads and requests can be spread over, the largest ones.
    fn drop_idle_groups(&mut self, groups: &mut Vec<Vec<Seat>>, limit: usize, cores: usize) {
        let before = groups.len();
        let mut by_size: Vec<usize> = (0..before).collect();
        by_size.sort_by_key(|&i| std::cmp::Reverse(groups[i].len()));
        let mut needed = before.min(limit);
        let mut why = format!("{limit} threads");
        if self.config.placement == PlacementPolicy::Auto && limit < cores {
            let mut seats = 0;
            let enough = by_size.iter().position(|&i| {
                seats += groups[i].len();
                seats >= limit
            });
            needed = needed.min(enough.map_or(before, |last| last + 1));
        }
        if let Some(slots) = self.config.wanted_slots().filter(|&slots| slots < needed) {
            needed = slots.max(1);
            why = if slots == 1 { "one request at a time".into() } else { format!("{slots} requests at a time") };
        }
        if needed < before {
            self.because(format!("{why} need {needed} of the {before} groups of cores, the largest"));
            let keep = &by_size[..needed];
            let mut index = 0;
            groups.retain(|_| (keep.contains(&index), index += 1).0);
        }
    }

    fn explain_groups(&mut self, groups: &[Vec<Seat>], l3_groups: usize) {
        let reason = match (self.config.placement, groups.len()) {
            (PlacementPolicy::None, _) => "placement is off: one worker, bound to nothing".into(),
            (PlacementPolicy::L3, n) if n > 1 => {
                format!("one worker for each of the {n} groups of cores that share a cache, as asked for")
            }
            (_, n) if n > 1 => format!(
                "one worker for each of {n} NUMA nodes: a worker reads all weights for every token, and the memory of its \
                 own node is the nearest"
            ),
            _ => "one worker: requests that are decoded together share each reading of the weights".into(),
        };
        self.because(reason);
        if matches!(self.config.placement, PlacementPolicy::Auto | PlacementPolicy::Node) && l3_groups > groups.len() {
            self.because(format!(
                "{l3_groups} groups of cores have a cache of their own; --placement l3 gives each a worker"
            ));
        }
        let has_memory_only = |id: usize| self.machine.cores.iter().all(|core| core.node != Some(id));
        let bare: Vec<usize> = self.machine.nodes.iter().map(|n| n.id).filter(|&id| has_memory_only(id)).collect();
        if !bare.is_empty() {
            self.because(format!("no worker for node {}, which has no CPUs", format_list(&bare)));
        }
        let poor: Vec<usize> = self.machine.nodes.iter().filter(|n| n.memory == 0).map(|n| n.id).collect();
        if !poor.is_empty() {
            let list = format_list(&poor);
            self.because(format!("no worker for node {list}, which has no memory: its cores join a node near them"));
        }
    }

    /// The cores of each worker: one group each, unless another number of workers was asked for.
    fn form_teams(&mut self, groups: Vec<Vec<Seat>>, limit: usize) -> Vec<Vec<Seat>> {
        let Some(wanted) = self.config.workers else { return groups };
        let workers = wanted.clamp(1, limit);
        if wanted > limit {
            self.warnings
                .push(format!("{wanted} workers were asked for, but only {limit} threads may run; using {limit}"));
        }
        if workers <= groups.len() {
            let n_groups = groups.len();
            let mut groups = groups.into_iter();
            return (0..workers)
                .map(|i| groups.by_ref().take(share(n_groups, workers, i)).flatten().collect())
                .collect();
        }
        let n_groups = groups.len();
        let parts = |(i, group): (usize, Vec<Seat>)| {
            let parts = share(workers, n_groups, i).min(group.len());
            let mut seats = group.clone().into_iter();
            (0..parts).map(|k| seats.by_ref().take(share(group.len(), parts, k)).collect()).collect::<Vec<_>>()
        };
        groups.into_iter().enumerate().flat_map(parts).collect()
    }
}

/// Part `i` of `total` in `parts` parts that differ by one at most.
fn share(total: usize, parts: usize, i: usize) -> usize {
    total / parts + usize::from(i < total % parts)
}

/// Spreads threads over workers in proportion to their cores, at least one each.
fn spread(threads: usize, teams: &[Vec<Seat>]) -> Vec<usize> {
    let mut of_team = vec![1; teams.len()];
    for _ in teams.len()..threads {
        let has_room = |&i: &usize| of_team[i] < teams[i].len();
        let fullness = |&a: &usize, &b: &usize| (of_team[a] * teams[b].len()).cmp(&(of_team[b] * teams[a].len()));
        let Some(emptiest) = (0..teams.len()).filter(has_room).min_by(fullness) else { break };
        of_team[emptiest] += 1;
    }
    of_team
}

fn distinct(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
