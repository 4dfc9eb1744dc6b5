//! Binds threads to CPUs and memory to NUMA nodes, and checks the result.

use std::{fs, os::unix::fs::FileExt, time::Duration};

use llama_concurrent_topology::MemoryPolicy;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, gettid},
};

use super::{Range, WorkerPlan};

/// Number of nodes in a mask.
const MAX_NODES: usize = 1024;
/// `MPOL_MF_MOVE` of linux/mempolicy.h: also moves existing pages.
const MOVE: u32 = 1 << 1;
/// Number of pages to sample; more would not change the result.
const SAMPLES: u64 = 1024;

/// Binds the calling thread, and the threads that it starts, according to a plan.
pub fn bind_worker(plan: &WorkerPlan) {
    bind_thread(if plan.pin { &plan.cpus } else { &[] }, &plan.memory);
}

/// Binds the calling thread to CPUs, if any are given, and its memory to nodes. Threads that it starts inherit both. If the
/// system refuses, the engine runs unbound, and its statistics show that.
pub fn bind_thread(cpus: &[usize], memory: &MemoryPolicy) {
    let mut set = CpuSet::new();
    if !cpus.is_empty()
        && cpus.iter().all(|&cpu| set.set(cpu).is_ok())
        && let Err(error) = sched_setaffinity(Pid::from_raw(0), &set)
    {
        tracing::warn!("cannot bind a thread to CPUs {cpus:?}: {error}");
    }
    let (mode, nodes) = match memory {
        MemoryPolicy::System => return,
        // Preferred, not bound: a full node must not end the process.
        MemoryPolicy::Node(node) => (libc::MPOL_PREFERRED, std::slice::from_ref(node)),
        MemoryPolicy::Interleave(nodes) => (libc::MPOL_INTERLEAVE, nodes.as_slice()),
    };
    let mask = mask_of(nodes);
    // SAFETY: the mask holds `MAX_NODES` bits; the kernel subtracts one from the count.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask.as_ptr(), MAX_NODES + 1) };
    if done != 0 {
        tracing::warn!("cannot place memory on nodes {nodes:?}: {}", std::io::Error::last_os_error());
    }
}

fn page_size() -> usize {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn mask_of(nodes: &[usize]) -> [u64; MAX_NODES / 64] {
    let mut mask = [0; MAX_NODES / 64];
    for &node in nodes.iter().filter(|&&node| node < MAX_NODES) {
        mask[node / 64] |= 1 << (node % 64);
    }
    mask
}

/// Moves memory to a node. Memory that the allocator reuses may lie on another node: with a model of 3 MiB on the second
/// of two nodes, a fifth of its weights.
pub(super) fn move_to(node: usize, ranges: &[Range]) {
    let (mask, page) = (mask_of(&[node]), page_size());
    for range in ranges {
        // Whole pages only: other data may share the first and the last page.
        let start = range.data.addr().next_multiple_of(page);
        let end = (range.data.addr() + range.size as usize) / page * page;
        if start >= end {
            continue;
        }
        // SAFETY: moving pages does not change their contents; the mask holds `MAX_NODES` bits.
        let done = unsafe {
            libc::syscall(libc::SYS_mbind, start, end - start, libc::MPOL_PREFERRED, mask.as_ptr(), MAX_NODES + 1, MOVE)
        };
        if done != 0 {
            tracing::warn!("cannot move memory to node {node}: {}", std::io::Error::last_os_error());
        }
    }
}

/// The fraction of resident pages on a node; `None` if none is resident or the system does not report it.
pub(super) fn fraction_on(node: usize, ranges: &[Range]) -> Option<f64> {
    let page = page_size() as u64;
    let total: u64 = ranges.iter().map(|range| range.size).sum();
    let step = (total / SAMPLES).max(page);
    let mut pages: Vec<*const libc::c_void> = ranges
        .iter()
        .flat_map(|range| {
            let start = range.data.addr() as u64 / page * page;
            (start..range.data.addr() as u64 + range.size).step_by((step / page * page) as usize)
        })
        .map(|address| std::ptr::without_provenance(address as usize))
        .collect();
    let mut nodes = vec![-1i32; pages.len()];
    // SAFETY: without a list of nodes the kernel moves nothing and only writes the node of each page; an address without a
    // page gets an error number.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_mut_ptr(),
            std::ptr::null::<i32>(),
            nodes.as_mut_ptr(),
            0,
        )
    };
    let resident = nodes.iter().filter(|&&on| on >= 0).count();
    let here = nodes.iter().filter(|&&on| usize::try_from(on) == Ok(node)).count();
    (done == 0 && resident > 0).then(|| here as f64 / resident as f64)
}

