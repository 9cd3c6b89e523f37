"""The description of the API holds: requests drawn from it are answered as it says, and none with a 5xx."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

OPERATIONS = {
    "GET /search", "POST /search", "POST /encode", "GET /items/{id}", "GET /items/{id}/picture", "GET /about",
    "GET /healthz", "GET /metrics",
}  # fmt: skip
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]


def test_what_is_drawn_from_the_schema_is_answered_as_it_says(served):
    schema = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.label for operation in operations} == OPERATIONS
    statuses = set()

    def answered(case):
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    few = settings(
        max_examples=8, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for operation in operations:
        few(given(case=operation.as_strategy())(answered))()
    assert {200, 422} <= statuses


def test_every_route_has_an_example_or_needs_none(served):
    described = served.get("/openapi.json").json()
    asked = [p for p in described["paths"]["/search"]["get"]["parameters"] if p["name"] in ("text", "item", "where")]
    assert len(asked) == 3
    assert all("examples" in p or "examples" in p["schema"] for p in asked)
    assert "examples" in described["components"]["schemas"]["Problem"]
