"""The table of all routes: what is served, who may use it, what its document says."""

from typing import Final

from paygate_http import (
    desk_routes,
    fraud_routes,
    health,
    node_routes,
    notice_routes,
    operations,
    payer_returns,
    payments,
    providers,
    transactions,
    webhook_replays,
    webhooks,
)
from paygate_http.bodies import (
    IDEMPOTENCY_KEY_MAX,
    CaptureBody,
    PaymentBody,
    RefundBody,
    ReverseBody,
    ReviewBody,
    StatusBody,
    SwitchesBody,
)
from paygate_http.filters import AT, PAYMENT_FILTERS, TRANSACTION_FILTERS
from paygate_http.replies import (
    EventListReply,
    FraudCheckReply,
    HealthReply,
    PaymentListReply,
    PaymentReply,
    ProviderListReply,
    ProviderReply,
    ReceivedReply,
    TransactionListReply,
    TransactionReply,
)
from paygate_http.requests import WAIT_S_MAX
from paygate_http.route import Parameter, Route

_KEY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    text="Makes the request safe to repeat: the same key gives the same answer.",
    schema={"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX},
)
_PREFER: Final = Parameter(
    name="Prefer",
    place="header",
    text=f"`wait=N`: hold the answer until it is decided, for N seconds, {WAIT_S_MAX} at most.",
    schema={"type": "string", "examples": ["wait=10"]},
)
_MADE: Final = {
    "Location": "Where the object is from now on.",
    "Idempotent-Replayed": "`true` where an earlier request with the key made it.",
    "Preference-Applied": "The `wait` that was kept to, in seconds.",
}

_OPERATION: Final = ("operation_in_progress", "idempotency_key_reused", "outcome_unknown")

_PAYMENTS: Final = (
    Route(
        method="POST",
        path="/api/payments/process",
        handler=payments.process,
        name="processPayment",
        summary="Make a payment",
        access="merchant",
        success=201,
        body=PaymentBody,
        reply=PaymentReply,
        parameters=(_KEY, _PREFER),
        headers=_MADE,
        problems=("idempotency_key_reused", "no_provider", "outcome_unknown"),
        admission=True,
    ),
    Route(
        method="GET",
        path="/api/payments",
        handler=payments.listing,
        name="listPayments",
        summary="List payments, newest first",
        access="either",
        reply=PaymentListReply,
        parameters=tuple(each.parameter for each in PAYMENT_FILTERS),
    ),
    Route(
        method="GET",
        path="/api/payments/{paymentID}",
        handler=payments.read,
        at_once=payments.read_at_once,
        name="readPayment",
        summary="Read a payment",
        access="either",
        reply=PaymentReply,
        parameters=(AT.parameter,),
        problems=("payment_not_found",),
    ),
    Route(
        method="GET",
        path="/api/payments/{paymentID}/events",
        handler=payments.events,
        name="readPaymentEvents",
        summary="Read a payment's whole history",
        access="either",
        reply=EventListReply,
        problems=("payment_not_found",),
    ),
    Route(
        method="POST",
        path="/api/payments/{paymentID}/capture",
        handler=operations.capture,
        name="capturePayment",
        summary="Capture held funds",
        access="either",
        success=201,
        body=CaptureBody,
        body_may_be_empty=True,
        reply=TransactionReply,
        parameters=(_KEY, _PREFER),
        headers=_MADE,
        problems=(
            "payment_not_found",
            "payment_not_capturable",
            "capture_exceeds_authorized",
            *_OPERATION,
        ),
        admission=True,
    ),
    Route(
        method="POST",
        path="/api/payments/{paymentID}/refund",
        handler=operations.refund,
        name="refundPayment",
        summary="Refund captured funds",
        access="either",
        success=201,
        body=RefundBody,
        body_may_be_empty=True,
        reply=TransactionReply,
        parameters=(_KEY, _PREFER),
        headers=_MADE,
        problems=(
            "payment_not_found",
            "payment_not_refundable",
            "refund_exceeds_remaining",
            *_OPERATION,
        ),
        admission=True,
    ),
    Route(
        method="POST",
        path="/api/payments/{paymentID}/reverse",
        handler=operations.reverse,
        name="reversePayment",
        summary="Undo a payment as a whole",
        access="either",
        success=201,
        body=ReverseBody,
        body_may_be_empty=True,
        reply=TransactionReply,
        parameters=(_KEY, _PREFER),
        headers=_MADE,
        problems=("payment_not_found", "payment_not_reversible", *_OPERATION),
        admission=True,
    ),
    Route(
        method="POST",
        path="/api/payments/{paymentID}/review",
        handler=operations.review,
        name="reviewPayment",
        summary="Decide on held funds",
        access="operator",
        body=ReviewBody,
        reply=PaymentReply,
        problems=(
            "payment_not_found",
            "payment_not_reviewable",
            "operation_in_progress",
            "outcome_unknown",
        ),
        admission=True,
    ),
)

