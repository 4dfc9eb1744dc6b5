#!/usr/bin/env bash
# Boots a machine with two NUMA nodes of two CPUs each, in software (QEMU without hardware help), and runs the engine in it: are
# there two workers, each kept on its node, with weights and KV in the memory of that node? Some minutes, most of them for
# the build. The guest's own words are what it prints.
#
# Usage: scripts/numa-vm-test.sh [--if-possible] [--keep-log FILE]
#   --if-possible   end well, with a word about it, where QEMU or a kernel cannot be had, or nothing is built for a plain CPU
#   --keep-log FILE write what the guest printed there
set -euo pipefail
cd "$(dirname "$0")/.."

must=yes log=
while [ $# -gt 0 ]; do
    case $1 in
    --if-possible) must= ;;
    --keep-log) log=$2 && shift ;;
    *) echo "usage: scripts/numa-vm-test.sh [--if-possible] [--keep-log FILE]" >&2 && exit 2 ;;
    esac
    shift
done

skip() {
    echo "numa-vm: skipped: $1" >&2
    [ -z "$must" ] || exit 1
    exit 0
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "this needs Linux on x86-64"
for tool in qemu-system-x86_64 busybox; do
    command -v "$tool" >/dev/null || skip "$tool is missing (Debian: qemu-system-x86, busybox-static)"
done
file -L "$(command -v busybox)" 2>/dev/null | grep -q "dynamically" && skip "busybox must be the static one (Debian: busybox-static)"

folder=target/numa-vm
mkdir -p "$folder"

# A kernel with NUMA and a serial line: Debian's for clouds, unpacked and not installed.
find_kernel() { find "$folder/kernel/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1; }
if [ -z "$(find_kernel)" ]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "Debian's tools are needed to get a kernel"
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] || skip "apt does not know linux-image-cloud-amd64"
    (cd "$folder" && apt-get download -qq "$package" 2>/dev/null) || skip "the kernel $package cannot be downloaded"
    dpkg-deb -x "$folder/$package"_*.deb "$folder/kernel"
fi
kernel=$(find_kernel)
[ -n "$kernel" ] || skip "no kernel in the package"

# QEMU emulates AVX2 at most, so this is the build for such CPUs that the wheels have, too.
target=target/x86-64-v3
if [ -z "$must" ] && ! compgen -G "$target/release/build/llama-cpp-sys-2-*/out/lib*" >/dev/null; then
    skip "llama.cpp is not built for plain CPUs yet; scripts/numa-vm-test.sh without --if-possible does so"
fi
. scripts/setup.sh
RUSTFLAGS="-C target-cpu=x86-64-v3" CARGO_TARGET_DIR=$target \
    cargo build --release --quiet --package llama-concurrent-cli --no-default-features
program=$target/release/llama-concurrent

root=$folder/root
rm -rf "$root"
mkdir -p "$root"/{bin,proc,sys,dev,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
cp scripts/numa-vm/init.sh "$root/init"
cp "$program" "$root/bin/llama-concurrent"
cp models/demo.gguf "$root/demo.gguf"
# The loader and the libraries that the program asks for, where it asks for them.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) > "$folder/initramfs.gz"

output=$folder/output.txt
timeout 420 qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 4,sockets=2,cores=2,threads=1 -m 2G \
    -object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G \
    -numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1 -numa dist,src=0,dst=1,val=21 \
    -kernel "$kernel" -initrd "$folder/initramfs.gz" -append "console=ttyS0 quiet panic=-1" \
    -display none -monitor none -serial stdio -no-reboot -nic none </dev/null 2>"$folder/qemu.txt" |
    sed -u 's/\r//g; s/\x1b[^a-zA-Z]*[a-zA-Z]//g' | tee "$output" || true

if [ -n "$log" ]; then
    {
        echo "# scripts/numa-vm-test.sh: $(qemu-system-x86_64 --version | head -n 1), kernel ${kernel##*vmlinuz-}, $(git rev-parse --short HEAD)"
        cat "$output"
    } > "$log"
fi
grep -q '^NUMA-VM: all checks passed' "$output" || { echo "numa-vm: failed; see $output and $folder/qemu.txt" >&2; exit 1; }
