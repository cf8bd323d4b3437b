"""What Stripe's answers mean, as outcomes: pure functions of what came back.

Nothing is taken for what it should be before it was checked: an answer about another intent,
another key, or in words that the documents do not have, is not known.
"""

from collections.abc import Callable
from typing import Final

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import FollowUpCall, Operation
from paygate_actors.providers.failed_lookup import failed_lookup
from paygate_actors.providers.http_client import Answered, Broken, Exchange, NotSent
from paygate_actors.providers.intelligible import Unintelligible, intelligible
from paygate_actors.providers.retry_after import paused
from paygate_actors.providers.stripe_amounts import from_stripe
from paygate_actors.providers.stripe_codes import STATE_CODES, decline_of, refusal_of
from paygate_actors.providers.stripe_credential import told
from paygate_actors.providers.stripe_wire import (
    CAPTURE_REFERENCE,
    REFERENCE,
    Intent,
    Refund,
    Trouble,
    decode_intent,
    decode_method,
    decode_refund,
    decode_trouble,
)

# Stripe keeps an unconfirmed payer waiting for ever; banks' own pages give up after a quarter of
# an hour, and after an hour nobody comes back.
ACTION_S: Final = 3_600

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_CARD_ERROR: Final = 402
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_US_PER_S: Final = 1_000_000

# A hold that Stripe gave up by itself.
_LAPSED: Final = frozenset({"automatic", "expired"})


def outcome_of(
    exchange: Exchange,
    read: Callable[[bytes], Outcome | Prepared],
    refused: Callable[[Trouble, int], Outcome],
) -> Outcome | Prepared:
    """Turn an exchange into an outcome; `read` takes a 200, `refused` an error and its status."""
    return paused(exchange, _meaning(exchange, read, refused))


def _meaning(
    exchange: Exchange,
    read: Callable[[bytes], Outcome | Prepared],
    refused: Callable[[Trouble, int], Outcome],
) -> Outcome | Prepared:
    match exchange:
        case NotSent(detail=detail):
            return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
        case Broken(reason=reason, detail=detail):
            return Unknown(reason=reason, detail=detail)
        case Answered(status=status, body=body) if status == _OK:
            return intelligible(lambda: read(body))
        case Answered(status=status) if status >= _SERVER_ERROR:
            # Stripe stores it under the key and repeats it for ever: only a look-up tells more.
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case Answered(status=status, body=body):
            return intelligible(lambda: _trouble(decode_trouble(body), status, refused))


def found(exchange: Exchange, read: Callable[[bytes], Outcome]) -> Outcome:
    """Turn a look-up's exchange into an outcome. A look-up that fails says nothing."""
    return paused(exchange, _finding(exchange, read))


def _finding(exchange: Exchange, read: Callable[[bytes], Outcome]) -> Outcome:
    match exchange:
        case Answered(status=status, body=body) if status == _OK:
            outcome = intelligible(lambda: read(body))
            assert not isinstance(outcome, Prepared), "a look-up prepares nothing"
            return outcome
        case _:
            return failed_lookup(exchange)


def intent_outcome(intent: Intent) -> Outcome:
    """What an intent says about the charge that it stands for."""
    match intent.status:
        case "succeeded":
            return _approved(intent, intent.amount_received, captured=True)
        case "requires_capture":
            return _approved(intent, intent.amount_capturable, captured=False)
        case "requires_action":
            return _action_required(intent)
        case "processing":
            return Pending(provider_txn_id=intent.id)
        case "canceled":
            return Declined(
                code="cancelled",
                message="The payment was cancelled at the provider.",
                decline_code=intent.cancellation_reason,
                provider_txn_id=intent.id,
            )
        case "requires_payment_method" if intent.last_payment_error is not None:
            return declined(intent.last_payment_error, provider_txn_id=intent.id)
        case "requires_payment_method" | "requires_confirmation":
            return Unknown(
                reason="not_visible", detail="not confirmed so far", provider_txn_id=intent.id
            )
        case _:
            raise Unintelligible


