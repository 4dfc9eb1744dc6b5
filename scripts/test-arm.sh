#!/usr/bin/env bash
# Builds everything for 64-bit ARM Linux on another machine, with the instructions of one kind of ARM CPU, and runs the demo,
# the commands, C programs and the tests in QEMU's emulation of such a CPU. It shows that the code is right for that CPU; it
# shows nothing of speed, and on x86 nothing of memory order, which is stricter there than on ARM. Half an hour on two cores.
#
# Usage: scripts/test-arm.sh [--cpu neoverse-n1|apple-m1] [--keep-log FILE]
#   --cpu           neoverse-n1 (servers such as Graviton 2; by default), or apple-m1 (Linux on a Mac)
#   --keep-log FILE write what was printed there, without the tests that are well
#
# Wants of Debian: g++-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static; of rustup: the target. hwloc is unpacked
# from the packages of arm64 where apt knows those (dpkg --add-architecture arm64 && apt-get update), and left out elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

cpu=neoverse-n1 log=
while [ $# -gt 0 ]; do
    case $1 in
    --cpu) cpu=${2:-} && shift ;;
    --keep-log) log=${2:-} && shift ;;
    *) echo "usage: scripts/test-arm.sh [--cpu neoverse-n1|apple-m1] [--keep-log FILE]" >&2 && exit 2 ;;
    esac
    shift
done
# The same instructions for Rust, for ggml, and in the emulation, where it knows that CPU.
case $cpu in
neoverse-n1) export ARM_ARCH=armv8.2-a+dotprod+fp16 && emulated=neoverse-n1 ;;
apple-m1) export ARM_ARCH=armv8.4-a+dotprod+fp16 && emulated=max ;;
*) echo "test-arm: --cpu is neoverse-n1 or apple-m1" >&2 && exit 2 ;;
esac

skip() {
    echo "test-arm: skipped: $1" >&2
    exit 0
}

triple=aarch64-unknown-linux-gnu
[ "$(uname -s)" = Linux ] || skip "this needs Linux"
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "QEMU is missing (Debian: qemu-user-static)"
command -v aarch64-linux-gnu-g++ >/dev/null || skip "the compiler is missing (Debian: g++-aarch64-linux-gnu, libc6-dev-arm64-cross)"
rustup target list --installed 2>/dev/null | grep -qx "$triple" || skip "please run: rustup target add $triple"
command -v cargo-nextest >/dev/null || skip "cargo-nextest is missing"
. scripts/setup.sh

folder=$PWD/target/arm64
[ "$cpu" = neoverse-n1 ] || folder=$folder-$cpu
root=$folder/sysroot
libraries=$root/usr/lib/aarch64-linux-gnu
mkdir -p "$folder/packages"
hwloc=yes
if [ ! -e "$libraries/libhwloc.so" ]; then
    (cd "$folder/packages" && apt-get download -qq libhwloc-dev:arm64 libhwloc15:arm64 libudev-dev:arm64 libudev1:arm64) \
        >/dev/null 2>&1 || hwloc=""
    [ -z "$hwloc" ] || for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
fi
# Of the command, the only one that knows hwloc.
features=(--features llama-concurrent-cli/hwloc)
[ -n "$hwloc" ] || features=(--no-default-features)

export CARGO_TARGET_DIR=$folder
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$qemu -cpu $emulated"
# With an underscore, which is the same for Rust: the sys crate would hand the name to gcc, which does not know all of them.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target_cpu=$cpu -C link-arg=-Wl,-rpath-link,$libraries"
export CMAKE_PROJECT_INCLUDE=$PWD/scripts/release/arm-arch.cmake
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
# What runs finds its libraries here.
built=$CARGO_TARGET_DIR/$triple/release
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu QEMU_SET_ENV=LD_LIBRARY_PATH=$built:$libraries QEMU_CPU=$emulated

packages=(-p llama-concurrent -p llama-concurrent-gguf -p llama-concurrent-gguf-synth -p llama-concurrent-kernels -p llama-concurrent-capi -p llama-concurrent-server
    -p llama-concurrent-bench -p llama-concurrent-cli)
