#!/usr/bin/env bash
# What each strategy asks of caches and memory, for each token of output.
#
#     scripts/profile-memory.sh [MODEL]
#
# With perf where the processor's counters can be read. Otherwise with Valgrind's cachegrind, which simulates the caches: on
# the demo model, because it is fifty times slower, and with a last level of 512 KiB, so that the weights do not fit, as those of
# a large model do not fit a real one. Builds, and then takes nine minutes for each strategy at most.
set -euo pipefail
if [ $# -gt 0 ]; then
    [ -f "$1" ] || { echo "profile-memory: there is no model $1" >&2 && exit 2; }
    model=$(realpath "$1")
fi
cd "$(dirname "$0")/.."
. scripts/setup.sh
model=${model:-models/demo.gguf}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strategies="sequential round-robin batched"
users=8

can_count() {
    command -v perf >/dev/null && perf stat -x, -e instructions,cache-misses true 2>&1 | grep -q '^[0-9]'
}

# Tokens of output in a report of `bench`.
tokens() { sed -n 's/^ *"output_tokens": \([0-9]*\),$/\1/p' "$1" | head -n 1; }

with_perf() {
    local strategy events="instructions,cycles,cache-references,cache-misses,LLC-load-misses,dTLB-load-misses"
    cargo build --release --quiet -p llama-concurrent-cli
    for strategy in $strategies; do
        # Loading and warming up are in it; the requests are long enough to outweigh them.
        timeout 540 perf stat -x, -o "$work/perf" -e "$events" target/release/llama-concurrent bench chat --users $users \
            --repeats 1 --strategies "$strategy" --model "$model" --json "$work/report.json" >/dev/null
        awk -F, -v name="$strategy" -v tokens="$(tokens "$work/report.json")" '
            $1 ~ /^[0-9]/ { printf "| %s | %s | %.0f |\n", name, $3, $1 / tokens; if ($3 ~ /^cache-misses/) misses = $1 }
            END { printf "| %s | bytes of missed lines (without all that was prefetched) | %.0f |\n", name, misses * 64 / tokens }
        ' "$work/perf"
    done
}

with_cachegrind() {
    local strategy binary
    command -v valgrind >/dev/null || { echo "profile-memory: neither counters nor valgrind; install valgrind" >&2 && exit 1; }
    # Valgrind knows no AVX-512. The same build as that for the memory tests.
    case $(uname -m) in
    x86_64) RUSTFLAGS="-C target-cpu=x86-64-v3" CARGO_TARGET_DIR=target/x86-64-v3 cargo build --release --quiet -p llama-concurrent-cli
        binary=target/x86-64-v3/release/llama-concurrent ;;
    *) RUSTFLAGS="" CARGO_TARGET_DIR=target/portable cargo build --release --quiet -p llama-concurrent-cli
        binary=target/portable/release/llama-concurrent ;;
    esac
    for strategy in $strategies; do
        # One thread at a time, fairly: compute threads spin while they wait.
        timeout 540 valgrind --tool=cachegrind --cache-sim=yes --fair-sched=yes --LL=524288,16,64 \
            --cachegrind-out-file="$work/out" --log-file="$work/log" "$binary" bench strategies --sweep $users --threads 1 \
            --repeats 1 --strategies "$strategy" --model models/demo.gguf --json "$work/report.json" >/dev/null
        awk -F: -v name="$strategy" -v tokens="$(tokens "$work/report.json")" '
            /I +refs:|D +refs:|D1 +misses:|LLd misses:/ {
                what = $1; sub(/^==[0-9]+== */, "", what); gsub(/ +/, " ", what)
                count = $2; sub(/\(.*/, "", count); gsub(/[ ,]/, "", count)
                printf "| %s | %s | %.0f |\n", name, what, count / tokens
                if (what ~ /^LLd/) misses = count
            }
            END { printf "| %s | bytes from memory | %.0f |\n", name, misses * 64 / tokens }
        ' "$work/log"
    done
}

if can_count; then way=perf; else way=cachegrind; model=models/demo.gguf; fi
echo "With $way, $(basename "$model"), $users users; for each token of output, all that led to it included."
echo
echo "| strategy | what | per token |"
echo "|---|---|---|"
"with_$way"