/// Calls `start` and returns the ids of the threads that it started, the calling one first. They are recognised by an
/// inherited name, because other threads of the process may start threads at the same time.
pub(super) fn started_threads<T>(start: impl FnOnce() -> T) -> (T, Vec<i32>) {
    let own = gettid().as_raw();
    let name_of = |tid: i32| fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    let rename = |tid: i32, name: &str| fs::write(format!("/proc/self/task/{tid}/comm"), name);
    let (name, mark) = (name_of(own), format!("ggml-{own}"));
    let _ = rename(own, &mark);
    let started = start();
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let tids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    let marked: Vec<i32> = tids.filter(|&tid| name_of(tid).trim_end() == mark).collect();
    for &tid in &marked {
        let _ = rename(tid, name.trim_end());
    }
    let others = marked.into_iter().filter(|&tid| tid != own);
    (started, std::iter::once(own).chain(others).collect())
}

/// How long threads of this process waited for a CPU, as the system counts it. Its files stay open, which halves the cost of a
/// reading.
pub(super) struct RunDelay(Vec<fs::File>);

impl RunDelay {
    /// Of these threads; of none where the system does not report it.
    pub(super) fn of(tids: &[i32]) -> Self {
        let files = tids.iter().map(|tid| fs::File::open(format!("/proc/self/task/{tid}/schedstat")));
        Self(files.collect::<Result<_, _>>().unwrap_or_default())
    }

    /// The total of all threads so far.
    pub(super) fn read(&self) -> Option<Duration> {
        let of = |file: &fs::File| {
            let mut text = [0; 96];
            let n = file.read_at(&mut text, 0).ok()?;
            let text = std::str::from_utf8(&text[..n]).ok()?;
            text.split_whitespace().nth(1)?.parse().map(Duration::from_nanos).ok()
        };
        if self.0.is_empty() { None } else { self.0.iter().map(of).sum() }
    }
}

/// Whether more than twice as many threads want to run on this machine as it has CPUs. Where the system does not say, they do not.
pub(super) fn is_overrun() -> bool {
    // The last but one field of the load: threads that want to run now, of all threads.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = load.split_whitespace().nth(3).and_then(|threads| threads.split_once('/')?.0.parse().ok());
    // SAFETY: a plain question.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    running.is_some_and(|running: i64| cpus > 0 && running > 2 * cpus)
}

/// The CPUs that a thread of this process may run on; empty if it has ended.
pub fn affinity_of(tid: i32) -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(tid));
    set.map(|set| (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_known_and_bound() {
        let allowed = affinity_of(gettid().as_raw());
        let cpu = allowed[0];
        std::thread::spawn(move || {
            bind_thread(&[cpu], &MemoryPolicy::System);
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let (thread, tids) = started_threads(|| std::thread::Builder::new().spawn(move || stopped.recv()).unwrap());
            assert_eq!(tids.len(), 2, "{tids:?}");
            for tid in tids {
                assert_eq!(affinity_of(tid), [cpu]);
            }
            drop(stop);
            let _ = thread.join();
        })
        .join()
        .unwrap();
        assert_eq!(affinity_of(i32::MAX), Vec::<usize>::new());
    }

    #[test]
    fn pages_are_on_exactly_one_node() {
        let data = vec![1u8; 1 << 20];
        let ranges = [Range { data: data.as_ptr().cast(), size: data.len() as u64 }];
        let fractions: Vec<f64> = (0..64).filter_map(|node| fraction_on(node, &ranges)).collect();
        // Kernels without NUMA report nothing.
        assert!(fractions.is_empty() || (fractions.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{fractions:?}");
        assert_eq!(fraction_on(0, &[]), None);
        move_to(0, &ranges);
        assert!(data.iter().all(|&byte| byte == 1), "moving does not change the contents");
        assert!(fraction_on(0, &ranges).is_none_or(|fraction| fraction > 0.9));
    }
}
