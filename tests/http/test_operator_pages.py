"""What operators' machines read: health, readiness, metrics and the API's document."""

import shutil
import subprocess
from typing import Any, get_args

import pytest
from needing import needs
from openapi_spec_validator import validate

from paygate_actors.messages import PaymentStatus
from paygate_http.metrics import Metrics
from paygate_http.openapi import build_document
from paygate_http.problems import KINDS
from paygate_http.routes import ROUTES

SAMPLES = {
    "paygate_live_payments": 3.0,
    'paygate_in_doubt_amount{currency="USD"}': 12.5,
    'paygate_in_doubt_amount{currency="KWD"}': 1.234,
    'paygate_dead_letters_total{reason="no \\"such\\" actor"}': 2.0,
}


async def test_metrics_count_requests_by_route_and_never_by_id(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")
    gateway.front.samples = SAMPLES
    await gateway.ask("GET", f"/api/payments/{kept.id}")
    await gateway.ask("GET", "/api/payments/pay_none")
    await gateway.ask("GET", "/nowhere")
    await gateway.ask("GET", "/metrics", key="merchant_a")

    status, page, headers = await gateway.ask("GET", "/metrics", key="metrics")

    text = page.decode()
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    route = 'route="/api/payments/{paymentID}"'
    assert f'paygate_http_requests_total{{method="GET",{route},status="2xx"}} 1.0' in text
    assert f'paygate_http_requests_total{{method="GET",{route},status="4xx"}} 1.0' in text
    assert 'paygate_http_requests_total{method="GET",route="unmatched",status="4xx"} 1.0' in text
    assert f"paygate_http_request_duration_seconds_count{{{route}}} 2.0" in text
    assert f'paygate_http_request_duration_seconds_bucket{{le="+Inf",{route}}} 2.0' in text
    assert "paygate_http_requests_in_flight 1.0" in text
    assert 'paygate_in_doubt_amount{currency="KWD"} 1.234' in text
    assert "# HELP paygate_in_doubt_amount Money whose fate" in text
    assert text.count("# TYPE paygate_in_doubt_amount gauge") == 1
    assert "# TYPE paygate_dead_letters_total counter" in text
    assert 'paygate_dead_letters_total{reason="no \\"such\\" actor"} 2.0' in text
    assert kept.id not in text
    assert "merchant" not in text


def test_promtool_accepts_the_page() -> None:
    needs("promtool is not installed", met=shutil.which("promtool") is not None)
    metrics = Metrics(lambda: SAMPLES)
    for route in ROUTES:
        metrics.observe(route.path, route.method, 200, 0.01)

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.page(), capture_output=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_histogram_counts_each_answer_in_its_bucket() -> None:
    metrics = Metrics(dict)
    for seconds in (0.0005, 0.001, 0.0011, 31.0):
        metrics.observe("/r", "GET", 200, seconds)
    metrics.observe("/r", "BREW", 200, 0.0)

    text = metrics.page().decode()

    assert 'duration_seconds_bucket{le="0.001",route="/r"} 3.0' in text
    assert 'duration_seconds_bucket{le="0.0025",route="/r"} 4.0' in text
    assert 'duration_seconds_bucket{le="30",route="/r"} 4.0' in text
    assert 'duration_seconds_bucket{le="+Inf",route="/r"} 5.0' in text
    assert 'requests_total{method="other",route="/r",status="2xx"} 1.0' in text


def test_a_sample_that_is_no_metric_is_a_mistake_that_is_told() -> None:
    metrics = Metrics(lambda: {"not a name": 1.0})

    with pytest.raises(ValueError, match="not a name"):
        metrics.page()


async def test_health_needs_no_gateway_and_readiness_says_why_not(gateway: Any) -> None:
    ready = await gateway.ask("GET", "/readyz", key=None)
    gateway.front.unready = "Draining."

    up = await gateway.ask("GET", "/healthz", key=None)
    unready = await gateway.ask("GET", "/readyz", key=None)

    assert (ready[0], ready[1]) == (200, {"status": "ready"})
    assert (up[0], up[1]) == (200, {"status": "ok"})
    assert (unready[0], unready[1]["detail"]) == (503, "Draining.")


@pytest.fixture
async def document(gateway: Any) -> Any:
    _, found, _ = await gateway.ask("GET", "/openapi.json", key=None)
    return found


async def test_the_document_is_valid_openapi(document: Any) -> None:
    validate(document)

    assert document["openapi"].startswith("3.1")


async def test_the_document_has_every_route_and_every_answer(document: Any) -> None:
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        statuses = set(operation["responses"])
        assert str(route.success) in statuses
        assert {str(KINDS[code].status) for code in route.problems} <= statuses
        assert ("401" in statuses) or route.access == "public"
        assert operation["security"] == ([] if route.access == "public" else [{"apiKey": []}])
    assert sum(len(path) for path in document["paths"].values()) == len(ROUTES)


async def test_the_document_says_what_a_payment_needs(document: Any) -> None:
    schemas = document["components"]["schemas"]

    payment, shown = schemas["PaymentBody"], schemas["PaymentReply"]

    assert payment["required"] == ["amount", "currency", "paymentMethod"]
    assert payment["properties"]["amount"]["type"] == "number"
    assert payment["properties"]["currency"]["type"] == "string"
    assert shown["properties"]["amount"]["type"] == "number"
    assert set(shown["properties"]["status"]["enum"]) == set(get_args(PaymentStatus))
    assert "cardNumber" not in str(schemas["MethodReply"])


def test_the_document_is_the_same_each_time() -> None:
    assert build_document(ROUTES) == build_document(ROUTES)
