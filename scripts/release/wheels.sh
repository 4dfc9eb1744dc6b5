#!/usr/bin/env bash
# Builds a wheel that runs on many machines: it holds a native module for each of several kinds of CPU, and the package picks
# one when it is imported. Usage: scripts/release/wheels.sh [FOLDER], by default target/wheels/release. With OLDEST_ONLY set,
# only the module for the oldest kind, which every CPU that we support can run: for tests.
#
# The wheel fits Linux systems whose C library is at least as new as this one's, so build releases on an old one.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/setup.sh
mkdir -p "${1:-target/wheels/release}"
out=$(cd "${1:-target/wheels/release}" && pwd)
tools=$PWD/target/wheels/tools
parts=$PWD/target/wheels/parts

python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check "maturin>=1.9,<2" "wheel>=0.45"
rm -rf "$parts"
names=()

# build NAME RUSTFLAGS [OPTION...]: one wheel with the native module for one kind of CPU.
build() {
    local name=$1 flags=$2
    shift 2
    [ -z "${OLDEST_ONLY:-}" ] || [ ${#names[@]} -eq 0 ] || return 0
    names+=("$name")
    echo "wheels: building for $name" >&2
    RUSTFLAGS=$flags CARGO_TARGET_DIR=target/$name "$tools/bin/maturin" build --release --strip "$@" \
        --manifest-path bindings/python/Cargo.toml --interpreter python3 --out "$parts/$name"
}
# For a kind of CPU that this one need not be: where a target is named, the flags are not used for build scripts and macros,
# which run here.
elsewhere=(--target "$(rustc -vV | sed -n 's/^host: //p')")

case $(uname -s)-$(uname -m) in
Linux-x86_64)
    # AVX2, as of 2013; and AVX-512 with VNNI, as of 2019 (Intel Cascade Lake, AMD Zen 4). ggml takes its AVX-512 from this
    # variable, as the build script of the sys crate does not pass it on.
    build x86-64-v3 "-C target-cpu=x86-64-v3"
    GGML_AVX512=ON build avx512-vnni "-C target-cpu=x86-64-v4 -C target-feature=+avx512vnni" "${elsewhere[@]}"
    ;;
Linux-aarch64)
    # A file that cmake reads later than the sys crate's words gives ggml more than the instructions of ARMv8.0.
    build armv8 ""
    ARM_ARCH=armv8.2-a+dotprod CMAKE_PROJECT_INCLUDE=$PWD/scripts/release/arm-arch.cmake \
        build armv8-dotprod "-C target-feature=+dotprod" "${elsewhere[@]}"
    ;;
Darwin-*)
    # Every Apple M has what ggml uses. Not for "native", which would be the machine that builds.
    build macos ""
    ;;
*)
    echo "wheels: no kinds of CPU are known for $(uname -s) on $(uname -m)" >&2
    exit 1
    ;;
esac

# The first wheel gets the modules of all.
merged=$parts/merged
for name in "${names[@]}"; do
    "$tools/bin/python" -m wheel unpack --dest "$parts/unpacked-$name" "$parts/$name"/*.whl >/dev/null
    module=$(echo "$parts/unpacked-$name"/*/llama_concurrent/_native.*so)
    if [ ! -d "$merged" ]; then
        cp -R "$parts/unpacked-$name" "$merged"
        rm "$merged"/*/llama_concurrent/_native.*so
    fi
    # _native.abi3.so becomes _native.NAME.abi3.so
    cp "$module" "$(echo "$merged"/*/llama_concurrent)/_native.$name.${module##*/_native.}"
done
"$tools/bin/python" -m wheel pack --dest-dir "$out" "$merged"/* >/dev/null
ls -l "$out"/*.whl >&2
