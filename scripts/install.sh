#!/usr/bin/env bash
# Builds the C library and installs it under PREFIX (default /usr/local): library, header, pkg-config and CMake files.
#
#     scripts/install.sh [PREFIX]
#
# LIBDIR (default lib) is the folder for libraries below PREFIX, such as lib64. DESTDIR, if set, goes before PREFIX, for
# packagers. The library uses all instructions of this machine: build it on the kind of machine that it will run on, or
# set RUSTFLAGS="-C target-cpu=x86-64-v3" for one that runs on any with AVX2.
set -euo pipefail

usage="usage: [LIBDIR=lib] [DESTDIR=] scripts/install.sh [PREFIX]"
case "${1:-}" in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "install: unknown option $1; $usage" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "install: too many arguments; $usage" >&2; exit 2; }

absolute() {
    case "$1" in
        /*) echo "$1" ;;
        *) echo "$PWD/$1" ;;
    esac
}
prefix=$(absolute "${1:-/usr/local}")
libdir=${LIBDIR:-lib}
root=${DESTDIR:+$(absolute "$DESTDIR")}$prefix

cd "$(dirname "$0")/.."
mkdir -p "$root" 2>/dev/null && [ -w "$root" ] || {
    echo "install: cannot write to $root; choose another PREFIX, such as ~/.local," >&2
    echo "install: or keep your Rust for root: sudo env \"PATH=\$PATH\" \"HOME=\$HOME\" scripts/install.sh $prefix" >&2
    exit 1
}
. scripts/setup.sh

cargo build --release --quiet --package llama-concurrent-capi
built=${CARGO_TARGET_DIR:-target}/release
templates=crates/llama-concurrent-capi/install

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
major=${version%%.*}
# Of the shared file: its name, what programs ask for, what the linker looks for. Then what the static one needs.
if [ "$(uname)" = Darwin ]; then
    shared_file=libllama_concurrent.$version.dylib
    asked_file=libllama_concurrent.$major.dylib
    linked_file=libllama_concurrent.dylib
    soname=@rpath/$asked_file
    static_libs="-lc++ -framework Accelerate -framework Foundation"
    static_libs_cmake="-lc++;-framework Accelerate;-framework Foundation"
else
    shared_file=libllama_concurrent.so.$version
    asked_file=libllama_concurrent.so.$major
    linked_file=libllama_concurrent.so
    soname=$asked_file
    static_libs="-lstdc++ -lpthread -ldl -lm"
    static_libs_cmake="-lstdc++;-lpthread;-ldl;-lm"
fi

# Replaced as a whole, so that a program that runs with the old one keeps it.
place() {
    cmp -s "$1" "$2" && return 0
    install -m "$3" "$1" "$2.new" && mv -f "$2.new" "$2"
}

# fill NAME FOLDER STATIC_LIBS: a template, with the way from FOLDER up to the prefix.
fill() {
    local up filled
    up=$(printf '%s' "$2" | sed 's|[^/][^/]*|..|g')
    filled=$(sed -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|$major|g" -e "s|@UP@|$up|g" -e "s|@LIBDIR@|$libdir|g" \
        -e "s|@SHARED_FILE@|$shared_file|g" -e "s|@SHARED_SONAME@|$soname|g" -e "s|@STATIC_LIBS@|$3|g" \
        "$templates/$1.in")
    # Not by install(1): that of macOS takes no pipe.
    printf '%s\n' "$filled" >"$root/$2/$1.new"
    chmod 644 "$root/$2/$1.new"
    mv -f "$root/$2/$1.new" "$root/$2/$1"
}

install -d -m 755 "$root/include" "$root/$libdir/pkgconfig" "$root/$libdir/cmake/llama_concurrent"
place "$built/$linked_file" "$root/$libdir/$shared_file" 755
place "$built/libllama_concurrent.a" "$root/$libdir/libllama_concurrent.a" 644
ln -sfn "$shared_file" "$root/$libdir/$asked_file"
ln -sfn "$asked_file" "$root/$libdir/$linked_file"
place include/llama_concurrent.h "$root/include/llama_concurrent.h" 644
fill llama_concurrent.pc "$libdir/pkgconfig" "$static_libs"
fill llama_concurrent-config.cmake "$libdir/cmake/llama_concurrent" "$static_libs_cmake"
fill llama_concurrent-config-version.cmake "$libdir/cmake/llama_concurrent" ""

# So that the dynamic linker finds it at once where PREFIX is a standard place.
if [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && [ -z "${DESTDIR:-}" ]; then
    ldconfig 2>/dev/null || true
fi

cat >&2 <<END
install: libllama_concurrent $version is in $root
install: if that is not a standard place, tell the tools:
    export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig CMAKE_PREFIX_PATH=$prefix
    cc program.c -o program \$(pkg-config --cflags --libs llama_concurrent) -Wl,-rpath,$prefix/$libdir
END
