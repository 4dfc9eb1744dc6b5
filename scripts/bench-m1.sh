#!/usr/bin/env bash
# The whole benchmark on a Mac: scripts/bench-m1.sh [--quick] [--model FILE] [--out FILE.tar.gz]
#
# For figures that can be compared: on mains power, low power mode off, other programs closed. A laptop without a fan gets
# warm and slow after some minutes, which pmset shows as a CPU_Speed_Limit below 100; the description is taken before and after.
set -euo pipefail

describe_machine() {
    local key
    echo "system: $(uname -srm), macOS $(sw_vers -productVersion)"
    # perflevel0 are the performance cores, perflevel1 the efficient ones.
    for key in machdep.cpu.brand_string hw.model hw.memsize hw.pagesize hw.ncpu \
        hw.perflevel0.physicalcpu hw.perflevel0.l2cachesize hw.perflevel1.physicalcpu hw.perflevel1.l2cachesize; do
        echo "$key: $(sysctl -n "$key" 2>/dev/null || echo '(not told)')"
    done
    echo "power and low power mode:"
    pmset -g batt 2>/dev/null | head -2 || true
    pmset -g 2>/dev/null | grep -iE 'powermode|lowpowermode' || echo "(not told)"
    echo "heat:"
    pmset -g therm 2>/dev/null || echo "(not told)"
    memory_pressure -Q 2>/dev/null || true
}

[ "$(uname)" = Darwin ] || { echo "bench-m1: this is not macOS; on Linux use scripts/bench-linux.sh" >&2 && exit 2; }
. "$(dirname "$0")/bench-suite.sh"
