"""Selects the native module of this package for this CPU.

A package built from source holds one, made for the machine that built it. A wheel holds several, since one for every CPU
would be half as fast on most. Each file says which instructions it needs, so both are looked at in the same way, and a package
that was carried to a lesser CPU is refused in words instead of ending the process.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

MODULE = "llama_concurrent._native"
VARIABLE = "LLAMA_CONCURRENT_BUILD"
_MARK = b"\nllama-concurrent-built-for:"
_OTHER_NAMES = {"asimddp": "dotprod"}


@dataclass(frozen=True, kw_only=True)
class BuildInfo:
    """Which native module runs, and why."""

    version: str
    """Of this package."""
    build: str
    """The name of the module: "source" if it was built on this machine, or one of those in the wheel."""
    cpu_features: list[str]
    """Instruction sets that it was compiled for."""
    reason: str
    """Why this one."""
    others: dict[str, str]
    """The other modules in the package, and why not these."""
    system_info: str
    """What llama.cpp says about its own build."""

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The module to load."""

    build: str
    reason: str
    others: dict[str, str]


def cpu_features(cpuinfo: Iterable[str]) -> frozenset[str] | None:
    """Instruction sets of this CPU, as compilers name them; None if /proc/cpuinfo does not list them."""
    for line in cpuinfo:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = (flag.replace("_", "") for flag in value.split())
            return frozenset(_OTHER_NAMES.get(flag, flag) for flag in flags)
    return None


def choose(builds: Mapping[str, list[str]], cpu: frozenset[str] | None, requested: str | None = None) -> Choice:
    """The build with the most instruction sets of those that this CPU can run.

    >>> builds = {"x86-64-v3": ["avx2"], "avx512-vnni": ["avx2", "avx512vnni"]}
    >>> choose(builds, frozenset({"avx2"})).others
    {'avx512-vnni': 'this CPU lacks avx512vnni'}
    """
    if not builds:
        raise ImportError("the package has no native module; install it again: pip install ./bindings/python")
    if requested:
        if requested not in builds:
            raise ImportError(f"{VARIABLE} is {requested!r}, but this package has: {', '.join(sorted(builds))}")
        return Choice(requested, f"{VARIABLE} asks for it", dict.fromkeys(builds.keys() - {requested}, "not asked for"))
    order = sorted(builds, key=lambda name: len(builds[name]), reverse=True)
    lacks = {name: [] if cpu is None else [need for need in builds[name] if need not in cpu] for name in order}
    if cpu is None:
        # The least demanding one, if there is a choice at all.
        order.reverse()
    fitting = [name for name in order if not lacks[name]]
    others = {name: f"this CPU lacks {', '.join(lack)}" for name, lack in lacks.items() if lack}
    if not fitting:
        raise ImportError(
            "this CPU cannot run the native module: "
            + "; ".join(f"for {name!r}, {missing}" for name, missing in others.items())
            + f". Build it on this machine: pip install ./bindings/python. ({VARIABLE}={order[-1]} loads it nevertheless.)"
        )
    best, *rest = fitting
    if len(builds) == 1:
        reason = "the only one, and this CPU can run it"
    elif cpu is None:
        reason = "this system does not report the CPU's features, and every CPU of its kind can run it"
    else:
        reason = "the one with the most instruction sets of those that this CPU can run"
    return Choice(best, reason, dict.fromkeys(rest, "slower on this CPU") | others)


def needs(module: Path) -> list[str]:
    """What a native module was compiled for, read from its file."""
    with module.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_MARK) + len(_MARK)
        if start < len(_MARK):
            return []
        return content[start : content.find(b"\n", start)].decode().split()


def _installed() -> dict[str, Path]:
    """Native modules in the package: `_native.abi3.so`, or `_native.NAME.abi3.so`."""
    found = {}
    for path in Path(__file__).parent.glob("_native.*"):
        if path.suffix in (".so", ".pyd", ".dylib"):
            parts = path.name.split(".")
            found["source" if len(parts) <= 3 else parts[1]] = path
    return found


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


def load() -> BuildInfo:
    """Imports the native module under its usual name."""
    if not _is_main_interpreter():
        raise ImportError(
            "llama_concurrent works in the main interpreter only, not in a sub-interpreter: its threads and exceptions "
            "belong to one interpreter. Use threads, or processes started with 'spawn' or 'forkserver'."
        )
    installed = _installed()
    builds = {name: needs(path) for name, path in installed.items()}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            cpu = cpu_features(cpuinfo)
    except OSError:
        cpu = None
    choice = choose(builds, cpu, os.environ.get(VARIABLE))
    path = str(installed[choice.build])
    spec = spec_from_file_location(MODULE, path, loader=ExtensionFileLoader(MODULE, path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[MODULE]
        raise
    return BuildInfo(
        version=version("llama-concurrent"),
        build=choice.build,
        cpu_features=builds[choice.build],
        reason=choice.reason,
        others=choice.others,
        system_info=module.system_info().strip(),
    )
