#!/usr/bin/env bash
# Memory errors and leaks: the contract test of the C library under Valgrind.
#
# Valgrind does not know AVX-512, so the library is built once more, for CPUs with AVX2 (x86-64-v3). The test under the
# address sanitizer needs no other library; it is one of the ordinary tests.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

if ! command -v valgrind >/dev/null; then
    echo "test-memory: SKIPPED: no valgrind here" >&2
    exit 0
fi
out=$PWD/target/memory
prefix=$out/prefix
mkdir -p "$prefix" "$out/models"
# The same build as that for the Python wheels.
case $(uname -m) in
x86_64) RUSTFLAGS="-C target-cpu=x86-64-v3" CARGO_TARGET_DIR=target/x86-64-v3 scripts/install.sh "$prefix" ;;
*) RUSTFLAGS="" CARGO_TARGET_DIR=target/portable scripts/install.sh "$prefix" ;;
esac

: >"$out/models/empty.gguf"
echo "This is a text and not a model." >"$out/models/text.gguf"
head -c 700000 models/demo.gguf >"$out/models/cut.gguf"
head -c 4096 /dev/zero >"$out/models/zeros.gguf"

cc -std=gnu11 -g -O1 crates/llama-concurrent-capi/tests/c/contract.c -o "$out/contract" -pthread \
    -I"$prefix/include" -L"$prefix/lib" -lllama_concurrent -Wl,-rpath,"$prefix/lib"

# One thread at a time, fairly: the compute threads spin, and would never let go of the one core that Valgrind simulates.
check="valgrind --quiet --fair-sched=yes --error-exitcode=99
    --suppressions=crates/llama-concurrent-capi/tests/c/valgrind.supp"
tests=$(sed -n 's/^ *TEST(\(.*\)),$/\1/p' crates/llama-concurrent-capi/tests/c/contract.c)
[ -n "$tests" ] || { echo "test-memory: no tests found in contract.c" >&2; exit 1; }
# Not "possibly lost": Rust's reference-counted blocks are pointed to in their middle, and those of the main thread and of
# statics live to the end. A leak of ours is definitely lost, and the address sanitizer looks too.
# shellcheck disable=SC2086
$check --leak-check=full --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect \
    "$out/contract" models/demo.gguf "$out/models" $tests
# What exits without freeing leaves memory behind on purpose.
$check --leak-check=no "$out/contract" models/demo.gguf "$out/models" exit_with_requests_under_way
echo "test-memory: no errors, no leaks"
