"""schemathesis over the description of the routes: whatever it thinks of, there is no 500 and no broken connection."""

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

schema = schemathesis.pytest.from_fixture("description")


import pytest


@pytest.fixture(scope="session")
def description(url):
    return schemathesis.openapi.from_url(url + "/openapi.json")


@schema.parametrize()
@settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_no_request_breaks_it(case):
    if isinstance(case.body, dict):
        # Long answers are another test's business.
        for name in ("max_tokens", "n_predict", "max_completion_tokens"):
            if isinstance(case.body.get(name), int) and case.body[name] not in range(-1, 9):
                case.body[name] = case.body[name] % 8
        if case.operation.path in ("/completion", "/v1/completions", "/v1/chat/completions"):
            case.body.setdefault("max_tokens" if "v1" in case.operation.path else "n_predict", 4)
    response = case.call(timeout=120)
    # Not `validate_response` with all checks: that one also asks that what the schema forbids is refused, and unknown
    # fields are ignored here.
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    case.validate_response(response, checks=checks)
