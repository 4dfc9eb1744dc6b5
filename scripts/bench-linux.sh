#!/usr/bin/env bash
# The whole benchmark on a Linux machine: scripts/bench-linux.sh [--quick] [--model FILE] [--out FILE.tar.gz]
set -euo pipefail

# What decides how fast the machine is, as far as it can be read without being root.
describe_machine() {
    local file
    show() { [ ! -r "$1" ] || echo "$1: $(tr '\n' ' ' <"$1")"; }
    echo "system: $(uname -srm)"
    lscpu 2>/dev/null || grep -m1 "model name" /proc/cpuinfo
    echo "CPUs of this process: $(nproc)"
    for file in /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max; do show "$file"; done
    grep -E 'MemTotal|MemAvailable|HugePages_Total|AnonHugePages' /proc/meminfo
    show /sys/kernel/mm/transparent_hugepage/enabled
    echo "governors: $(cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort | uniq -c | tr '\n' ' ' || true)"
    # Turbo: on where no_turbo is 0 or boost is 1.
    show /sys/devices/system/cpu/intel_pstate/no_turbo
    show /sys/devices/system/cpu/cpufreq/boost
    show /sys/devices/system/cpu/smt/active
    show /proc/sys/kernel/numa_balancing
    show /proc/sys/kernel/perf_event_paranoid
    if command -v numactl >/dev/null; then numactl --hardware; else
        for file in /sys/devices/system/node/node*/cpulist; do show "$file"; done
    fi
    # In thousandths of a degree.
    for file in /sys/class/thermal/thermal_zone*/temp; do show "$file"; done
}

[ "$(uname)" = Linux ] || { echo "bench-linux: this is not Linux; on a Mac use scripts/bench-m1.sh" >&2 && exit 2; }
. "$(dirname "$0")/bench-suite.sh"
