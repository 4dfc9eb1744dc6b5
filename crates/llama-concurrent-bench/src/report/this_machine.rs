//! The machine of a report.

use std::{fs, process::Command, thread};

/// The processor by its name, how many of them this process may use, and the system.
pub fn describe() -> String {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let name = processor().unwrap_or_else(|| "an unknown processor".into());
    format!("{name}, {cpus} CPUs, {} on {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn processor() -> Option<String> {
    let name = if cfg!(target_os = "macos") {
        output("sysctl", &["-n", "machdep.cpu.brand_string"])?
    } else {
        // The kernel does not name ARM processors; lscpu has a table of them.
        let report = fs::read_to_string("/proc/cpuinfo").ok()?;
        field(&report, "model name").or_else(|| field(&output("lscpu", &[])?, "Model name"))?
    };
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    String::from_utf8(Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?.stdout).ok()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
    Some(line.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_as_the_kernel_and_as_lscpu_write_it() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nmodel name\t: another\n";
        assert_eq!(field(x86, "model name").as_deref(), Some(" AMD EPYC 9R14"));
        let arm = "Architecture:        aarch64\n  Model name:          Neoverse-N1\n";
        assert_eq!(field(arm, "Model name").map(|name| name.trim().to_owned()).as_deref(), Some("Neoverse-N1"));
        assert_eq!(field("processor\t: 0\nBogoMIPS\t: 50.00\n", "model name"), None);
    }
}
