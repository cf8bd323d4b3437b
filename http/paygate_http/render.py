"""Turns what the gateway answers into what the wire shows. Pure; knows no request."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from paygate_actors.credentials import Initiation
from paygate_actors.messages import (
    Address,
    EventView,
    Failure,
    FraudCheck,
    MethodView,
    NextAction,
    PaymentView,
    TransactionView,
)
from paygate_actors.money import Money
from paygate_actors.provider_messages import ProviderView
from paygate_actors.rfc3339 import time_text
from paygate_http.replies import (
    AddressReply,
    CircuitReply,
    EventReply,
    FailureReply,
    FraudCheckReply,
    InitiationReply,
    MethodReply,
    NextActionReply,
    PaymentReply,
    ProviderReply,
    TransactionReply,
)
from paygate_http.wire import wire_name

_THOUSANDTHS = 1_000


def payment(view: PaymentView) -> PaymentReply:
    """Show a payment."""
    currency = view.currency
    return PaymentReply(
        id=view.id,
        payment_id=view.id,
        transaction_id=view.transaction_id,
        status=view.status,
        amount=_amount(view.amount_minor, currency),
        currency=currency,
        amount_authorized=_amount(view.amount_authorized_minor, currency),
        amount_captured=_amount(view.amount_captured_minor, currency),
        amount_released=_amount(view.amount_released_minor, currency),
        amount_refunded=_amount(view.amount_refunded_minor, currency),
        amount_returned=_amount(view.amount_returned_minor, currency),
        amount_disputed=_amount(view.amount_disputed_minor, currency),
        capture_method=view.capture_method,
        payment_method=_method(view.method),
        billing_address=None if view.billing is None else _address(view.billing),
        provider=view.provider,
        provider_txn_id=view.provider_txn_id,
        fraud_score=_ratio(view.fraud_score_milli),
        risk_level=view.risk_level,
        metadata=view.metadata,
        description=view.description,
        return_url=view.return_url,
        failure=None if view.failure is None else _failure(view.failure),
        in_doubt=view.in_doubt,
        attention=view.attention,
        next_action=None if view.next_action is None else _next_action(view.next_action),
        expected_by=_time(view.expected_by_us),
        livemode=view.livemode,
        created_at=time_text(view.created_at_us),
        updated_at=time_text(view.updated_at_us),
        processed_at=_time(view.processed_at_us),
        initiation=_initiation(view.initiation),
        store_credential=view.store_credential,
        three_d_secure=view.three_d_secure,
        network_transaction_id=view.network_txn_id,
        authentication=view.authentication,
    )


def transaction(view: TransactionView) -> TransactionReply:
    """Show a transaction."""
    return TransactionReply(
        id=view.id,
        payment_id=view.payment_id,
        type=view.type,
        origin=view.origin,
        status=view.status,
        amount=_amount(view.amount_minor, view.currency),
        currency=view.currency,
        provider=view.provider,
        provider_txn_id=view.provider_txn_id,
        reason=view.reason,
        failure=None if view.failure is None else _failure(view.failure),
        livemode=view.livemode,
        created_at=time_text(view.created_at_us),
        updated_at=time_text(view.updated_at_us),
    )


def event(view: EventView, currency: str) -> EventReply:
    """Show an event; its amounts are in the payment's currency where it names none itself."""
    return EventReply(
        seq=view.seq, type=view.type, at=time_text(view.at_us), data=_data(view.data, currency)
    )


def provider(view: ProviderView) -> ProviderReply:
    """Show a provider."""
    return ProviderReply(
        id=view.id,
        name=view.name,
        type=view.kind,
        is_active=view.is_active,
        accepts_charges=view.accepts_charges,
        priority=view.priority,
        config=view.config,
        circuit=view.circuit,
        success_rate=_ratio(view.success_rate_milli),
        p99_latency_ms=view.p99_ms,
        weight=view.weight,
        concurrency=view.concurrency,
        calls_running=view.running,
        calls_waiting=view.waiting,
        quiet_ms=view.quiet_ms,
        repeats_left=view.repeats_left,
        circuits=[
            CircuitReply(
                operation=each.operation,
                circuit=each.circuit,
                success_rate=_ratio(each.success_rate_milli),
                slow_rate=_ratio(each.slow_rate_milli),
                p99_latency_ms=each.p99_ms,
            )
            for each in view.circuits
        ],
        created_at=time_text(view.created_at_us),
    )


def fraud_check(check: FraudCheck) -> FraudCheckReply:
    """Show a fraud check."""
    return FraudCheckReply(
        transaction_id=check.transaction_id,
        score=check.score_milli / _THOUSANDTHS,
        risk_level=check.risk_level,
        factors=list(check.factors),
        blocked=check.blocked,
        static_only=check.static_only,
        created_at=time_text(check.created_at_us),
    )


# Most sums of a payment are zero, or the same as another: a few KB spare most of the work.
@lru_cache(maxsize=4_096)
def _amount(minor: int, currency: str) -> Decimal:
    return Money(minor, currency).to_decimal()


def _ratio(milli: int | None) -> float | None:
    # No money: a score or a rate, for which a float's three digits are exact enough.
    return None if milli is None else milli / _THOUSANDTHS


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else time_text(at_us)


def _failure(failure: Failure) -> FailureReply:
    return FailureReply(
        code=failure.code,
        message=failure.message,
        decline_code=failure.decline_code,
        retryable=failure.retryable,
    )


def _method(method: MethodView) -> MethodReply:
    return MethodReply(
        type=method.kind,
        brand=method.brand,
        last4=method.last4,
        expiry_month=method.expiry_month,
        expiry_year=method.expiry_year,
        holder_name=method.holder_name,
        wallet_id=method.wallet_id,
        token=method.token,
    )


def _address(address: Address) -> AddressReply:
    return AddressReply(
        street=address.street,
        city=address.city,
        state=address.state,
        zip_code=address.zip_code,
        country=address.country,
    )


def _initiation(initiation: Initiation) -> InitiationReply:
    return InitiationReply(
        by=initiation.by,
        reason=initiation.reason,
        network_transaction_id=initiation.network_transaction_id,
    )


def _next_action(action: NextAction) -> NextActionReply:
    return NextActionReply(
        type=action.kind, url=action.url, expires_at=time_text(action.expires_at_us)
    )


def _data(data: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """Spell the fields of a recorded event as the wire does, by the units in their names."""
    own = data.get("currency", currency)
    return dict(_spelt(name, value, own) for name, value in data.items())


def _spelt(name: str, value: Any, currency: str) -> tuple[str, Any]:
    if isinstance(value, int):
        if name.endswith("_minor"):
            return wire_name(name.removesuffix("_minor")), _amount(value, currency)
        if name.endswith("_us"):
            return wire_name(name.removesuffix("_us")), time_text(value)
        if name.endswith("_milli"):
            return wire_name(name.removesuffix("_milli")), _ratio(value)
    return wire_name(name), _nested(name, value, currency)


def _nested(name: str, value: Any, currency: str) -> Any:
    if name == "metadata":
        # Its names are the merchant's own.
        return value
    if isinstance(value, dict):
        return _data(cast("dict[str, Any]", value), currency)
    if isinstance(value, list | tuple):
        return [_nested(name, each, currency) for each in cast("list[Any]", value)]
    return value
