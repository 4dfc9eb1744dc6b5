#!/usr/bin/env bash
# Installs what a build needs and sets up the environment of a build. Sourced by the other scripts; run alone, it
# only installs. Installs by apt or brew where it may, and otherwise says what to install. With SETUP_FOR_TESTS set, also
# what only the tests need.

missing() {
    local tool
    for tool in cmake c++ clang pkg-config; do
        command -v "$tool" >/dev/null || echo "$tool"
    done
    if [ -n "${SETUP_FOR_TESTS:-}" ] && [ "$(uname)" = Linux ]; then
        command -v valgrind >/dev/null || echo valgrind
    fi
    # bindgen loads libclang itself; the clang binary alone is not enough.
    if [ "$(uname)" = Linux ] && [ -z "${LIBCLANG_PATH:-}" ] && ! find /usr/lib /usr/lib64 /usr/local/lib -name 'libclang*.so*' 2>/dev/null | grep -q .; then
        echo libclang
    fi
    # pkg-config asks for libudev as well, which Debian's hwloc uses.
    if [ "$(uname)" = Linux ]; then
        [ -e /usr/include/hwloc.h ] || echo hwloc
        [ -e /usr/include/libudev.h ] || echo libudev
    elif command -v pkg-config >/dev/null; then
        pkg-config --exists hwloc || echo hwloc
    fi
}

install_missing() {
    local wanted
    wanted=$(missing | tr '\n' ' ')
    [ -z "$wanted" ] && return 0
    echo "setup: missing: $wanted" >&2
    if command -v apt-get >/dev/null; then
        local packages="build-essential cmake clang libclang-dev libhwloc-dev libudev-dev pkg-config ninja-build ccache${SETUP_FOR_TESTS:+ valgrind}"
        if [ "$(id -u)" = 0 ]; then
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >/dev/null
        elif sudo -n true 2>/dev/null; then
            sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >/dev/null
        else
            echo "setup: please run: sudo apt-get install $packages" >&2
            return 1
        fi
    elif command -v brew >/dev/null; then
        brew install cmake llvm hwloc ninja ccache pkg-config
    else
        echo "setup: please install cmake, a C++17 compiler, clang with libclang, pkg-config, and hwloc" >&2
        return 1
    fi
}

require_rust() {
    command -v cargo >/dev/null && return 0
    echo "setup: Rust is missing; install it with rustup (1.89 or newer), then run this again" >&2
    return 1
}

install_missing && require_rust || exit 1

# Faster builds where the tools are there; the results are the same. A change of these variables makes cargo build
# llama.cpp again, so a test that runs inside of cargo keeps those that it was called with.
if [ -z "${KEEP_BUILD_ENVIRONMENT:-}" ]; then
    if command -v ninja >/dev/null; then
        export CMAKE_GENERATOR=Ninja
    fi
    if command -v ccache >/dev/null; then
        export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
    fi
fi
# On a Mac llama.cpp would otherwise be built with its code for the GPU, which nothing here uses.
if [ "$(uname)" = Darwin ]; then
    export GGML_METAL=OFF
fi
# With it set, ggml is built for the oldest CPUs.
unset SOURCE_DATE_EPOCH