def read_prepared(body: bytes, *, key: str) -> Prepared:
    """Read the answer to the first step: the intent as it was made."""
    intent = decode_intent(body)
    if key_of(intent) != key:
        raise Unintelligible
    return Prepared(provider_txn_id=intent.id)


def read_kept(body: bytes) -> Prepared:
    """Read the answer to a card that was handed over: the payment method that stands for it."""
    return Prepared(provider_txn_id=decode_method(body).id)


def read_confirmed(body: bytes, *, key: str, intent_id: str) -> Outcome:
    """Read the answer to a confirmation."""
    intent = decode_intent(body)
    if intent.id != intent_id or key_of(intent) != key:
        raise Unintelligible
    outcome = intent_outcome(intent)
    if isinstance(outcome, Unknown):
        raise Unintelligible  # it answers a confirmation and says that there was none
    return outcome


def read_captured(body: bytes, call: FollowUpCall) -> Outcome:
    """Read the answer to a capture."""
    return captured_outcome(_own(decode_intent(body), call.provider_txn_id))


def read_voided(body: bytes, call: FollowUpCall) -> Outcome:
    """Read the answer to a void; an intent that is cancelled gave the whole of it free."""
    intent = _own(decode_intent(body), call.provider_txn_id)
    if intent.status != "canceled":
        raise Unintelligible
    return _approved(intent, intent.amount, captured=False)


def read_refunded(body: bytes, call: FollowUpCall) -> Outcome:
    """Read the answer to a refund."""
    refund = decode_refund(body)
    named = (refund.metadata or {}).get(REFERENCE)
    if named != call.key or refund.payment_intent != call.provider_txn_id:
        raise Unintelligible
    return refund_outcome(refund)


def captured_outcome(intent: Intent) -> Outcome:
    """What an intent says about the capture of it."""
    if intent.status != "succeeded":
        raise Unintelligible
    return _approved(intent, intent.amount_received, captured=True)


def refund_outcome(refund: Refund) -> Outcome:
    """What a refund says of itself."""
    match refund.status:
        case "succeeded":
            amount = from_stripe(refund.amount, refund.currency)
            return Approved(provider_txn_id=refund.id, amount=amount)
        case "pending" | "requires_action":
            return Pending(provider_txn_id=refund.id)
        case "failed" | "canceled":
            return Declined(
                code="refund_failed" if refund.status == "failed" else "refund_cancelled",
                message="The refund did not reach the payer.",
                decline_code=refund.failure_reason,
                provider_txn_id=refund.id,
            )
        case _:
            raise Unintelligible


def declined(trouble: Trouble, *, provider_txn_id: str | None) -> Declined:
    """A definite no of the issuer's or of Stripe's, in our words."""
    why = decline_of(trouble.code, trouble.decline_code)
    return Declined(
        code=why.code,
        message=why.message,
        decline_code=trouble.decline_code or trouble.code,
        retryable=why.retryable,
        provider_txn_id=provider_txn_id,
    )


def unlooked_at(trouble: Trouble, _status: int = 0) -> Declined:
    """Say that the request did nothing; one that went out before under the same key may have."""
    why = decline_of(trouble.code, trouble.decline_code)
    if trouble.type != "card_error":
        why = refusal_of(trouble.code)
    return Declined(
        code=why.code,
        message=why.message,
        decline_code=trouble.decline_code or trouble.code,
        retryable=why.retryable,
        conclusive=False,
    )


def charge_refused(trouble: Trouble, status: int, *, intent_id: str) -> Outcome:
    """Why a confirmation was refused."""
    if trouble.code == "payment_intent_unexpected_state":
        # Confirmed or cancelled before, under this key or another: the intent itself knows.
        return intent_outcome(_own(trouble.payment_intent, intent_id))
    if status == _CARD_ERROR:
        if trouble.payment_intent is not None:
            _own(trouble.payment_intent, intent_id)
        return declined(trouble, provider_txn_id=intent_id)
    return unlooked_at(trouble)


