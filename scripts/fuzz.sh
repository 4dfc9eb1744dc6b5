#!/usr/bin/env bash
# Fuzzes what reads bytes from outside, each target for SECONDS_EACH seconds (15), beginning from fuzz/seeds and from what
# earlier runs found. An input that breaks a target is left in fuzz/artifacts and ends the script with an error:
#
#     scripts/fuzz.sh                                      gguf, template and constraint, as the tests do
#     SECONDS_EACH=600 scripts/fuzz.sh http pointers       those that need llama.cpp: it is built once more, for six minutes
#     scripts/fuzz.sh gguf fuzz/artifacts/gguf/crash-...   one input again
#
# The flags are those of cargo-fuzz, which can run the same targets; without a sanitizer they need no nightly Rust. The code is
# safe Rust but for the C library, whose target puts the end of memory behind each object that it passes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

[ "$(uname)" = Linux ] || { echo "fuzz: SKIPPED: only Linux has been tried" >&2; exit 0; }
seconds=${SECONDS_EACH:-15}
targets=() input=()
for argument; do
    if [ -f "$argument" ]; then input+=("$argument"); else targets+=("$argument"); fi
done
[ ${#targets[@]} -gt 0 ] || targets=(gguf template constraint)

host=$(rustc -vV | sed -n 's/^host: //p')
# The versions that are shipped.
cp Cargo.lock fuzz/Cargo.lock
# With --target the flags are not for build scripts.
export RUSTFLAGS="--cfg fuzzing -C codegen-units=1 -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table
    -C llvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$(echo $RUSTFLAGS)
for target in "${targets[@]}"; do
    case $target in http | pointers) features=engine ;; *) features= ;; esac
    cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --target "$host" \
        --bin "$target" --features "$features"
done
for target in "${targets[@]}"; do
    program=target/fuzz/$host/release/$target
    artifacts=fuzz/artifacts/$target/
    mkdir -p "fuzz/corpus/$target" "$artifacts"
    options=(-timeout=20 -rss_limit_mb=2048 -artifact_prefix="$artifacts")
    if [ ${#input[@]} -gt 0 ]; then
        "$program" "${options[@]}" "${input[@]}"
        continue
    fi
    dictionary=fuzz/dictionaries/$target
    [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
    options+=(-max_total_time="$seconds" -max_len=8192 -verbosity=0 -print_final_stats=1)
    echo "fuzz: $target for $seconds s"
    if ! "$program" "${options[@]}" "fuzz/corpus/$target" "fuzz/seeds/$target" >"fuzz/corpus/$target.log" 2>&1; then
        tail -n 40 "fuzz/corpus/$target.log" >&2
        echo "fuzz: $target FAILED; the input is in $artifacts" >&2
        exit 1
    fi
    grep -E 'number_of_executed_units|peak_rss_mb' "fuzz/corpus/$target.log" | sed 's/^/    /'
done
