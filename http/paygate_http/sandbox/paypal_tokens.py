"""Access tokens of the account that speaks PayPal's API: given out for the client's credentials.

They live in memory: a sandbox that was started again knows none of them, as PayPal knows none any
more after a while.
"""

import base64
import binascii
from collections import OrderedDict
from typing import Final
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.sandbox.passage import Passage, Reply
from paygate_http.sandbox.paypal_errors import PayPalTrouble
from paygate_http.sandbox.wire import ProviderId

CLIENT_ID: Final = "paygate_sandbox_client"
"""What the sandbox takes for a REST app's client id at PayPal."""
CLIENT_SECRET: Final = "paygate_sandbox_paypal"  # noqa: S105 - public: the documents print it
"""What the sandbox takes for its secret; a live server refuses it."""

# PayPal's own live nine hours.
LIFE_S: Final = 32_400
# A client that asks for a new one with every call has no more than this.
TOKENS_MAX: Final = 1_000

_OK: Final = 200
_BAD: Final = 400
_UNAUTHORIZED: Final = 401
_US_PER_S: Final = 1_000_000


class Tokens:
    """Gives out tokens and takes them."""

    def __init__(self, *, provider: ProviderId, passage: Passage, clock: Clock, ids: Ids) -> None:
        self._provider: ProviderId = provider
        self._passage = passage
        self._clock = clock
        self._ids = ids
        self._ends_us: OrderedDict[str, int] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes to add to the sandbox's application."""
        return [web.post("/v1/oauth2/token", self._give)]

    def check(self, request: web.Request) -> None:
        """Take a call's token. Raises `PayPalTrouble`, with a 401."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        ends_us = self._ends_us.get(token, 0)
        if scheme.lower() != "bearer" or self._clock.now_us() >= ends_us:
            raise PayPalTrouble(_UNAUTHORIZED)

    async def _give(self, request: web.Request) -> web.StreamResponse:
        entry = self._passage.note(self._provider, "token", None)
        form = parse_qs((await request.read()).decode("utf-8", "replace"))
        if not _is_client(request.headers.get("Authorization", "")):
            reply = _refused(_UNAUTHORIZED, "invalid_client", "Client Authentication failed")
        elif form.get("grant_type") != ["client_credentials"]:
            reply = _refused(_BAD, "unsupported_grant_type", "unsupported grant_type")
        else:
            reply = Reply(_OK, msgspec.json.encode(self._made()))
        return await self._passage.send(request, reply, entry)

    def _made(self) -> dict[str, object]:
        token = "A21AA" + self._ids.new("token").replace("_", "-")
        self._ends_us[token] = self._clock.now_us() + LIFE_S * _US_PER_S
        while len(self._ends_us) > TOKENS_MAX:
            self._ends_us.popitem(last=False)
        return {
            "scope": "https://uri.paypal.com/services/payments/payment",
            "access_token": token,
            "token_type": "Bearer",
            "app_id": "APP-PAYGATESANDBOX",
            "expires_in": LIFE_S,
            "nonce": token[-20:],
        }


def _is_client(header: str) -> bool:
    scheme, _, given = header.partition(" ")
    try:
        text = base64.b64decode(given, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme.lower() == "basic" and text == f"{CLIENT_ID}:{CLIENT_SECRET}"


def _refused(status: int, error: str, description: str) -> Reply:
    return Reply(status, msgspec.json.encode({"error": error, "error_description": description}))
