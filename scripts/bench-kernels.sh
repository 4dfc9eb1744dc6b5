#!/usr/bin/env bash
# Times whole decodes without the kernels and with them, in turn, and prints the medians in tokens per second.
# Usage: scripts/bench-kernels.sh MODEL [ROUNDS [CONTEXT...]], by default 3 rounds with 16 and 512 tokens of context.
# KERNELS names what is compared with ggml alone ("auto", "avx2"). With RUSTFLAGS="-C target-cpu=x86-64-v3" and
# CARGO_TARGET_DIR=target/x86-64-v3 both are built for AVX2. Other load on the machine spoils it: half of it waits in barriers.
set -euo pipefail
model=$(realpath "${1:?usage: bench-kernels.sh MODEL [ROUNDS [CONTEXT...]]}")
rounds=${2:-3}
shift $(($# < 2 ? $# : 2))
cd "$(dirname "$0")/.."
. scripts/setup.sh
cargo build --release --quiet -p llama-concurrent-kernels --example decode
decode=${CARGO_TARGET_DIR:-target}/release/examples/decode
for _ in $(seq "$rounds"); do
    for kernels in off "${KERNELS:-auto}"; do
        LLAMA_CONCURRENT_KERNELS=$kernels "$decode" "$model" ${@:-16 512} 2>/dev/null | sed -n "s/ tok\/s$//; s/^prefill/$kernels prefill/p; s/^context/$kernels context/p"
    done
done | awk '
    # One value for each name and number of sequences.
    { name = $1 " " $2 " " $3
      if (NF == 4) { add(name, $4) } else { for (i = 4; i < NF; i += 2) add(name " " $i, $(i + 1)) } }
    function add(name, value) { if (!(name in count)) order[++names] = name; values[name, ++count[name]] = value }
    END { for (n = 1; n <= names; n++) { name = order[n]; c = count[name]
        for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (values[name, j] < values[name, i]) {
            t = values[name, i]; values[name, i] = values[name, j]; values[name, j] = t }
        printf "%-28s %s\n", name, values[name, int((c + 1) / 2)] } }'
