"""What the API's document says of answers that are no JSON, or lead elsewhere."""

from typing import Any

import msgspec
import pytest

from paygate_http.openapi import build_document
from paygate_http.routes import ROUTES


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    return msgspec.json.decode(build_document(ROUTES))["paths"]


def test_a_payer_who_comes_back_may_be_sent_on(paths: dict[str, Any]):
    responses = paths["/api/providers/{providerID}/return"]["get"]["responses"]

    assert set(responses) >= {"200", "303"}
    assert set(responses["303"]["headers"]) == {"Location", "X-Request-ID"}
    assert "content" not in responses["303"]


@pytest.mark.parametrize(
    "path", ["/api/webhooks/{providerID}", "/api/providers/{providerID}/webhook"]
)
def test_a_webhook_may_be_answered_in_the_word_that_its_provider_wants(
    paths: dict[str, Any], path: str
):
    content = paths[path]["post"]["responses"]["200"]["content"]

    assert set(content) == {"application/json", "text/plain"}
    assert content["text/plain"]["schema"] == {"type": "string"}


def test_whoever_leads_nowhere_else_has_one_success(paths: dict[str, Any]):
    leading = [
        path
        for path, methods in paths.items()
        for operation in methods.values()
        if any(status.startswith("3") for status in operation["responses"])
    ]

    assert leading == ["/api/providers/{providerID}/return"]
