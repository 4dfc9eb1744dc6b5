#!/usr/bin/env bash
# Data races: the C library's Rust side with the demo model, and the kernels, under the thread sanitizer. Needs a nightly Rust with
# rust-src (`rustup toolchain install nightly --component rust-src`); says so and does nothing where that is missing.
#
# The standard library is built anew with the sanitizer, because it cannot see through a plain one. llama.cpp itself is
# built without: its spinning barriers are its own, and the memory that Rust threads share is all on the Rust side. Where
# the kernels wait in ggml's barriers, they tell the sanitizer so (`races`).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

host=$(rustc -vV | sed -n 's/^host: //p')
source=$(rustc +nightly --print sysroot 2>/dev/null || true)/lib/rustlib/src/rust/library
if [ ! -d "$source" ]; then
    echo "test-races: SKIPPED: no nightly Rust with rust-src here" >&2
    exit 0
fi
# Its own folder, so that the builds do not replace each other.
log=target/races/log
mkdir -p target/races
export RUSTFLAGS="-Zsanitizer=thread -C target-cpu=native --cfg races"
export TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}"
check() {
    CARGO_TARGET_DIR=target/races cargo +nightly test -Zbuild-std --target "$host" --release "$@" | tee -a "$log"
}
: >"$log"
check --lib --package llama-concurrent-capi
# The kernels themselves, with up to eight threads.
[ "$(uname -m)" != x86_64 ] || check --test products --test attention --package llama-concurrent-kernels
grep -q '^test .* ok$' "$log" || { echo "test-races: no test ran" >&2; exit 1; }
echo "test-races: no races"
