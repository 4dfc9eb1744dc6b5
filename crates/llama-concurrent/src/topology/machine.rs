//! The machine as this process may use it: affinity mask, SMT siblings, cgroup limits.

use std::{fs, path::PathBuf};

/// Physical cores and limits of the present process.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    cores: Vec<usize>,
    quota: Option<f64>,
}

impl Machine {
    /// A machine with these CPUs, one for each physical core, and this many CPUs' worth of time.
    pub fn new(cores: Vec<usize>, quota: Option<f64>) -> Self {
        Self { cores, quota }
    }

    /// Looks at the machine. What cannot be found out is taken as unlimited.
    pub fn detect() -> Self {
        let allowed: Vec<usize> = match core_affinity::get_core_ids() {
            Some(ids) if !ids.is_empty() => ids.into_iter().map(|core| core.id).collect(),
            _ => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
        };
        let siblings = |cpu: usize| {
            fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
                .map(|list| parse_cpu_list(&list))
                .unwrap_or_default()
        };
        Self::new(first_of_each_core(&allowed, siblings), cpu_quota())
    }

    /// One CPU of each physical core that this process may use.
    pub fn cores(&self) -> &[usize] {
        &self.cores
    }

    /// Compute threads that can truly run at once.
    pub fn usable_threads(&self) -> usize {
        let by_quota = self.quota.map_or(usize::MAX, |cpus| (cpus as usize).max(1));
        self.cores.len().min(by_quota).max(1)
    }

    /// The limit that decides, in words.
    pub(super) fn describe_limit(&self) -> String {
        match self.quota {
            Some(quota) if (quota as usize).max(1) < self.cores.len() => {
                format!("the cgroup allows {quota} CPUs' worth of time")
            }
            _ => format!("this process may use {} physical cores", self.cores.len()),
        }
    }
}

/// Memory in bytes that can be had without swapping; `None` where the system does not say.
pub(crate) fn free_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let read = |file: &str| -> Option<u64> {
        cgroup_dirs("memory").iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok())?.trim().parse().ok()
    };
    let of_cgroup = read("memory.max").zip(read("memory.current")).map(|(max, used)| max.saturating_sub(used));
    Some(of_cgroup.map_or(available, |limit| limit.min(available)))
}

/// Keeps the first allowed CPU of each set of SMT siblings.
fn first_of_each_core(allowed: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let is_first =
        |cpu: usize| siblings(cpu).into_iter().filter(|s| allowed.contains(s)).min().is_none_or(|s| s == cpu);
    allowed.iter().copied().filter(|&cpu| is_first(cpu)).collect()
}

/// The kernel's list format, such as `0-3,8`.
fn parse_cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// CPUs' worth of time that the cgroups of this process allow; version 2, then version 1.
fn cpu_quota() -> Option<f64> {
    let read = |file: &str, parse: fn(&str) -> Option<f64>| {
        cgroup_dirs("cpu").iter().filter_map(|dir| parse(&fs::read_to_string(dir.join(file)).ok()?)).reduce(f64::min)
    };
    read("cpu.max", parse_cpu_max).or_else(|| {
        let period = read("cpu.cfs_period_us", |text| text.trim().parse().ok())?;
        let quota = read("cpu.cfs_quota_us", |text| text.trim().parse().ok().filter(|&quota: &f64| quota > 0.0))?;
        Some(quota / period)
    })
}

/// `cpu.max` of cgroup v2: quota and period in microseconds, or `max`.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// Directories of the cgroup of this process and its ancestors, for a controller of version 1 and for version 2.
fn cgroup_dirs(controller: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut dirs = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let root = match controllers {
            "" => PathBuf::from("/sys/fs/cgroup"),
            list if list.split(',').any(|c| c == controller) => PathBuf::from("/sys/fs/cgroup").join(controllers),
            _ => continue,
        };
        let leaf = root.join(path.trim_start_matches('/'));
        dirs.extend(leaf.ancestors().take_while(|dir| dir.starts_with(&root)).map(PathBuf::from));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smt_siblings_count_once() {
        let pairs = |cpu: usize| vec![cpu % 4, cpu % 4 + 4];
        assert_eq!(first_of_each_core(&[0, 1, 2, 3, 4, 5, 6, 7], pairs), [0, 1, 2, 3]);
        assert_eq!(first_of_each_core(&[5, 6, 2], pairs), [5, 2], "the mask may leave only the second sibling");
        assert_eq!(first_of_each_core(&[0, 1], |_| vec![]), [0, 1], "unknown siblings: every CPU is a core");
    }

    #[test]
    fn kernel_formats_are_read() {
        assert_eq!(parse_cpu_list("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(parse_cpu_list("rubbish"), Vec::<usize>::new());
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("max 100000"), None);
    }

    #[test]
    fn this_machine_has_at_least_one_core() {
        let machine = Machine::detect();
        assert!(machine.usable_threads() >= 1 && !machine.cores().is_empty());
    }
}
