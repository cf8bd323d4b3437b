"""PayPal's access token: fetched once for all callers, and again before it ends."""

import asyncio
import base64
from collections.abc import Callable
from typing import Final

import msgspec

from paygate_actors.outcomes import Declined
from paygate_actors.providers.http_client import Answered, Broken, Exchange, HttpClient, NotSent
from paygate_actors.providers.line_trouble import CLOSED
from paygate_actors.providers.paypal_wire import decode_token

PATH: Final = "/v1/oauth2/token"

# A token lives nine hours; it is renewed this long before its end, while it still works.
RENEW_BEFORE_S: Final = 300.0
# One that lives shorter than that is renewed at half of its life.
_HALF: Final = 2.0

_OK: Final = 200
_TOO_MANY: Final = 429
_REFUSED: Final = frozenset({400, 401, 403})

MISCONFIGURED: Final = Declined(
    code="provider_misconfigured",
    message="The provider does not accept the gateway's account or key.",
    retryable=True,
    conclusive=False,
)
"""No request left, or none was looked at: the credentials are not taken."""


class Tokens:
    """Keeps one account's token. A request that has none did not leave, and is told so.

    `deadline_s` bounds one fetch, whoever waits for it and however long they do.
    """

    def __init__(
        self, client: HttpClient, *, client_id: str, secret: str, deadline_s: float
    ) -> None:
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        headers = {
            "Authorization": f"Basic {basic}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._client = client
        self._deadline_s = deadline_s
        # In closures, so that no error reporter that walks attributes finds a secret.
        self._headers: Callable[[], dict[str, str]] = headers.copy
        self._token: Callable[[], str] | None = None
        self._renew_s = 0.0
        self._ends_s = 0.0
        self._flight: asyncio.Task[str | Declined] | None = None
        self._is_closed = False

    async def get(self, *, deadline_s: float) -> str | Declined:
        """Give the token; fetches it where there is none, or the one that there is nears its end.

        Waits at most `deadline_s` seconds, and not at all while the old one still works.
        """
        if self._is_closed:
            return _not_sent(CLOSED)
        now_s = asyncio.get_running_loop().time()
        token = self._token
        if token is not None and now_s < self._renew_s:
            return token()
        flight = self._flight
        if flight is None:
            # One for all: whoever comes while it is under way waits for the same.
            flight = self._flight = asyncio.create_task(self._fetch(), name="paypal-token")
            flight.add_done_callback(self._landed)
        if token is not None and now_s < self._ends_s:
            return token()
        done, _ = await asyncio.wait({flight}, timeout=deadline_s)
        if not done:
            return _not_sent("PayPal gave no access token within the deadline.")
        return _not_sent(CLOSED) if flight.cancelled() else flight.result()

    def drop(self, token: str) -> None:
        """Forget this token: PayPal does not take it any more. A newer one stays."""
        if self._token is not None and self._token() == token:
            self._token = None

    def close(self) -> None:
        """Break off a fetch. Idempotent."""
        self._is_closed = True
        if self._flight is not None:
            self._flight.cancel()

    def _landed(self, _flight: "asyncio.Task[str | Declined]") -> None:
        self._flight = None

    async def _fetch(self) -> str | Declined:
        exchange = await self._client.send(
            "POST",
            PATH,
            deadline_s=self._deadline_s,
            headers=self._headers(),
            body=b"grant_type=client_credentials",
        )
        return self._read(exchange)

    def _read(self, exchange: Exchange) -> str | Declined:
        match exchange:
            case Answered(status=status, body=body) if status == _OK:
                return self._keep(body)
            case Answered(status=status) if status in _REFUSED:
                return MISCONFIGURED
            case Answered(status=status) if status == _TOO_MANY:
                return Declined(code="too_many_requests", retryable=True, conclusive=False)
            case Answered():
                return _not_sent("PayPal could not give an access token.")
            case NotSent(detail=detail) | Broken(detail=detail):
                return _not_sent(f"There is no access token for PayPal. {detail}")

    def _keep(self, body: bytes) -> str | Declined:
        try:
            token = decode_token(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _not_sent("What PayPal gave as an access token is not understood.")
        # It becomes a header: what could end one is no token.
        if not token.access_token.isascii() or not token.access_token.isprintable():
            return _not_sent("What PayPal gave as an access token cannot be sent.")
        now_s = asyncio.get_running_loop().time()
        life_s = float(token.expires_in)
        self._renew_s = now_s + max(life_s - RENEW_BEFORE_S, life_s / _HALF)
        self._ends_s = now_s + life_s
        text = token.access_token
        self._token = lambda: text
        return text


def _not_sent(detail: str) -> Declined:
    return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
