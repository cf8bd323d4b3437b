"""What Adyen's answers mean, as outcomes: pure functions of what came back.

Nothing is taken for what it should be before it was checked: an answer about another payment, or
in words that the documents do not have, is not known.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Authentication,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.adyen_amounts import from_adyen
from paygate_actors.providers.adyen_codes import (
    IN_PROGRESS,
    NO_SUCH_PAYMENT,
    decline_of,
    refusal_of,
)
from paygate_actors.providers.adyen_reference import Purpose, write_reference
from paygate_actors.providers.adyen_wire import (
    Payment,
    Trouble,
    decode_modification,
    decode_payment,
    decode_trouble,
)
from paygate_actors.providers.base import ChargeCall, FollowUpCall
from paygate_actors.providers.http_client import Answered, Broken, Exchange, NotSent
from paygate_actors.providers.intelligible import Unintelligible, intelligible
from paygate_actors.providers.retry_after import paused

# Adyen names no end; banks' own pages give up after a quarter of an hour, and after an hour nobody
# comes back.
ACTION_S: Final = 3_600

_OK: Final = (200, 201)
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_US_PER_S: Final = 1_000_000


def outcome_of(
    exchange: Exchange,
    read: Callable[[bytes], Outcome],
    refused: Callable[[Trouble], Outcome],
) -> Outcome:
    """Turn an exchange into an outcome; `read` takes what was done, `refused` an error."""
    return paused(exchange, _meaning(exchange, read, refused))


def read_charge(body: bytes, call: ChargeCall, *, now_us: int) -> Outcome:
    """Read the answer to a payment."""
    payment = decode_payment(body)
    reference = write_reference(call.key, "charge" if call.capture else "hold")
    if payment.merchant_reference not in (None, reference):
        raise Unintelligible
    return _payment_outcome(payment, call, reference, now_us=now_us)


def read_modification(
    body: bytes, call: FollowUpCall, purpose: Purpose, *, account: str
) -> Outcome:
    """Read the answer to a capture, cancellation or refund: that it was taken in, never more."""
    said = decode_modification(body)
    if (
        said.reference not in (None, write_reference(call.key, purpose))
        or said.merchant_account != account
        or call.provider_txn_id not in (said.payment_psp_reference, said.payment_reference)
    ):
        raise Unintelligible
    # A refund has an id of its own; captures and voids are told of by the charge's.
    own = said.psp_reference if purpose == "refund" else call.provider_txn_id
    return Pending(provider_txn_id=own)


def read_details(exchange: Exchange, reference: str) -> Payment | None:
    """Read what became of the payment whose payer came back; None: it is not known.

    What does not say whose payment it is, or of how much, waits for the webhook.
    """
    if not isinstance(exchange, Answered) or exchange.status not in _OK:
        return None
    try:
        payment = decode_payment(exchange.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ours = payment.merchant_reference == reference
    return payment if ours and payment.psp_reference is not None else None


def charge_refused(trouble: Trouble) -> Outcome:
    """Why a payment was refused before any issuer saw it."""
    why = refusal_of(trouble.error_code)
    return Declined(
        code=why.code,
        message=why.message,
        decline_code=trouble.error_code,
        retryable=why.retryable,
        conclusive=False,
    )


def modification_refused(trouble: Trouble) -> Outcome:
    """Why a capture, cancellation or refund was refused at once."""
    if trouble.error_code == NO_SUCH_PAYMENT:
        # It is about what the charge's own answer named: that it is not there is not believed.
        return Unknown(reason="garbage", detail="the payment is said not to be there")
    return charge_refused(trouble)


def _meaning(
    exchange: Exchange,
    read: Callable[[bytes], Outcome],
    refused: Callable[[Trouble], Outcome],
) -> Outcome:
    match exchange:
        case NotSent(detail=detail):
            return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
        case Broken(reason=reason, detail=detail):
            return Unknown(reason=reason, detail=detail)
        case Answered(status=status, body=body) if status in _OK:
            return intelligible(lambda: read(body))
        case Answered(status=status) if status == _TOO_MANY:
            return Declined(code="too_many_requests", retryable=True, conclusive=False)
        case Answered(status=status) if status >= _SERVER_ERROR:
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case Answered(status=status, body=body):
            return intelligible(lambda: _trouble(decode_trouble(body), status, refused))


def _payment_outcome(payment: Payment, call: ChargeCall, reference: str, *, now_us: int) -> Outcome:
    match payment.result_code:
        case "Authorised":
            return _approved(payment, call)
        case "PartiallyAuthorised" if payment.amount is not None:
            return _approved(payment, call)
        case "Refused" | "Error" | "Cancelled":
            why = decline_of(payment.refusal_reason_code, payment.refusal_reason)
            return Declined(
                code=why.code,
                message=why.message,
                decline_code=payment.refusal_reason_code,
                retryable=why.retryable,
                provider_txn_id=payment.psp_reference,
            )
        case "Pending" | "Received":
            return Pending(provider_txn_id=payment.psp_reference)
        case "RedirectShopper" if _is_place(payment) and call.initiator == "customer":
            assert payment.action is not None
            assert payment.action.url is not None
            return ActionRequired(
                # Where it has no id so far, it can be cancelled by its reference.
                provider_txn_id=payment.psp_reference or reference,
                url=payment.action.url,
                expires_at_us=now_us + ACTION_S * _US_PER_S,
            )
        case "RedirectShopper" | "IdentifyShopper" | "ChallengeShopper":
            # The payer can be sent nowhere, and without them Adyen authorises nothing.
            why = decline_of("38")
            return Declined(
                code=why.code,
                message=why.message,
                decline_code=payment.result_code,
                provider_txn_id=payment.psp_reference,
            )
        case _:
            raise Unintelligible


def _is_place(payment: Payment) -> bool:
    action = payment.action
    return (
        action is not None
        and action.type == "redirect"
        and action.url is not None
        and action.method in (None, "GET")
    )


def _approved(payment: Payment, call: ChargeCall) -> Approved:
    if payment.psp_reference is None:
        raise Unintelligible
    # Adyen may leave the sum out; `Authorised` is of the whole, for less it has a word of its own.
    said = payment.amount
    amount: Money = call.amount if said is None else from_adyen(said.value, said.currency)
    network = payment.additional_data.get("networkTxReference")
    return Approved(
        provider_txn_id=payment.psp_reference,
        amount=amount,
        captured=call.capture,
        network_txn_id=network if isinstance(network, str) and network else None,
        authentication=_authentication(payment, call),
    )


def _authentication(payment: Payment, call: ChargeCall) -> Authentication | None:
    # Who had to be asked was sent away first: what is authorised at once was not asked.
    match payment.additional_data.get("threeDAuthenticated"):
        case "true" if payment.additional_data.get("threeDAuthenticatedResponse") == "A":
            return "attempted"
        case "true":
            return "frictionless"
        case "false":
            return "none"
        case _:
            # Where a step-up was demanded, silence about it is a no.
            return "none" if call.three_d_secure == "required" else None


def _trouble(trouble: Trouble, status: int, refused: Callable[[Trouble], Outcome]) -> Outcome:
    if trouble.error_code == IN_PROGRESS:
        return Unknown(reason="in_progress", detail="the first request with this key is at work")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return Declined(
            code="provider_misconfigured",
            message="The provider does not accept the gateway's account or key.",
            decline_code=trouble.error_code,
            retryable=True,
            conclusive=False,
        )
    return refused(trouble)