_TRANSACTIONS: Final = (
    Route(
        method="GET",
        path="/api/transactions",
        handler=transactions.listing,
        name="listTransactions",
        summary="List transactions, newest first",
        access="either",
        reply=TransactionListReply,
        parameters=tuple(each.parameter for each in TRANSACTION_FILTERS),
    ),
    Route(
        method="GET",
        path="/api/transactions/{transactionID}",
        handler=transactions.read,
        name="readTransaction",
        summary="Read a transaction",
        access="either",
        reply=TransactionReply,
        problems=("transaction_not_found",),
    ),
    Route(
        method="POST",
        path="/api/transactions/{transactionID}/status",
        handler=transactions.set_status,
        name="setTransactionStatus",
        summary="Correct the status of a transaction",
        access="operator",
        body=StatusBody,
        reply=TransactionReply,
        problems=(
            "transaction_not_found",
            "illegal_transition",
            "provider_disagrees",
            "operation_in_progress",
            "outcome_unknown",
        ),
    ),
)


def _webhook(path: str, name: str) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=webhooks.receive,
        name=name,
        summary="Take in a provider's event",
        access="public",
        raw_body=True,
        reply=ReceivedReply,
        plain_reply=True,  # some providers want a word of their own
        problems=(
            "provider_not_found",
            "signature_invalid",
            "another_account",
            "malformed_body",
            "provider_silent",
            "outcome_unknown",
        ),
    )


_PROVIDERS: Final = (
    Route(
        method="GET",
        path="/api/providers",
        handler=providers.listing,
        name="listProviders",
        summary="List providers with their health",
        access="either",
        reply=ProviderListReply,
    ),
    Route(
        method="PATCH",
        path="/api/providers/{providerID}",
        handler=providers.switch,
        name="updateProvider",
        summary="Turn a provider or only new charges at it on or off, or tune how it is used",
        access="operator",
        body=SwitchesBody,
        reply=ProviderReply,
        problems=("provider_not_found", "outcome_unknown"),
    ),
    # The same as it was called first: who switches providers by it need not learn another word.
    Route(
        method="POST",
        path="/api/providers/{providerID}",
        handler=providers.switch,
        name="switchProvider",
        summary="Turn a provider or only new charges at it on or off, or tune how it is used",
        access="operator",
        body=SwitchesBody,
        reply=ProviderReply,
        problems=("provider_not_found", "outcome_unknown"),
    ),
    # The same door twice: providers are told the one or the other.
    _webhook("/api/providers/{providerID}/webhook", "receiveProviderWebhook"),
    _webhook("/api/webhooks/{providerID}", "receiveWebhook"),
)

_FRAUD: Final = (
    Route(
        method="POST",
        path="/api/fraud/check",
        handler=fraud_routes.check,
        name="checkFraud",
        summary="Score a payment without making it",
        access="either",
        body=PaymentBody,
        reply=FraudCheckReply,
    ),
    Route(
        method="GET",
        path="/api/fraud/score/{transactionID}",
        handler=fraud_routes.score,
        name="readFraudScore",
        summary="Read the fraud check of a transaction",
        access="either",
        reply=FraudCheckReply,
        problems=("transaction_not_found",),
    ),
)

_OPERATORS: Final = (
    Route(
        method="GET",
        path="/healthz",
        handler=health.healthz,
        name="isUp",
        summary="Whether the process is up",
        access="public",
        reply=HealthReply,
        always=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=health.readyz,
        name="isReady",
        summary="Whether requests are taken",
        access="public",
        reply=HealthReply,
        problems=("not_ready",),
        always=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=health.metrics,
        name="readMetrics",
        summary="Metrics for Prometheus",
        access="metrics",
        reply_type="text/plain",
        always=True,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=health.openapi,
        name="readDocument",
        summary="This document",
        access="public",
        always=True,
    ),
)

ROUTES: Final = (
    *_PAYMENTS,
    *desk_routes.ROUTES,
    *webhook_replays.ROUTES,
    *_TRANSACTIONS,
    *_PROVIDERS,
    *payer_returns.ROUTES,
    *notice_routes.ROUTES,
    *node_routes.ROUTES,
    *_FRAUD,
    *_OPERATORS,
)
