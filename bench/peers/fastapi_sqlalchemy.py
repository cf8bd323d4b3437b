"""A peer: the gateway that a good engineer writes in a day with FastAPI and SQLAlchemy's asyncio.

A session for each request, a commit for each; the idempotency key is unique in the same row as the
payment. The provider is called in a task behind the answer: FastAPI's own background tasks would
hold the connection until it has answered.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_bodies import Body, MethodShown, Shown
from peer_rules import fingerprint, merchants, minor_units, now_text
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy_payments import Base, Payment, Service

router = APIRouter(prefix="/api/payments")
bearer = HTTPBearer(auto_error=False)


async def application(path: Path, keys: int) -> tuple[FastAPI, Service]:
    """The whole service on a database file."""
    service = Service(path)
    async with service.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await asyncio.gather(*service.under_way)
        await service.engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.state.service = service
    app.state.merchants = merchants(keys)
    app.include_router(router)
    return app, service


def service_of(request: Request) -> Service:
    """The service that the application was made with."""
    return request.app.state.service


async def session_of(request: Request) -> AsyncGenerator[AsyncSession]:
    """A session for one request."""
    async with service_of(request).sessions() as session:
        yield session


def merchant_of(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> str:
    """Whose key it is."""
    known: dict[str, str] = request.app.state.merchants
    found = None if given is None else known.get(given.credentials)
    if found is None:
        raise HTTPException(401, "unauthenticated")
    return found


Session = Annotated[AsyncSession, Depends(session_of)]
Merchant = Annotated[str, Depends(merchant_of)]


@router.post("/process", status_code=201)
async def process(
    request: Request,
    body: Body,
    session: Session,
    merchant: Merchant,
    idempotency_key: Annotated[str, Header(min_length=1)],
) -> Shown:
    """Make a payment, or find the one that the key belongs to."""
    raw = await request.body()
    payment = row_of(body, raw, merchant=merchant, key=idempotency_key)
    session.add(payment)
    try:
        await session.commit()
    except IntegrityError:
        await session.rollback()
    else:
        service_of(request).begin_charge(payment.id)
        return shown(payment)
    query = select(Payment).where(
        Payment.merchant == merchant, Payment.idempotency_key == idempotency_key
    )
    found = await session.scalar(query)
    if found is None or found.fingerprint != fingerprint(raw):
        raise HTTPException(409, "idempotency_key_reused")
    return shown(found)


@router.get("/{payment_id}")
async def read(payment_id: str, session: Session, merchant: Merchant) -> Shown:
    """Show a payment."""
    found = await session.get(Payment, payment_id)
    if found is None or found.merchant != merchant:
        raise HTTPException(404, "not_found")
    return shown(found)


def row_of(body: Body, raw: bytes, *, merchant: str, key: str) -> Payment:
    """The row of a request that was checked."""
    at = now_text()
    return Payment(
        id=f"pay_{uuid.uuid4().hex}",  # noqa: TID251  # a peer is no part of the gateway
        merchant=merchant,
        idempotency_key=key,
        fingerprint=fingerprint(raw),
        amount_minor=minor_units(body.amount),
        currency=body.currency,
        status="processing",
        last4=body.payment_method.card_number[-4:],
        meta=body.metadata,
        provider_txn_id=None,
        created_at=at,
        updated_at=at,
    )


def shown(payment: Payment) -> Shown:
    """A payment as the API shows it."""
    return Shown(
        id=payment.id,
        status=payment.status,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        payment_method=MethodShown(type="card", last4=payment.last4),
        metadata=payment.meta,
        providerTxnID=payment.provider_txn_id,
        created_at=payment.created_at,
        updated_at=payment.updated_at,
    )
