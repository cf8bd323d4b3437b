"""How a simulated client writes its wishes as requests, and what it gets wrong on purpose."""

from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never
from urllib.parse import quote

import msgspec
from msgspec import Struct

from paygate_actors.desk_messages import AskAgain, GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)
from paygate_actors.money import Money
from paygate_actors.payment_methods import (
    CardMethod,
    Method,
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.simulation.doors import (
    OPERATOR,
    CheckFraud,
    DeskWish,
    ListPayments,
    Notice,
    Operation,
    ReadPayment,
    Spoil,
    SpoiltRequest,
    Wish,
)
from paygate_http.incoming import BODY_BYTES_MAX
from paygate_http.route import JSON
from paygate_http.wire import encode

# Every third request that takes a key names it in its body, every third in both.
_KEY_PLACES: Final = 3
# Every so many requests ask to be held until the outcome is known.
_PREFERS: Final = 7
_CURRENCY: Final = "USD"


class Posted(Struct, frozen=True, kw_only=True):
    """A request as it goes out."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


def bearer(caller: Caller) -> str:
    """The API key of a simulated caller."""
    return f"sk_simulated_{caller.key_id}"


def request_of(wish: Wish, turn: int) -> Posted:
    """The request of a wish; `turn` decides between ways of saying the same."""
    match wish:
        case ProcessPayment():
            body = _payment_body(wish)
            return _keyed(wish, "/api/payments/process", body, turn)
        case CapturePayment() | RefundPayment() | ReversePayment():
            return _keyed(wish, _operation_path(wish), _operation_body(wish), turn)
        case ReviewPayment():
            body = {"decision": wish.decision, "note": wish.note}
            return _post(wish.caller, f"/api/payments/{_id(wish.payment_id)}/review", body)
        case SetTransactionStatus():
            body = {"status": wish.status, "reason": wish.reason, "force": wish.force}
            path = f"/api/transactions/{_id(wish.transaction_id)}/status"
            return _post(wish.caller, path, body)
        case AskAgain() | MarkNotCharged() | GiveBack() | MarkSeen():
            return _desk_request(wish)
        case ReadPayment():
            return _get(wish.caller, f"/api/payments/{_id(wish.payment_id)}")
        case ListPayments():
            cursor = "" if wish.cursor is None else f"&cursor={quote(wish.cursor, safe='')}"
            return _get(wish.caller, f"/api/payments?limit={wish.limit}{cursor}")
        case CheckFraud():
            return _post(wish.command.caller, "/api/fraud/check", _payment_body(wish.command))
        case Notice():
            # Both paths are the same door.
            path = ("/api/webhooks/{}", "/api/providers/{}/webhook")[turn % 2]
            return Posted(
                method="POST",
                path=path.format(_id(wish.provider)),
                headers=wish.headers,
                body=wish.body,
            )
        case SpoiltRequest():
            return _spoilt(wish.command, wish.spoil)
        case _:
            assert_never(wish)


STATUS_OF_SPOIL: Final[Mapping[Spoil, int]] = {
    "truncated": 400,
    "nan": 400,
    "not_utf8": 400,
    "no_caller": 401,
    "unknown_caller": 401,
    "wrong_role": 403,
    "too_large": 413,
    "untyped": 415,
    "wrong_type": 422,
    "too_precise": 422,
    "zero": 422,
    "unknown_currency": 422,
    "wrong_digit": 422,
    "expired": 422,
    "long_key": 422,
}
"""What the API promises for each."""

_IN_BODY: Final[Mapping[Spoil, tuple[str, object]]] = {
    "wrong_type": ("amount", "100.00"),
    "too_precise": ("amount", msgspec.Raw(b"100.001")),
    "zero": ("amount", 0),
    "nan": ("amount", msgspec.Raw(b"NaN")),
    "unknown_currency": ("currency", "XYZ"),
    "wrong_digit": (
        "paymentMethod",
        {"type": "card", "cardNumber": "4242424242424241", "expiryMonth": 12, "expiryYear": 2040},
    ),
    "expired": (
        "paymentMethod",
        {"type": "card", "cardNumber": "4242424242424242", "expiryMonth": 12, "expiryYear": 2024},
    ),
}
_IN_BYTES: Final[Mapping[Spoil, Callable[[bytes], bytes]]] = {
    "truncated": lambda body: body[:-5],
    "not_utf8": lambda body: body.replace(b'"USD"', b'"US\xff"'),
    "too_large": lambda body: body + b" " * BODY_BYTES_MAX,
}
_IN_HEADERS: Final[Mapping[Spoil, dict[str, str]]] = {
    "untyped": {"Content-Type": "text/plain"},
    "long_key": {"Idempotency-Key": "k" * 256},
    "no_caller": {"Authorization": "Basic bm9ib2R5"},
    "unknown_caller": {"Authorization": "Bearer sk_simulated_nobody"},
    "wrong_role": {"Authorization": f"Bearer {bearer(OPERATOR)}"},
}


def _spoilt(command: ProcessPayment, spoil: Spoil) -> Posted:
    body = _payment_body(command)
    if spoil in _IN_BODY:
        name, value = _IN_BODY[spoil]
        body[name] = value
    right = _keyed(command, "/api/payments/process", body, 0)
    return Posted(
        method=right.method,
        path=right.path,
        headers=right.headers | _IN_HEADERS.get(spoil, {}),
        body=_IN_BYTES.get(spoil, bytes)(right.body),
    )


def _keyed(wish: ProcessPayment | Operation, path: str, body: dict[str, Any], turn: int) -> Posted:
    """Name the key in one of the ways; the header's wins."""
    headers: dict[str, str] = {}
    key = wish.idempotency_key
    if key is not None:
        place = turn % _KEY_PLACES
        if place != 1:
            headers["Idempotency-Key"] = key
        if place:
            body["idempotencyKey"] = key if place == 1 else "the header wins"
    if turn % _PREFERS == 0:
        headers["Prefer"] = "wait=2"
    return _post(wish.caller, path, body, headers)


def _payment_body(command: ProcessPayment) -> dict[str, Any]:
    body: dict[str, Any] = {
        "amount": command.amount.to_decimal(),
        "currency": command.amount.currency,
        "paymentMethod": _method_body(command.method),
        "captureMethod": command.capture_method,
    }
    if command.metadata:
        body["metadata"] = command.metadata
    return body


def _method_body(method: Method) -> dict[str, Any]:
    match method:
        case CardMethod():
            number, cvv = method.card.reveal()
            return {
                "type": method.kind,
                "cardNumber": number,
                "cvv": cvv,
                "expiryMonth": method.expiry_month,
                "expiryYear": method.expiry_year,
            }
        case WalletMethod():
            return {"type": "wallet", "walletID": method.wallet_id}
        case TokenMethod():
            return {"type": "token", "token": method.token}
        case ProviderTokenMethod():
            token = method.token.reveal()
            return {"type": "provider_token", "provider": method.provider, "token": token}
        case _:
            assert_never(method)


def _operation_path(wish: Operation) -> str:
    verb = {CapturePayment: "capture", RefundPayment: "refund", ReversePayment: "reverse"}
    return f"/api/payments/{_id(wish.payment_id)}/{verb[type(wish)]}"


def _operation_body(wish: Operation) -> dict[str, Any]:
    if isinstance(wish, ReversePayment):
        return {"orRefund": wish.or_refund}
    if wish.amount_minor is None:
        return {}
    return {"amount": Money(wish.amount_minor, _CURRENCY).to_decimal()}


def _desk_request(wish: DeskWish) -> Posted:
    path = f"/api/in-doubt/{_id(wish.payment_id)}"
    match wish:
        case AskAgain():
            return _post(wish.caller, f"{path}/ask", {})
        case MarkNotCharged():
            return _post(wish.caller, f"{path}/not-charged", {"reason": wish.reason})
        case GiveBack():
            return _post(wish.caller, f"{path}/give-back", {"reason": wish.reason})
        case MarkSeen():
            return _post(wish.caller, f"{path}/seen", {"note": wish.note})
        case _:
            assert_never(wish)


def _get(caller: Caller, path: str) -> Posted:
    return Posted(method="GET", path=path, headers=_authorized(caller))


def _post(
    caller: Caller, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> Posted:
    return Posted(
        method="POST",
        path=path,
        headers={**_authorized(caller), "Content-Type": JSON, **(headers or {})},
        body=encode(body),
    )


def _authorized(caller: Caller) -> dict[str, str]:
    return {"Authorization": f"Bearer {bearer(caller)}"}


def _id(text: str) -> str:
    return quote(text, safe="")
