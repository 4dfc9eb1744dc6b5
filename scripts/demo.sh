#!/usr/bin/env bash
# Builds everything and shows it: eight texts that grow together, then a table of strategies.
# Arguments go to `llama-concurrent demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

echo "demo: building (the first time, llama.cpp takes some minutes)" >&2
cargo build --release --package llama-concurrent-cli
exec target/release/llama-concurrent demo "$@"
