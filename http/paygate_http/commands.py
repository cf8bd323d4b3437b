"""Makes commands of decoded bodies: all checks of a body, then one `raise` for all its faults."""

from collections.abc import Callable

from paygate_actors.card import SealedCard
from paygate_actors.card_checks import is_expired
from paygate_actors.config import Limits
from paygate_actors.messages import Caller, ProcessPayment, ScoreRequest
from paygate_actors.payment_methods import CardMethod, ProviderTokenMethod
from paygate_http import payment_checks as checks
from paygate_http.bodies import PaymentBody
from paygate_http.credential_checks import check_initiation
from paygate_http.decode import decode
from paygate_http.incoming import Incoming
from paygate_http.requests import idempotency_key
from paygate_http.validation import Faults


def process_payment(
    request: Incoming, raw: bytes, *, caller: Caller, limits: Limits, now_us: int
) -> ProcessPayment:
    """Read a payment to be made. Raises `Problem` with every fault of the request."""
    faults = Faults()
    body = decode(raw, PaymentBody, faults)
    amount = checks.check_amount(body.amount, body.currency, faults, bounds=limits.amounts)
    method = checks.check_method(body.payment_method, faults, now_us=now_us, strict=True)
    billing = checks.check_billing(body.billing_address, faults)
    metadata = checks.check_metadata(body.metadata, faults)
    return_url = checks.check_return_url(body.return_url, faults)
    customer_ip = checks.check_ip(body.customer_ip, faults)
    initiation = check_initiation(body, method, faults)
    key = idempotency_key(request, body.idempotency_key, faults)
    for text, pointer in ((body.description, "/description"), (body.provider, "/provider")):
        if text is not None:
            checks.check_text(text, pointer, faults)
    # An expired card alone is refused behind the key: the payment may have been made in its time.
    stands = not faults or faults.only("expired_card")
    if not stands or amount is None or method is None:
        raise faults.problem()
    return ProcessPayment(
        caller=caller,
        amount=amount,
        method=method,
        billing=billing,
        metadata=metadata,
        idempotency_key=key,
        capture_method=body.capture_method or "automatic",
        description=body.description,
        provider=body.provider,
        return_url=return_url,
        customer_ip=customer_ip,
        initiation=initiation,
        store_credential=body.store_credential or False,
        three_d_secure=body.three_d_secure or "automatic",
    )


def score_request(
    raw: bytes,
    *,
    merchant: str,
    now_us: int,
    fingerprint: Callable[[SealedCard | ProviderTokenMethod], str],
) -> ScoreRequest:
    """Read a payment to be scored: what makes a card unfit to be charged is no fault here."""
    faults = Faults()
    body = decode(raw, PaymentBody, faults)
    amount = checks.check_amount(body.amount, body.currency, faults, bounds=None)
    method = checks.check_method(body.payment_method, faults, now_us=now_us, strict=False)
    metadata = checks.check_metadata(body.metadata, faults)
    customer_ip = checks.check_ip(body.customer_ip, faults)
    if faults or amount is None or method is None:
        raise faults.problem()
    card = method if isinstance(method, CardMethod) else None
    counted: SealedCard | ProviderTokenMethod | None = None
    if isinstance(method, ProviderTokenMethod):
        counted = method
    if card is not None and card.card.number_valid:
        counted = card.card
    return ScoreRequest(
        merchant=merchant,
        amount=amount,
        has_card=card is not None,
        number_valid=card is not None and card.card.number_valid,
        expired=card is not None and is_expired(card.expiry_month, card.expiry_year, now_us=now_us),
        fingerprint=None if counted is None else fingerprint(counted),
        customer_id=metadata.get("customerID"),
        customer_ip=customer_ip,
    )
