"""A peer: the gateway that a good engineer writes in a day with aiohttp and aiosqlite.

One connection, one transaction at a time, a commit for each: the connection is shared, so without
the lock one request's commit would commit the half-written rows of another. The idempotency key is
unique in the same row as the payment. The provider is called in a task behind the answer.
"""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import aiosqlite
from aiohttp import web
from peer_rules import (
    CURRENCIES,
    charge,
    expired,
    fingerprint,
    luhn,
    merchants,
    minor_units,
    now_text,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    id TEXT PRIMARY KEY,
    merchant TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    last4 TEXT NOT NULL,
    metadata TEXT NOT NULL,
    provider_txn_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (merchant, idempotency_key)
)
"""


class Refused(Exception):
    """A request that is answered with a status and a code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Payments:
    """The table, and the charges that are under way."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._writes = asyncio.Lock()
        self.under_way: set[asyncio.Task[None]] = set()

    async def take(self, row: dict[str, Any]) -> dict[str, Any]:
        """Store a new payment, or find the one that the key belongs to."""
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        async with self._writes:
            try:
                await self._connection.execute(
                    f"INSERT INTO payments ({names}) VALUES ({places})", row
                )
            except sqlite3.IntegrityError:
                await self._connection.rollback()
            else:
                await self._connection.commit()
                task = asyncio.create_task(self._charge(row["id"]))
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
                return {**row, "provider_txn_id": None}
        where = "merchant = :merchant AND idempotency_key = :idempotency_key"
        found = await self.find(where, row)
        if found is None or found["fingerprint"] != row["fingerprint"]:
            raise Refused(409, "idempotency_key_reused")
        return found

    async def find(self, where: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """One payment as it is stored."""
        async with self._connection.execute(
            f"SELECT * FROM payments WHERE {where}", dict(values)
        ) as cursor:
            row = await cursor.fetchone()
        return None if row is None else dict(row)

    async def settled(self) -> int:
        """How many are paid."""
        query = "SELECT count(*) FROM payments WHERE status = 'success'"
        async with self._connection.execute(query) as cursor:
            row = await cursor.fetchone()
        return 0 if row is None else cast("int", row[0])

    async def _charge(self, payment_id: str) -> None:
        provider_txn_id = await charge()
        async with self._writes:
            await self._connection.execute(
                "UPDATE payments SET status = 'success', provider_txn_id = ?, updated_at = ?"
                " WHERE id = ?",
                (provider_txn_id, now_text(), payment_id),
            )
            await self._connection.commit()


PAYMENTS = web.AppKey("payments", Payments)
MERCHANTS = web.AppKey("merchants", dict[str, str])


def read_body(raw: bytes, merchant: str, key: str) -> dict[str, Any]:
    """Check a request, and make a row of it. Raises `Refused`."""
    try:
        body = json.loads(raw, parse_float=Decimal, parse_int=int)
        amount = minor_units(Decimal(body["amount"]))
        currency, method = body["currency"], body["paymentMethod"]
        number, month, year = method["cardNumber"], method["expiryMonth"], method["expiryYear"]
        metadata = json.dumps(body.get("metadata", {}))
        if method["type"] != "card" or not 1 <= month <= 12:
            raise Refused(422, "invalid_payment_method")
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise Refused(400, "malformed_request") from error
    if amount is None:
        raise Refused(422, "invalid_amount")
    if currency not in CURRENCIES:
        raise Refused(422, "unknown_currency")
    if not luhn(number):
        raise Refused(422, "invalid_card_number")
    if expired(month, year):
        raise Refused(422, "expired_card")
    at = now_text()
    return {
        "id": f"pay_{uuid.uuid4().hex}",  # noqa: TID251  # a peer is no part of the gateway
        "merchant": merchant,
        "idempotency_key": key,
        "fingerprint": fingerprint(raw),
        "amount_minor": amount,
        "currency": currency,
        "status": "processing",
        "last4": number[-4:],
        "metadata": metadata,
        "created_at": at,
        "updated_at": at,
    }


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A payment as the API shows it."""
    return {
        "id": row["id"],
        "status": row["status"],
        "amountMinor": row["amount_minor"],
        "currency": row["currency"],
        "paymentMethod": {"type": "card", "last4": row["last4"]},
        "metadata": json.loads(row["metadata"]),
        "providerTxnID": row["provider_txn_id"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }


async def process(request: web.Request) -> web.Response:
    """Make a payment, or find the one that the key belongs to."""
    merchant = merchant_of(request)
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise Refused(400, "idempotency_key_missing")
    row = read_body(await request.read(), merchant, key)
    return web.json_response(shown(await request.app[PAYMENTS].take(row)), status=201)


async def read(request: web.Request) -> web.Response:
    """Show a payment."""
    values = {"merchant": merchant_of(request), "id": request.match_info["id"]}
    row = await request.app[PAYMENTS].find("id = :id AND merchant = :merchant", values)
    if row is None:
        raise Refused(404, "not_found")
    return web.json_response(shown(row))


def merchant_of(request: web.Request) -> str:
    """Whose key it is. Raises `Refused`."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    merchant = request.app[MERCHANTS].get(key)
    if scheme != "Bearer" or merchant is None:
        raise Refused(401, "unauthenticated")
    return merchant


@web.middleware
async def refusing(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what is refused."""
    try:
        return await handler(request)
    except Refused as refused:
        return web.json_response({"error": refused.code}, status=refused.status)


async def application(path: Path, keys: int) -> web.Application:
    """The whole service on a database file."""
    connection = await aiosqlite.connect(path)
    connection.row_factory = aiosqlite.Row
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _SCHEMA):
        await connection.execute(statement)
    await connection.commit()
    payments = Payments(connection)

    async def close(_: web.Application) -> None:
        await asyncio.gather(*payments.under_way)
        await connection.close()

    app = web.Application(middlewares=[refusing])
    app[PAYMENTS] = payments
    app[MERCHANTS] = merchants(keys)
    app.router.add_post("/api/payments/process", process)
    app.router.add_get("/api/payments/{id}", read)
    app.on_cleanup.append(close)
    return app