def follow_up_refused(
    trouble: Trouble, status: int, *, operation: Operation, intent_id: str
) -> Outcome:
    """Why a capture, void or refund was refused."""
    code = STATE_CODES.get(trouble.code or "")
    if trouble.code == "payment_intent_unexpected_state":
        intent = _own(trouble.payment_intent, intent_id)
        code = _state_code(intent, operation)
    elif operation == "capture" and trouble.code == "amount_too_large":
        code = "amount_too_large"
    elif operation == "refund" and trouble.param == "amount":
        # Stripe gives no code to a refund that is larger than what is left.
        code = "amount_too_large"
    if code == "operation_pending":
        return _busy()
    if code is not None:
        return Declined(
            code=code,
            message=f"The provider refused the {operation}: {code.replace('_', ' ')}.",
            decline_code=trouble.code,
            provider_txn_id=intent_id,
        )
    if status == _CARD_ERROR:
        return declined(trouble, provider_txn_id=intent_id)
    return unlooked_at(trouble)


def key_of(intent: Intent) -> str | None:
    """Our key of the charge that the intent stands for."""
    return intent.metadata.get(REFERENCE)


def capture_key_of(intent: Intent) -> str | None:
    """Our key of the capture of the intent."""
    return intent.metadata.get(CAPTURE_REFERENCE)


def _trouble(trouble: Trouble, status: int, refused: Callable[[Trouble, int], Outcome]) -> Outcome:
    match trouble:
        case Trouble(code="idempotency_key_in_use"):
            return Unknown(reason="in_progress", detail="the key is in use")
        case Trouble(type="idempotency_error"):
            return Unknown(reason="key_known", detail="the key was used with other parameters")
        case Trouble(code="lock_timeout"):
            return _busy()
        case Trouble(code="rate_limit"):
            return _too_many()
        case _ if status == _TOO_MANY:
            return _too_many()
        case Trouble(type="api_error"):
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case _ if status in (_UNAUTHORIZED, _FORBIDDEN):
            return Declined(
                code="provider_misconfigured",
                message="The provider does not accept the gateway's account or key.",
                decline_code=trouble.code,
                retryable=True,
                conclusive=False,
            )
        case Trouble(type="card_error" | "invalid_request_error") if status != _CONFLICT:
            return refused(trouble, status)
        case _:
            raise Unintelligible


def _too_many() -> Declined:
    return Declined(code="too_many_requests", retryable=True, conclusive=False)


def _busy() -> Declined:
    # What is under way ends some day, and then the same call may succeed.
    return Declined(
        code="operation_pending",
        message="The provider still works on something else of this payment.",
        retryable=True,
        conclusive=False,
    )


def _own(intent: Intent | None, intent_id: str) -> Intent:
    if intent is None or intent.id != intent_id:
        raise Unintelligible
    return intent


def _state_code(intent: Intent, operation: Operation) -> str | None:
    match intent.status:
        case "succeeded":
            return {"void": "already_settled", "capture": "already_captured"}.get(operation)
        case "canceled" if intent.cancellation_reason in _LAPSED:
            return "authorization_expired"
        case "canceled":
            return "charge_cancelled"
        case "processing":
            return "operation_pending"
        case "requires_action" | "requires_confirmation":
            return "not_confirmed"
        case "requires_payment_method":
            return "charge_failed"
        case _:
            return None


def _approved(intent: Intent, units: int, *, captured: bool) -> Approved:
    amount: Money = from_stripe(units, intent.currency)
    credential = told(intent.latest_charge)
    return Approved(
        provider_txn_id=intent.id,
        amount=amount,
        captured=captured,
        network_txn_id=credential.network_txn_id,
        authentication=credential.authentication,
    )


def _action_required(intent: Intent) -> ActionRequired:
    action = intent.next_action
    redirect = action.redirect_to_url if action is not None else None
    if redirect is None or redirect.url is None:
        raise Unintelligible
    return ActionRequired(
        provider_txn_id=intent.id,
        url=redirect.url,
        expires_at_us=(intent.created + ACTION_S) * _US_PER_S,
    )
