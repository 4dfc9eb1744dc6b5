//! What the system allows this process: CPUs, nodes, time and memory.

use std::{fs, path::PathBuf};

use super::cpu_list::parse_kernel_list;

/// CPUs that the affinity mask and the cpuset of this process allow; `None` where the system does not say.
pub(super) fn allowed_cpus() -> Option<Vec<usize>> {
    of_status("Cpus_allowed_list:")
}

/// NUMA nodes whose memory the cpuset of this process allows.
#[cfg(target_os = "linux")]
pub(super) fn allowed_nodes() -> Option<Vec<usize>> {
    of_status("Mems_allowed_list:")
}

/// Of the calling thread, not of the process: a program that has bound its main thread means the threads that it starts.
fn of_status(field: &str) -> Option<Vec<usize>> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(parse_kernel_list(list)).filter(|list| !list.is_empty())
}

/// Memory in bytes that can be had without swapping; `None` where the system does not say.
pub(super) fn free_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let read = |file: &str| -> Option<u64> {
        cgroup_dirs("memory").iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok())?.trim().parse().ok()
    };
    let of_cgroup = read("memory.max").zip(read("memory.current")).map(|(max, used)| max.saturating_sub(used));
    Some(of_cgroup.map_or(available, |limit| limit.min(available)))
}

/// CPUs' worth of time that the cgroups of this process allow; version 2, then version 1.
pub(super) fn cpu_quota() -> Option<f64> {
    let dirs = cgroup_dirs("cpu");
    let smallest = |quota: &dyn Fn(&PathBuf) -> Option<f64>| dirs.iter().filter_map(quota).reduce(f64::min);
    let number = |dir: &PathBuf, file: &str| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<f64>().ok();
    smallest(&|dir| parse_cpu_max(&fs::read_to_string(dir.join("cpu.max")).ok()?)).or_else(|| {
        smallest(&|dir| {
            let quota = number(dir, "cpu.cfs_quota_us").filter(|&quota| quota > 0.0)?;
            Some(quota / number(dir, "cpu.cfs_period_us")?)
        })
    })
}

/// The share of the last ten seconds in which some thread waited for a CPU.
pub(super) fn cpu_pressure() -> Option<f64> {
    parse_pressure(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// Pressure-stall information: the percentage of ten seconds in the line that begins with "some".
fn parse_pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    Some(percent.parse::<f64>().ok()? / 100.0)
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
    fn kernel_formats_are_read() {
        assert_eq!(parse_pressure("some avg10=50.00 avg60=37.71 avg300=42.80 total=88\nfull avg10=0.00\n"), Some(0.5));
        assert_eq!(parse_pressure("full avg10=0.00\n"), None);
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("max 100000"), None);
    }
}
