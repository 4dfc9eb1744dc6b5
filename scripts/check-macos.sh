#!/usr/bin/env bash
# Has the compiler check all of our Rust code as it is for a Mac with an Apple processor, on a machine that is none: types and
# lints, of the tests and examples too. Nothing is linked and nothing runs. llama.cpp and hwloc are not built for macOS;
# llama.cpp's bindings are those of this system, which differ in nothing that we use.
#
# With zig, which brings Apple's C headers (pip install ziglang), our C++ files are compiled for macOS as well; without it they
# are passed over.
#
# Usage: scripts/check-macos.sh [TARGET]   by default aarch64-apple-darwin
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-aarch64-apple-darwin}
. scripts/setup.sh

rustup target list --installed | grep -qx "$target" || {
    echo "check-macos: please run: rustup target add $target" >&2
    exit 1
}

# The build of llama.cpp for this machine has the bindings, and the headers that our C++ files want.
echo "== llama.cpp on this machine" >&2
built=$(cargo check --release --quiet --package llama-concurrent --message-format json |
    sed -n 's/.*"reason":"build-script-executed".*"out_dir":"\([^"]*llama-cpp-sys-2-[^"]*\)".*/\1/p')
[ -f "$built/bindings.rs" ] || { echo "check-macos: no bindings of llama.cpp in '$built'" >&2 && exit 1; }

folder=$PWD/target/macos
mkdir -p "$folder"
# In place of what the build scripts of these crates would find out.
cat >"$folder/instead.toml" <<END
[target.$target.llama]
root = "$built"
rustc-env = { OUT_DIR = "$built" }
[target.$target.hwloc]
rustc-link-lib = ["hwloc"]
END

# In place of Apple's compiler: zig, or one that only leaves the file that is asked for.
zig=""
if command -v zig >/dev/null; then
    zig=zig
elif python3 -m ziglang version >/dev/null 2>&1; then
    zig="python3 -m ziglang"
fi
compiler=$folder/compiler
if [ -n "$zig" ]; then
    echo "== with C++ files, by zig $($zig version)" >&2
    printf '#!/bin/sh\nexec %s c++ -target %s-macos "$@"\n' "$zig" "${target%%-*}" >"$compiler"
else
    echo "== without C++ files: there is no zig" >&2
    cat >"$compiler" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    [ "$1" = -o ] && : >"$2"
    shift
done
END
fi
chmod +x "$compiler"
# What zig leaves when it is asked which compiler it is.
trap 'rm -f crates/*/a.o' EXIT
name=${target//-/_}
export "CC_$name=$compiler" "CXX_$name=$compiler" "AR_$name=ar"
# No options for Apple's own compiler, and no search for its headers.
export CRATE_CC_NO_DEFAULTS=1 SDKROOT=$folder
# For the Python module.
export PYO3_NO_PYTHON=1

CARGO_TARGET_DIR=$folder RUSTFLAGS="" cargo clippy --release --target "$target" --config "$folder/instead.toml" \
    --workspace --all-targets -- --deny warnings
echo "check-macos: $target is checked by the compiler; nothing ran" >&2
