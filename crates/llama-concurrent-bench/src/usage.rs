//! Resource usage of a run: CPU time, instructions, cache misses, memory, page faults, energy.

mod counters;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::counters::Counters;
pub use self::counters::Counts;

/// The resource usage of a process in an interval. Values that the system does not report are `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// Processors in use on average: 2 is two cores all the time.
    pub cpus: Option<f64>,
    /// Peak resident memory in the interval, or since the process started if the peak cannot be reset.
    pub peak_rss_bytes: Option<u64>,
    /// Page faults that needed no disk.
    pub minor_faults: Option<u64>,
    /// Page faults that did.
    pub major_faults: Option<u64>,
    /// Energy of all processor packages by RAPL, other programs included, in joules.
    pub joules: Option<f64>,
    /// Hardware counters.
    pub counters: Option<Counts>,
    /// Why there are no hardware counters, and what to change.
    pub no_counters: Option<String>,
}

/// The CPU time of the calling thread since it started.
pub fn thread_time() -> Option<Duration> {
    #[cfg(unix)]
    return nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from);
    #[cfg(not(unix))]
    None
}

/// This process, in `/proc`.
const SELF: &str = "self";

/// Watches a process.
pub struct Meter {
    start: Instant,
    process: String,
    before: Snapshot,
    counters: Result<Counters, String>,
}

#[derive(Clone, Copy, Default)]
struct Snapshot {
    cpu: Option<Duration>,
    minor: Option<u64>,
    major: Option<u64>,
    microjoules: Option<u64>,
}

impl Meter {
    /// Watches a process from now on; `None` is this one.
    pub fn start(process: Option<u32>) -> Self {
        let process = process.map_or_else(|| SELF.to_owned(), |id| id.to_string());
        forget_peak(&process);
        let counters = Counters::start(&process);
        Self { start: Instant::now(), before: Snapshot::take(&process), process, counters }
    }

    /// The usage since then.
    pub fn read(mut self) -> Usage {
        let counters = self.counters.as_mut().ok().and_then(Counters::read);
        let now = Snapshot::take(&self.process);
        let since = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let wall = self.start.elapsed().as_secs_f64();
        Usage {
            cpus: now.cpu.zip(self.before.cpu).map(|(now, before)| now.saturating_sub(before).as_secs_f64() / wall),
            peak_rss_bytes: peak_rss(&self.process),
            minor_faults: since(now.minor, self.before.minor),
            major_faults: since(now.major, self.before.major),
            joules: since(now.microjoules, self.before.microjoules).map(|micro| micro as f64 / 1e6),
            counters,
            no_counters: self.counters.err(),
        }
    }
}

impl Snapshot {
    fn take(process: &str) -> Self {
        Self { microjoules: microjoules(), ..if process == SELF { Self::own() } else { Self::of(process) } }
    }

    /// Of this process, as finely as the kernel counts.
    #[cfg(unix)]
    fn own() -> Self {
        use nix::sys::{
            resource::{UsageWho, getrusage},
            time::TimeValLike,
        };
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        Self {
            cpu: u64::try_from(micros).ok().map(Duration::from_micros),
            minor: u64::try_from(usage.minor_page_faults()).ok(),
            major: u64::try_from(usage.major_page_faults()).ok(),
            microjoules: None,
        }
    }

    #[cfg(not(unix))]
    fn own() -> Self {
        Self::default()
    }

    /// Of another process, in steps of ten milliseconds.
    fn of(process: &str) -> Self {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The second field is a name in parentheses, which may hold spaces; minflt is the tenth.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 4).copied();
        // Linux counts these in hundredths of a second on all relevant machines.
        let ticks = field(14).zip(field(15)).map(|(user, system)| Duration::from_millis((user + system) * 10));
        Self { cpu: ticks, minor: field(10), major: field(12), microjoules: None }
    }
}

/// Resets the kernel's peak of memory. Without permission, the peak is that since the process started.
fn forget_peak(process: &str) {
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

fn peak_rss(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The counters of all packages together; `None` without RAPL or without the right to read it.
fn microjoules() -> Option<u64> {
    let zones = fs::read_dir("/sys/class/powercap").ok()?;
    let packages: Vec<PathBuf> = zones
        .filter_map(|zone| Some(zone.ok()?.path()))
        .filter(|zone| fs::read_to_string(zone.join("name")).is_ok_and(|name| name.starts_with("package")))
        .collect();
    if packages.is_empty() {
        return None;
    }
    packages.iter().map(|zone| fs::read_to_string(zone.join("energy_uj")).ok()?.trim().parse::<u64>().ok()).sum()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let meter = Meter::start(None);
        let mut sum = vec![0_u8; 8 << 20];
        for _ in 0..10 {
            sum.iter_mut().for_each(|byte| *byte = std::hint::black_box(byte.wrapping_add(1)));
        }
        let usage = meter.read();
        assert!(usage.cpus.is_some_and(|cpus| cpus > 0.0), "{usage:?}, {}", sum[0]);
        assert!(usage.peak_rss_bytes.is_some_and(|bytes| bytes > 8 << 20), "{usage:?}");
        assert!(usage.minor_faults.is_some_and(|faults| faults > 0), "{usage:?}");
        assert!(usage.counters.is_some() != usage.no_counters.is_some(), "{usage:?}");
        assert!(thread_time().is_some_and(|time| time > Duration::ZERO));
    }

    #[test]
    fn the_peak_is_that_of_the_run() {
        drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        let usage = Meter::start(None).read();
        assert!(usage.peak_rss_bytes.is_some_and(|bytes| bytes < 256 << 20), "{usage:?}");
    }

    #[test]
    fn a_process_that_is_not_there_tells_nothing() {
        let usage = Meter::start(Some(u32::MAX)).read();
        assert!(usage.cpus.is_none() && usage.peak_rss_bytes.is_none());
    }
}
