#!/usr/bin/env bash
# The Python package: built, installed into an environment of its own, type-checked and tested. Says so and does nothing
# where Python or its package registry cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

skip() {
    echo "test-python: SKIPPED: $1" >&2
    exit 0
}
command -v python3 >/dev/null || skip "no python3 here"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "Python is older than 3.10"
environment=$PWD/target/python
python3 -m venv "$environment" || skip "python3 -m venv does not work here"
export PATH=$environment/bin:$PATH
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    "maturin>=1.9,<2" anyio mypy pandas pytest pytest-asyncio tqdm || skip "the packages for the tests cannot be installed"

cd bindings/python
# In the environment that exists, so that cargo sees the variables of scripts/setup.sh and reuses the build.
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --force-reinstall --no-deps .
"$environment/bin/python" -m mypy --config-file pyproject.toml --package llama_concurrent
"$environment/bin/python" -m mypy.stubtest --mypy-config-file pyproject.toml llama_concurrent._native
"$environment/bin/python" -m pytest --quiet
"$environment/bin/python" -m pytest --quiet --doctest-modules --pyargs llama_concurrent
