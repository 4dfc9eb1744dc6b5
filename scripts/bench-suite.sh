# All workloads and the sweep over users and strategies, for bench-linux.sh and bench-m1.sh, which describe the machine
# before they source this. One archive comes out, to attach to a report.
#
# Expects: describe_machine (a function), "$@".

usage() {
    cat >&2 <<END
usage: $(basename "$0") [--quick] [--model FILE] [--out FILE.tar.gz]
  --quick    short texts, few users, one run of each: to see that everything works, and a first impression
  --model    a GGUF file; without it, one in the shape of TinyLlama 1.1B (q4_0, random weights) is made
  --out      the archive; without it, bench-MACHINE-DATE.tar.gz in the present folder
END
    exit 2
}

quick="" model="" out=""
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    --model)
        [ -f "${2:-}" ] || { echo "$(basename "$0"): --model needs a file; there is none called '${2:-}'" >&2 && exit 2; }
        model=$(realpath "$2")
        shift
        ;;
    --out) out=${2:?--out needs a file} && shift ;;
    *) usage ;;
    esac
    shift
done
out=${out:-bench-$(uname -n)-$(date +%Y%m%d-%H%M%S).tar.gz}
case $out in /*) ;; *) out=$PWD/$out ;; esac

cd "$(dirname "$0")/.."
. scripts/setup.sh
if [ -n "$quick" ]; then
    limit=240 sweep=1,4,16 load="--users 4 --requests 2 --scale 0.2 --repeats 1" repeats=1
else
    limit=3600 sweep=1,2,4,8,16,20,32 load="--users 8 --requests 3 --repeats 3" repeats=3
fi
workloads="chat rag mixed-stall shared-prefix offline agents"
count=$(($(echo "$workloads" | wc -w) + 1))
echo "Builds (some minutes the first time), then $count measurements of at most $((limit / 60)) minutes each:" \
    "at most $((count * limit / 60)) minutes in all. One that takes longer is ended, and the archive says so." >&2
# BENCH_BINARY: one that was built elsewhere, where this machine has no compiler.
binary=${BENCH_BINARY:-target/release/llama-concurrent}
[ -n "${BENCH_BINARY:-}" ] || cargo build --release -p llama-concurrent-cli

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=$(basename "$out" .tar.gz)
report=$work/$name
mkdir "$report"
if [ -z "$model" ]; then
    model=$work/tinyllama-1.1b-q4_0.gguf
    "$binary" synth --preset tinyllama-1.1b --type q4_0 --output "$model" >&2
fi
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || commit="$commit, with changes"
{
    echo "commit: $commit"
    echo "model: $(basename "$model")"
    echo "date: $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "load before: $(uptime)"
    # What a machine does not tell is no reason to stop.
    describe_machine || true
} >"$report/machine.txt" 2>&1

# Ends a command after a time, also where there is no timeout(1), as on macOS.
limited() {
    local seconds=$1 command watch code=0
    shift
    "$@" &
    command=$!
    (sleep "$seconds" && kill "$command") 2>/dev/null &
    watch=$!
    wait "$command" || code=$?
    # With its sleep.
    pkill -P "$watch" 2>/dev/null || true
    kill "$watch" 2>/dev/null || true
    wait "$watch" 2>/dev/null || true
    return "$code"
}

measure() {
    local what=$1 code=0
    shift
    echo "== $what" >&2
    limited "$limit" "$binary" bench "$@" --model "$model" \
        --json "$report/$what.json" --html "$report/$what.html" >"$report/$what.md" 2>"$report/$what.log" || code=$?
    if [ "$code" -ne 0 ]; then
        echo "$what: exit code $code (143: longer than $limit s); see $what.log" | tee -a "$report/failed.txt" >&2
    fi
    cat "$report/$what.md" >&2
}

# shellcheck disable=SC2086
for workload in $workloads; do
    measure "$workload" "$workload" $load --strategies round-robin,batched
done
# shellcheck disable=SC2046
measure strategies strategies --sweep $sweep --repeats $repeats $([ -z "$quick" ] || echo --scale 0.25)
{
    echo "load after: $(uptime)"
    # What a machine does not tell is no reason to stop.
    describe_machine || true
} >"$report/machine-after.txt" 2>&1

tar -czf "$out" -C "$work" "$name"
echo "Written: $out ($(du -h "$out" | cut -f1)). It holds the machine's description, tables, JSON and pages; look before you share." >&2
[ ! -e "$report/failed.txt" ]
