"""The yardsticks: what a bare aiohttp handler costs that does the least for the same requests.

It looks the key up among as many, decodes the same bodies with msgspec, checks the same signature,
encodes replies as long as ours, and keeps nothing. Ours digests keys under a pepper before it looks
them up; this one takes the text, so that nobody can say that it was made slow.
"""

import asyncio
import itertools

import msgspec
from aiohttp import web
from instant_provider import ID, instant
from made_requests import KEYS, key
from measured_server import serve

from paygate_actors.providers.base import SignatureInvalid
from paygate_engine.clock import SystemClock
from paygate_http.logs import configure_logs

# What makes a reply as long as the gateway's, held by a test of `bench_table`.
FILLING = "x" * 865
_JSON = {"Content-Type": "application/json"}


class Method(msgspec.Struct, rename="camel"):
    """A payment method as it comes in."""

    type: str
    card_number: str
    expiry_month: int
    expiry_year: int
    cvv: str
    holder_name: str


class Address(msgspec.Struct, rename="camel"):
    """A billing address."""

    street: str
    city: str
    state: str
    zip_code: str
    country: str


class Body(msgspec.Struct, rename="camel"):
    """The request."""

    amount: float
    currency: str
    payment_method: Method
    billing_address: Address
    metadata: dict[str, str]


class Reply(msgspec.Struct, rename="camel"):
    """The reply."""

    id: str
    status: str
    amount: float
    currency: str
    payment_method: dict[str, str]
    billing_address: Address
    metadata: dict[str, str]
    filling: str = FILLING


def application() -> web.Application:
    """Handlers with authentication, decoding and encoding, and nothing behind them."""
    decode = msgspec.json.Decoder(Body).decode
    encode = msgspec.json.Encoder().encode
    keys = {f"Bearer {key(number)}": str(number) for number in range(KEYS)}
    numbers = itertools.count(1)
    address = Address("1 Main Street", "San Francisco", "CA", "94105", "US")
    provider, clock = instant(), SystemClock()

    def reply(payment_id: str, method: dict[str, str], metadata: dict[str, str]) -> bytes:
        made = Reply(payment_id, "processing", 100.0, "USD", method, address, metadata)
        return encode(made)

    async def process(request: web.Request) -> web.Response:
        if keys.get(request.headers.get("Authorization", "")) is None:
            return web.Response(status=401)
        body = decode(await request.read())
        method = {"type": body.payment_method.type, "last4": body.payment_method.card_number[-4:]}
        payment_id = f"pay_{next(numbers):026d}"
        answer = reply(payment_id, method, body.metadata)
        return web.Response(body=answer, status=201, headers=_JSON)

    async def read(request: web.Request) -> web.Response:
        if keys.get(request.headers.get("Authorization", "")) is None:
            return web.Response(status=401)
        payment_id = request.match_info["id"]
        method = {"type": "card", "last4": "4242"}
        metadata = {"orderID": payment_id, "customerID": "customer-1"}
        return web.Response(body=reply(payment_id, method, metadata), headers=_JSON)

    async def webhook(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): text for name, text in request.headers.items()}
        try:
            provider.verify(headers, body, now_us=clock.now_us())
        except SignatureInvalid:
            return web.Response(status=401)
        provider.parse(headers, body)
        return web.Response(body=b'{"received":true}\n', headers=_JSON)

    app = web.Application()
    app.router.add_post("/api/payments/process", process)
    app.router.add_get("/api/payments/{id}", read)
    app.router.add_post(f"/api/webhooks/{ID}", webhook)
    return app


async def main() -> None:
    """Serve until the parent closes our standard input."""
    configure_logs("error")
    await serve(web.AppRunner(application(), access_log=None))


if __name__ == "__main__":
    asyncio.run(main())
