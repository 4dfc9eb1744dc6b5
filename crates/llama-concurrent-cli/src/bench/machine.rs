//! On what a report was made.

use std::{fs, process::Command, thread};

/// The processor by its name, how many of them this process may use, and the system.
pub fn describe() -> String {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let name = processor().unwrap_or_else(|| "a processor that does not tell its name".into());
    format!("{name}, {cpus} CPUs, {} on {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn processor() -> Option<String> {
    let name = if cfg!(target_os = "macos") {
        let told = Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
        String::from_utf8(told.stdout).ok()?
    } else {
        let told = fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = told.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':')?.1.to_owned()
    };
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
