#!/usr/bin/env bash
# The server with the clients that people use, in Python environments of their own: OpenAI's, Anthropic's and Ollama's, LangChain,
# LlamaIndex, and the frameworks for agents; in environments apart those that want other versions of OpenAI's client, and lm-eval;
# schemathesis over its description; a crowd of connections; the page in a browser where there is one. Says so and does
# nothing where Python or its package registry cannot be reached. Wants target/release/llama-concurrent.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "test-server: SKIPPED: $1" >&2
    exit 0
}
command -v python3 >/dev/null || skip "no python3 here"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "Python is older than 3.10"
[ -x target/release/llama-concurrent ] || {
    echo "test-server: build first: cargo build --release -p llama-concurrent-cli" >&2
    exit 1
}
environment=$PWD/target/python-server
python3 -m venv "$environment" || skip "python3 -m venv does not work here"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    "openai>=2" "langchain-openai>=1" "llama-index-llms-openai-like>=0.5" ollama pytest "schemathesis>=4" websockets playwright ||
    skip "the packages for the tests cannot be installed"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    "anthropic>=0.40" "openai-agents>=0.3" "langchain>=1" ||
    echo "test-server: some clients cannot be installed; their tests are skipped" >&2
tests=crates/llama-concurrent-server/tests/python
"$environment/bin/python" -m pytest --quiet -rs -p no:cacheprovider --ignore "$tests/test_lm_eval.py" "$tests" "$@"

# Those that want other versions of what they have in common, each group in an environment of its own.
apart() {
    local environment=$PWD/target/python-$1 wanted=$2 files=$3
    shift 3
    python3 -m venv "$environment"
    if timeout 300 "$environment/bin/python" -m pip install --quiet --disable-pip-version-check pytest "$@"; then
        (cd "$tests" && "$environment/bin/python" -m pytest --quiet -rs -p no:cacheprovider -W ignore $files -k "$wanted")
    else
        echo "test-server: SKIPPED: these cannot be installed: $*" >&2
    fi
}
apart clients "litellm or instructor or outlines or llm or lm_eval" "test_tools.py test_agents.py test_lm_eval.py" \
    litellm instructor outlines llm "lm_eval[api]"
apart pydantic "pydantic" "test_agents.py test_apis.py" "pydantic-ai-slim[openai,anthropic]>=1"
