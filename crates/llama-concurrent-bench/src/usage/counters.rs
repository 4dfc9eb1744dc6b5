//! What the processor itself counts: instructions, cycles, cache misses.

use serde::Serialize;

/// Of a process with all of its threads, outside of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Instructions that were completed.
    pub instructions: u64,
    /// Cycles of the cores it ran on.
    pub cycles: u64,
    /// What no cache had, mostly in the last level; the processor's own prefetching is not all in it.
    pub cache_misses: u64,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs, io};

    use perf_event::{Builder, Counter, events::Hardware};

    use super::Counts;

    const EVENTS: [Hardware; 3] = [Hardware::INSTRUCTIONS, Hardware::CPU_CYCLES, Hardware::CACHE_MISSES];

    /// Counts a process, from now on.
    pub(crate) struct Counters([Vec<Counter>; 3]);

    impl Counters {
        /// Each thread that is there gets its own counters, which count the threads that it starts as well. An error says
        /// why nothing is counted, and what to change.
        pub(crate) fn start(process: &str) -> Result<Self, String> {
            let threads: Vec<i32> = fs::read_dir(format!("/proc/{process}/task"))
                .map_err(|error| format!("cannot list the threads of process {process}: {error}"))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .collect();
            let mut all = [const { Vec::new() }; 3];
            for (event, counters) in EVENTS.into_iter().zip(&mut all) {
                for &thread in &threads {
                    match start(event, thread) {
                        Ok(counter) => counters.push(counter),
                        // The thread has ended.
                        Err(error) if error.raw_os_error() == Some(ESRCH) => {}
                        Err(error) => return Err(explain(&error)),
                    }
                }
            }
            Ok(Self(all))
        }

        pub(crate) fn read(&mut self) -> Option<Counts> {
            let [instructions, cycles, cache_misses] = &mut self.0;
            Some(Counts { instructions: sum(instructions)?, cycles: sum(cycles)?, cache_misses: sum(cache_misses)? })
        }
    }

    fn start(event: Hardware, thread: i32) -> io::Result<Counter> {
        let mut counter = Builder::new(event).observe_pid(thread).any_cpu().inherit(true).build()?;
        counter.enable()?;
        Ok(counter)
    }

    fn sum(counters: &mut [Counter]) -> Option<u64> {
        counters.iter_mut().map(whole).sum()
    }

    /// A processor has few counters, which the kernel multiplexes; the missing part of each count is extrapolated.
    fn whole(counter: &mut Counter) -> Option<u64> {
        let data = counter.read_full().ok()?;
        let (enabled, running) = (data.time_enabled()?.as_secs_f64(), data.time_running()?.as_secs_f64());
        let share = if running > 0.0 { enabled / running } else { 1.0 };
        Some((data.count() as f64 * share) as u64)
    }

    const EPERM: i32 = 1;
    const ESRCH: i32 = 3;
    const EACCES: i32 = 13;
    const EMFILE: i32 = 24;
    const ENOSYS: i32 = 38;

    pub(super) fn explain(error: &io::Error) -> String {
        match error.raw_os_error() {
            Some(EPERM | EACCES) => {
                "this process may not: as root call sysctl kernel.perf_event_paranoid=2, or give the \
                 program CAP_PERFMON; a container must also allow the system call perf_event_open"
                    .into()
            }
            Some(EMFILE) => "every thread takes three open files, and there were not enough: raise ulimit -n".into(),
            Some(ENOSYS) => "this kernel has no perf_event_open".into(),
            _ => format!(
                "the processor shows no counters here, as in most virtual machines: give it a virtual PMU, or measure on \
                 the machine itself ({error})"
            ),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::Counts;

    pub(crate) struct Counters;

    impl Counters {
        pub(crate) fn start(_: &str) -> Result<Self, String> {
            Err("this needs perf_event_open, which is of Linux".into())
        }

        pub(crate) fn read(&mut self) -> Option<Counts> {
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Counters;
#[cfg(target_os = "linux")]
pub(crate) use linux::Counters;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{io, thread};

    use super::*;

    /// Where the machine counts, all threads are in it; where not, there is a reason.
    #[test]
    fn threads_are_counted_or_a_reason_is_given() {
        match Counters::start("self") {
            Ok(mut counters) => {
                let work = || std::hint::black_box((0..1_000_000_u64).map(std::hint::black_box).sum::<u64>());
                thread::spawn(work).join().expect("it adds");
                assert!(counters.read().is_some_and(|counts| counts.instructions > 1_000_000));
            }
            Err(why) => assert!(why.len() > 20, "{why}"),
        }
    }

    #[test]
    fn reasons_say_what_to_change() {
        let explain = |number| linux::explain(&io::Error::from_raw_os_error(number));
        assert!(explain(13).contains("perf_event_paranoid"));
        assert!(explain(2).contains("virtual"));
        assert!(explain(24).contains("ulimit"));
    }
}
