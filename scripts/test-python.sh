#!/usr/bin/env bash
# The Python package: built, installed into an environment of its own, type-checked and tested, over ctypes too. Says so and does nothing
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
    "maturin>=1.9,<2" anyio "fastapi>=0.165" gguf httpx ipykernel matplotlib mypy nbclient numpy pandas pytest pytest-asyncio safetensors \
    tokenizers tqdm uvicorn websockets || skip "the packages for the tests cannot be installed"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check "ray[serve]>=2.60" ||
    echo "test-python: SKIPPED: the tests with Ray, which cannot be installed" >&2

cd bindings/python
# In the environment that exists, so that cargo sees the variables of scripts/setup.sh and reuses the build.
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --force-reinstall --no-deps .
"$environment/bin/python" -m mypy --config-file pyproject.toml --package llama_concurrent
"$environment/bin/python" -m mypy.stubtest --mypy-config-file pyproject.toml llama_concurrent._native
"$environment/bin/python" -m pytest --quiet -rs
"$environment/bin/python" -m pytest --quiet --doctest-modules --pyargs llama_concurrent

# The same over the C library, by ctypes, with the files where its README puts them; then the tests. Which bytes of a chat's
# prompt are plain text, C does not tell; and there is no native module that a sub-interpreter could not load.
cargo build --release --quiet --package llama-concurrent-capi
place=$environment/ctypes
rm -rf "$place" && mkdir "$place" && cp -r ../python-ctypes/llama_concurrent_ctypes "$place"
cp python/llama_concurrent/{_async,_base,_check,_engine,_errors,_outcome,_requests,_tools,_types,_vectors}.py "$place/llama_concurrent_ctypes"
(cd "$place" && "$environment/bin/python" -m mypy --config-file "$OLDPWD/pyproject.toml" --package llama_concurrent_ctypes)
PYTHONPATH=../python-ctypes/as_package:../python-ctypes "$environment/bin/python" -m pytest --quiet \
    -k "not message_cannot_close_itself and not sub_interpreters" \
    tests/test_engine.py tests/test_async.py tests/test_constraints.py tests/test_tools.py tests/test_vectors.py tests/test_minilm.py

# The wheel, in an environment without a compiler's leftovers: every module in it that this CPU can run. Each kind builds llama.cpp
# once more, so without ALL_WHEELS only that for the oldest CPUs is made, whose build the test of memory uses too.
cd ../..
if [ -n "${ALL_WHEELS:-}" ]; then
    scripts/release/wheels.sh target/wheels/test
else
    OLDEST_ONLY=1 scripts/release/wheels.sh target/wheels/test
fi
wheel=$(ls -t target/wheels/test/*.whl | head -n 1)
python3 -m venv --clear target/wheels/environment
python=target/wheels/environment/bin/python
"$python" -m pip install --quiet --disable-pip-version-check "$wheel" anyio pandas pytest pytest-asyncio tqdm
builds=$("$python" -c 'import llama_concurrent as llama
info = llama.build_info()
print(info.build, *(name for name, why in info.others.items() if "lacks" not in why))')
for build in $builds; do
    echo "test-python: the wheel's module for $build"
    LLAMA_CONCURRENT_BUILD=$build "$python" -m pytest --quiet --config-file bindings/python/pyproject.toml \
        bindings/python/tests/test_builds.py bindings/python/tests/test_engine.py
done
