#!/usr/bin/env bash
# This engine beside llama-server, on this machine: the same loads for both, taking turns.
#
#   scripts/baseline.sh [MODEL]                   by default the shape of TinyLlama 1.1B in Q4_0 with random weights
#   WORKLOADS="chat rag" USERS=16 scripts/baseline.sh model.gguf
#   WORKLOADS="shared-prefix rag agents offline" BRIEF=1 scripts/baseline.sh     at most some 4 minutes each
#   SERVER=.../llama-server scripts/baseline.sh                                  one that was built before
#
# llama-server is built for this machine from the llama.cpp sources that the Python package llama-cpp-python carries, and
# runs with its defaults and with smaller batches (-b 128 -ub 128), which its users set against stalls. Writes
# docs/benchmarks/DATE-MACHINE.md, or -2.md and so on where that is there. Takes up to an hour with the 1.1B model on two
# cores, the building some minutes of it. BRIEF: two runs of shorter texts, so that a workload takes about 4 minutes there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

version=${LLAMA_CPP_PYTHON:-0.3.36}
users=${USERS:-16}
requests=${REQUESTS:-$([ -n "${BRIEF:-}" ] && echo 1 || echo 2)}
repeats=${REPEATS:-$([ -n "${BRIEF:-}" ] && echo 2 || echo 3)}
workloads=${WORKLOADS:-chat mixed-stall shared-prefix}
# One that takes longer than this is given up, in seconds; the next goes on.
limit=${LIMIT:-$([ -n "${BRIEF:-}" ] && echo 420 || echo 3600)}
threads=${THREADS:-$(if command -v lscpu >/dev/null; then lscpu --parse=CORE | grep -vc '^#'; else sysctl -n hw.perflevel0.physicalcpu; fi)}
port=${PORT:-18080}
folder=$PWD/target/baseline
server=${SERVER:-$folder/build/bin/llama-server}
program=target/release/llama-concurrent

mkdir -p "$folder" docs/benchmarks
cargo build --release --package llama-concurrent-cli
if [ ! -x "$server" ]; then
    python3 -m pip download --quiet --no-binary :all: --no-deps --dest "$folder" "llama-cpp-python==$version"
    tar -xzf "$folder"/llama_cpp_python-"$version".tar.gz -C "$folder"
    cmake -S "$folder/llama_cpp_python-$version/vendor/llama.cpp" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release \
        -DGGML_NATIVE=ON -DGGML_METAL=OFF -DGGML_OPENMP=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF >"$folder/cmake.log"
    cmake --build "$folder/build" --target llama-server --parallel "$(getconf _NPROCESSORS_ONLN)" >>"$folder/cmake.log"
fi
model=${1:-$folder/tinyllama-q4_0.gguf}
if [ ! -e "$model" ]; then
    "$program" synth --preset tinyllama-1.1b --type q4_0 --output "$model"
fi

running=()
stop() {
    for process in ${running[@]+"${running[@]}"}; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    running=()
}
trap stop EXIT

# start PORT N_CTX FLAGS...: a server with a slot for each user.
start() {
    local at=$1 n_ctx=$2
    shift 2
    "$server" --model "$model" --host 127.0.0.1 --port "$at" --threads "$threads" --parallel "$users" \
        --ctx-size $((users * n_ctx)) --no-webui "$@" >"$folder/server-$at.log" 2>&1 &
    running+=($!)
    local tries
    for tries in $(seq 120); do
        # It answers 503 while it loads.
        if curl --silent --fail "http://127.0.0.1:$at/health" >/dev/null; then return; fi
        kill -0 "$!" 2>/dev/null || break
        sleep 1
    done
    echo "baseline: llama-server does not start; see $folder/server-$at.log" >&2
    exit 1
}

# Ends a command after the limit, where there is a timeout(1), as macOS has none.
limited() {
    if command -v timeout >/dev/null; then timeout "$limit" "$@"; else "$@"; fi
}

cpu=$(lscpu 2>/dev/null | sed -n 's/^Model name: *//p' | head -n 1 || sysctl -n machdep.cpu.brand_string)
slug=$(echo "$cpu" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-//; s/-$//')
report=docs/benchmarks/$(date +%F)-$slug.md
for number in $(seq 2 99); do
    [ -e "$report" ] || break
    report=docs/benchmarks/$(date +%F)-$slug-$number.md
done
{
    echo "# Beside llama-server, $(date +%F)"
    echo
    echo "- Machine: $cpu, $threads threads; load before the start: $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || uptime)."
    echo "- Engine: commit $(git rev-parse --short HEAD 2>/dev/null), $users slots."
    origin="llama-cpp-python $version, built natively"
    [ -z "${SERVER:-}" ] || origin="a build that was given"
    echo "- llama-server: from $origin; $("$server" --version 2>&1 | sed -n 's/^version: //p')."
    echo "  Flags: --threads $threads --parallel $users --ctx-size $users x slot; \"small batches\" also -b 128 -ub 128."
    echo "- Command: \`${BRIEF:+BRIEF=1 }WORKLOADS=\"$workloads\" USERS=$users REQUESTS=$requests REPEATS=$repeats scripts/baseline.sh\`."
    echo
    echo "The engine is called in the benchmark's process, as it is meant to be used; llama-server by HTTP on loopback."
    echo "Ratios are taken pair by pair: above 1 in tok/s, and below 1 in times, is better for the engine."
} >"$report"
for workload in $workloads; do
    # How long texts are, so that two runs of each contestant fit into the time.
    scale=${SCALE:-1} turns=$requests
    if [ -n "${BRIEF:-}" ] && [ -z "${SCALE:-}" ]; then
        case $workload in rag | mixed-stall) scale=0.3 ;; shared-prefix | agents) scale=0.5 ;; *) scale=0.75 ;; esac
    fi
    # A conversation of one turn is none.
    if [ "$workload" = agents ] && [ "$turns" -lt 2 ]; then turns=2; fi
    # Room for any request of it.
    case $workload in rag | mixed-stall | agents) n_ctx=2048 ;; offline) n_ctx=1280 ;; *) n_ctx=1024 ;; esac
    start "$port" "$n_ctx"
    start $((port + 1)) "$n_ctx" -b 128 -ub 128
    {
        echo
        echo "## $workload"
        echo
        limited "$program" bench "$workload" --model "$model" --threads "$threads" --users "$users" --requests "$turns" \
            --scale "$scale" --repeats "$repeats" --n-ctx "$n_ctx" --json "$folder/$workload.json" \
            --compare "llama-server=http://127.0.0.1:$port" \
            --compare "llama-server, small batches=http://127.0.0.1:$((port + 1))" ||
            echo "Some requests failed, or it took longer than $limit seconds; see above."
    } | tee -a "$report"
    stop
done
echo "baseline: $report" >&2
