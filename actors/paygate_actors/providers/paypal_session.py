"""One account's way to PayPal: requests with its token, renewed where PayPal takes it no more."""

import re
from typing import Final

from paygate_actors.outcomes import Declined
from paygate_actors.providers.countdown import countdown
from paygate_actors.providers.http_client import Answered, Exchange, HttpClient
from paygate_actors.providers.paypal_token import Tokens

# A page of a hundred events is some 300 KiB; an order with a hundred refunds less.
ANSWER_BYTES_MAX: Final = 1024 * 1024

_VISIBLE = re.compile(r"[!-9;-~]{1,255}")
_UNAUTHORIZED: Final = 401

Reply = Exchange | Declined
"""What came back, or why no request left."""


class Session:
    """Raises `ValueError` for an unusable client id or secret."""

    def __init__(
        self,
        client: HttpClient,
        *,
        client_id: str,
        secret: str,
        deadline_s: float,
    ) -> None:
        # A colon in the client id would end it where the secret begins.
        if _VISIBLE.fullmatch(client_id) is None:
            raise ValueError("PayPal's client id is empty, or is none")
        if not secret.strip() or not secret.isascii() or not secret.isprintable():
            raise ValueError("PayPal's client secret is empty, or is none")
        self._client = client
        self._tokens = Tokens(client, client_id=client_id, secret=secret, deadline_s=deadline_s)

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        key: str | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send one request under this key within `deadline_s` seconds; raises nothing.

        A 401 says that the request was not looked at: once, a fresh token is fetched, and the same
        request goes out under the same key.
        """
        time_left = countdown(deadline_s)

        async def once() -> Reply:
            token = await self._tokens.get(deadline_s=time_left())
            if isinstance(token, Declined):
                return token
            headers = _headers(token, key, body)
            exchange = await self._client.send(
                method, path, deadline_s=time_left(), headers=headers, body=body
            )
            if isinstance(exchange, Answered) and exchange.status == _UNAUTHORIZED:
                self._tokens.drop(token)
            return exchange

        reply = await once()
        if isinstance(reply, Answered) and reply.status == _UNAUTHORIZED:
            return await once()
        return reply

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        self._tokens.close()
        await self._client.close()


def _headers(token: str, key: str | None, body: bytes | None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}", "Prefer": "return=representation"}
    if key is not None:
        headers["PayPal-Request-Id"] = key
    if body is not None:
        headers["Content-Type"] = "application/json"
    return headers
