#!/usr/bin/env bash
# Builds the C library and installs it under PREFIX (default /usr/local): library, header, pkg-config and CMake files.
#
#     scripts/install.sh [PREFIX]
#
# DESTDIR, if set, goes before PREFIX, for packagers. The library uses all instructions of this machine: build it on the
# kind of machine that it will run on, or set RUSTFLAGS="-C target-cpu=x86-64-v3" for one that runs on any with AVX2.
set -euo pipefail

case "${1:-}" in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "install: unknown option $1; usage: scripts/install.sh [PREFIX]" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "install: too many arguments; usage: scripts/install.sh [PREFIX]" >&2; exit 2; }
prefix=${1:-/usr/local}
case "$prefix" in
    /*) ;;
    *) prefix=$PWD/$prefix ;;
esac
root=${DESTDIR:-}$prefix

cd "$(dirname "$0")/.."
mkdir -p "$root" 2>/dev/null && [ -w "$root" ] || {
    echo "install: cannot write to $root; choose another PREFIX, such as ~/.local, or use sudo" >&2
    exit 1
}
. scripts/setup.sh

cargo build --release --quiet --package llama-concurrent-capi
built=${CARGO_TARGET_DIR:-target}/release
templates=crates/llama-concurrent-capi/install

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
if [ "$(uname)" = Darwin ]; then
    built_file=libllama_concurrent.dylib
    shared_file=libllama_concurrent.$version.dylib
    soname=libllama_concurrent.$major.dylib
    static_libs="-lc++ -framework Accelerate -framework Foundation"
else
    built_file=libllama_concurrent.so
    shared_file=libllama_concurrent.so.$version
    soname=libllama_concurrent.so.$major
    static_libs="-lstdc++ -lgcc_s -lpthread -ldl -lm -lc"
fi

# Replaced as a whole, so that a program that runs with the old one keeps it.
place() {
    mkdir -p "$(dirname "$2")"
    cmp -s "$1" "$2" && return 0
    install -m "$3" "$1" "$2.new" && mv -f "$2.new" "$2"
}

fill() {
    mkdir -p "$(dirname "$2")"
    sed -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|$major|g" -e "s|@MINOR@|$minor|g" \
        -e "s|@SHARED_FILE@|$shared_file|g" -e "s|@SHARED_SONAME@|$soname|g" \
        -e "s|@STATIC_LIBS@|$3|g" "$templates/$1.in" >"$2.new"
    mv -f "$2.new" "$2"
}

place "$built/$built_file" "$root/lib/$shared_file" 755
place "$built/libllama_concurrent.a" "$root/lib/libllama_concurrent.a" 644
ln -sfn "$shared_file" "$root/lib/$soname"
ln -sfn "$soname" "$root/lib/$built_file"
place include/llama_concurrent.h "$root/include/llama_concurrent.h" 644
fill llama_concurrent.pc "$root/lib/pkgconfig/llama_concurrent.pc" "$static_libs"
fill llama_concurrent-config.cmake "$root/lib/cmake/llama_concurrent/llama_concurrent-config.cmake" "${static_libs// /;}"
fill llama_concurrent-config-version.cmake "$root/lib/cmake/llama_concurrent/llama_concurrent-config-version.cmake" ""

# So that the dynamic linker finds it at once where PREFIX is a standard place.
if [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && [ -z "${DESTDIR:-}" ]; then
    ldconfig 2>/dev/null || true
fi

cat >&2 <<END
install: libllama_concurrent $version is in $root
install: if that is not a standard place, tell the tools:
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig CMAKE_PREFIX_PATH=$prefix
    cc program.c -o program \$(pkg-config --cflags --libs llama_concurrent) -Wl,-rpath,$prefix/lib
END
