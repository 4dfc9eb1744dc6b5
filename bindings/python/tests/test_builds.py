"""Which native module is taken, on CPUs that are made up and on this one."""

import os
import subprocess
import sys
from pathlib import Path

import llama_concurrent
import pytest
from llama_concurrent import _builds

AVX2 = ["avx", "avx2", "bmi2", "f16c", "fma"]
AVX512 = [*AVX2, "avx512bw", "avx512f", "avx512vnni"]
WHEEL = {"x86-64-v3": AVX2, "avx512-vnni": AVX512}
HASWELL = "fpu sse4_2 avx avx2 fma f16c bmi1 bmi2"
ZEN_4 = HASWELL + " avx512f avx512bw avx512_vnni avx512_bf16"
RASPBERRY_PI_4 = "fp asimd evtstrm crc32 cpuid"
GRAVITON_2 = RASPBERRY_PI_4 + " aes asimdhp asimdrdm asimddp"
ARM_WHEEL = {"armv8": [], "armv8-dotprod": ["dotprod"]}


def cpu(flags: str, name: str = "flags") -> frozenset[str] | None:
    return _builds.cpu_features(["processor\t: 0\n", "bugs\t\t: avx512_vnni\n", f"{name}\t\t: {flags}\n"])


@pytest.mark.parametrize(
    ("builds", "features", "build"),
    [
        (WHEEL, cpu(HASWELL), "x86-64-v3"),
        (WHEEL, cpu(ZEN_4), "avx512-vnni"),
        (WHEEL, None, "x86-64-v3"),
        ({"source": AVX512}, None, "source"),
        ({"source": AVX512}, cpu(ZEN_4), "source"),
        (ARM_WHEEL, cpu(RASPBERRY_PI_4, "Features"), "armv8"),
        (ARM_WHEEL, cpu(GRAVITON_2, "Features"), "armv8-dotprod"),
    ],
)
def test_choice(builds, features, build):
    choice = _builds.choose(builds, features)
    assert choice.build == build and choice.reason
    assert choice.others.keys() == builds.keys() - {build}


def test_a_cpu_that_can_run_none_is_told_what_it_lacks():
    with pytest.raises(ImportError, match="lacks avx512bw, avx512f, avx512vnni.*Build it on this machine.*=source"):
        _builds.choose({"source": AVX512}, cpu(HASWELL))
    assert _builds.choose({"source": AVX512}, cpu(HASWELL), "source").build == "source"
    with pytest.raises(ImportError, match="'sparc', but this package has: avx512-vnni, x86-64-v3"):
        _builds.choose(WHEEL, cpu(ZEN_4), "sparc")
    with pytest.raises(ImportError, match="no native module"):
        _builds.choose({}, cpu(ZEN_4))


def test_this_build():
    info = llama_concurrent.build_info()
    assert info.version == llama_concurrent.__version__
    assert "CPU" in info.system_info
    for name, path in _builds._installed().items():
        if name.startswith(("x86", "avx")):
            assert "avx2" in _builds.needs(path)
    # What the file says and what llama.cpp says about itself.
    assert ("avx512vnni" in info.cpu_features) == ("AVX512_VNNI = 1" in info.system_info)
    assert ("avx2" in info.cpu_features) == ("AVX2 = 1" in info.system_info)


def test_a_file_that_needs_nothing(tmp_path: Path):
    module = tmp_path / "_native.so"
    module.write_bytes(b"\x7fELF")
    assert _builds.needs(module) == []


def test_asking_for_a_build_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-c", "import llama_concurrent"],
        env=os.environ | {_builds.VARIABLE: "sparc"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "'sparc', but this package has: " in done.stderr
