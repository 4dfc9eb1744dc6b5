#!/usr/bin/env bash
# All tests: format, lints, unit and integration tests, documentation, examples, the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
SETUP_FOR_TESTS=1
. scripts/setup.sh

step() { printf '\n== %s\n' "$*"; }

# One profile for everything: ggml is never built twice, and never without optimisation.
step format
cargo fmt --all --check
rustfmt --edition 2024 --check fuzz/build.rs fuzz/capi/build.rs fuzz/fuzz_targets/*.rs

step lints
cargo clippy --release --workspace --all-targets -- --deny warnings

step dependencies
if command -v cargo-deny >/dev/null; then
    cargo deny --all-features check bans licenses sources
    if cargo deny fetch db 2>/dev/null; then
        cargo deny --all-features check --disable-fetch advisories
    else
        echo "deny: SKIPPED: advisories, whose database cannot be reached" >&2
    fi
else
    echo "deny: SKIPPED: no cargo-deny here" >&2
fi

step "binary, C library and examples"
cargo build --release --workspace
cargo build --release --workspace --examples
for example in examples/rust/*.rs; do
    target/release/examples/"$(basename "$example" .rs)" models/demo.gguf >/dev/null
done

step demo
target/release/llama-concurrent demo </dev/null | tail -n 14

step documentation
RUSTDOCFLAGS="--deny warnings" cargo doc --release --workspace --no-deps --quiet
cargo test --release --workspace --doc --quiet

step "scripts and training code"
for script in scripts/*.sh scripts/release/*.sh .ci/run; do bash -n "$script"; done
if command -v python3 >/dev/null; then
    python3 -c 'import ast, sys
for name in sys.argv[1:]: ast.parse(open(name).read(), name)' scripts/demo-model/*.py
    step "Python module over the C library"
    python3 -m unittest discover --start-directory bindings/python-ctypes
fi

step "the book"
if command -v python3 >/dev/null; then
    scripts/check-docs.py
else
    echo "check-docs: SKIPPED: no python3 here" >&2
fi
if command -v mdbook >/dev/null; then
    mdbook build docs
else
    echo "the book: SKIPPED: no mdbook here (cargo install mdbook)" >&2
fi

step tests
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --release --workspace
else
    cargo test --release --workspace --lib --bins --tests
fi

step "Python package"
scripts/test-python.sh

step "server and its clients"
scripts/test-server.sh

step fuzzing
scripts/fuzz.sh

step memory
scripts/test-memory.sh

step races
scripts/test-races.sh

# The kinds of builds of the wheel are there by now, and the emulated machine is one of those.
step "two NUMA nodes"
timeout 600 scripts/numa-vm-test.sh --if-possible