# The C programs are compiled by the compiler of this machine, in those tests; here they are run below.
left_out='not binary(c_programs)'
# Millions of steps of the scheduler, and long texts under a grammar by two threads: much for an emulator.
left_out="$left_out and not test(two_thousand_requests_for_each_of_a_thousand_seeds) and not test(any_object_is_an_object)"
# The tests of the command start it as a process.
if ! grep -qs enabled /proc/sys/fs/binfmt_misc/qemu-aarch64; then
    left_out="$left_out and not (package(llama-concurrent-cli) and kind(test))"
    echo "test-arm: without the tests that start the command: this system does not start ARM programs by itself (binfmt_misc)" >&2
fi

emulate() { "$qemu" -cpu "$emulated" "$@"; }
step() { printf '\n== %s\n' "$*"; }
# Some lines of each, which is what the log is for.
run_all() {
    local program=$built/llama-concurrent failed=0 name
    step "the program: $(file -b "$program" 2>/dev/null | cut -d, -f1-3)"
    # Short, on one thread: those of ggml spin while they wait, which costs an emulator dearly.
    step "llama-concurrent demo"
    emulate "$program" demo --threads 1 --max-tokens 12 --no-table </dev/null || failed=1
    step "llama-concurrent run, two prompts"
    emulate "$program" run -p "Once upon a time" -p "A small boat" --max-tokens 24 --threads 2 --json --stats </dev/null || failed=1
    step "llama-concurrent run --reproducible, twice the same"
    for name in one two; do
        emulate "$program" run -p "Once upon a time" --max-tokens 24 --threads 1 --reproducible </dev/null >"$folder/$name.txt" || failed=1
    done
    cmp "$folder/one.txt" "$folder/two.txt" && echo same || failed=1
    step "llama-concurrent inspect"
    emulate "$program" inspect models/demo.gguf || failed=1
    step "llama-concurrent topology"
    emulate "$program" topology -m models/demo.gguf || failed=1

    step "C programs over libllama_concurrent.so"
    ln -sf libllama_concurrent.so "$built/libllama_concurrent.so.0"
    printf 'This is a text and not a model.\n' >"$folder/text.gguf"
    for name in examples/c/simple examples/c/concurrent examples/c/cancel crates/llama-concurrent-capi/tests/c/contract; do
        aarch64-linux-gnu-gcc -std=gnu11 -Wall -Wextra -Werror -Iinclude $name.c -o "$folder/$(basename $name)" -pthread \
            -L"$built" -lllama_concurrent || failed=1
    done
    mkdir -p "$folder/broken"
    : >"$folder/broken/empty.gguf"
    printf 'This is a text and not a model.\n' >"$folder/broken/text.gguf"
    head -c 400000 models/demo.gguf >"$folder/broken/cut.gguf"
    head -c 4096 /dev/zero >"$folder/broken/zeros.gguf"
    for name in simple concurrent cancel contract; do
        if emulate "$folder/$name" models/demo.gguf "$folder/broken" >"$folder/$name.txt" 2>&1; then
            echo "ok      $name: $(wc -l <"$folder/$name.txt") lines"
        else
            echo "FAILED  $name: $(tail -n 3 "$folder/$name.txt")"
            failed=1
        fi
    done

    step "tests: $left_out"
    cargo nextest run --release --target $triple "${packages[@]}" "${features[@]}" --no-fail-fast --status-level fail \
        --final-status-level slow -E "$left_out" 2>&1 | grep -v '^ *Compiling\|^$' || failed=1
    [ "$failed" = 0 ] && echo "test-arm: all is well on an emulated $cpu"
    return "$failed"
}

# With it the program, on which tests depend.
cargo nextest run --release --target $triple "${packages[@]}" "${features[@]}" --no-run
cargo build --release --target $triple -p llama-concurrent-capi
if [ -n "$log" ]; then
    {
        echo "# scripts/test-arm.sh --cpu $cpu: $("$qemu" --version | head -n 1), $(git rev-parse --short HEAD)"
        run_all 2>&1
    } | tee "$log"
else
    run_all
fi
