"""schemathesis over the description of the routes: whatever it thinks of, there is no 500 and no broken connection."""

import json

import pytest
import schemathesis
from conftest import ROOT, Server
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

# Not all of its checks: others ask that what the schema forbids is refused, and unknown fields are ignored here.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DESCRIPTION = json.loads((ROOT / "crates/llama-concurrent-server/src/openapi.json").read_text())
OPERATIONS = [
    (path, method, mode)
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
    # Every text is a sound parameter of a path or a query; only bodies can be wrong.
    for mode in (["positive", "negative"] if "requestBody" in operation else ["positive"])
]
LIMITS = ("max_tokens", "n_predict", "max_completion_tokens", "max_output_tokens")


def shortened(body):
    """Long answers are another test's business."""
    if not isinstance(body, dict) or not ({"prompt", "messages", "input"} & body.keys()):
        return body
    short = {name: body[name] % 8 for name in LIMITS if isinstance(body.get(name), int)}
    # Where Ollama's routes have it.
    if isinstance(body.get("options", {}), dict):
        short["options"] = {"num_predict": 4, **body.get("options", {})}
    return body | {"max_tokens": 4} | short


@pytest.fixture(scope="module")
def schema(url):
    return schemathesis.openapi.from_url(url + "/openapi.json")


@pytest.fixture(scope="module")
def schema_of_reranker():
    with Server(model=ROOT / "models" / "rerank.gguf") as server:
        yield schemathesis.openapi.from_url(server.url + "/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_no_request_breaks_it(request, path, method, mode):
    schema = request.getfixturevalue("schema_of_reranker" if path == "/v1/rerank" else "schema")
    operation = schema[path][method.upper()]
    cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @given(case=cases)
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def holds(case):
        case.body = shortened(case.body)
        # The demo model cannot fill in, which is a 501.
        checks = [check for check in CHECKS if path != "/infill" or check is not not_a_server_error]
        case.validate_response(case.call(timeout=120), checks=checks)

    holds()
