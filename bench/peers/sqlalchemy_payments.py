"""The FastAPI peer's table, and the service over it: sessions, and charges behind the answers."""

import asyncio
from pathlib import Path
from typing import Any

from peer_rules import charge, now_text
from sqlalchemy import JSON, UniqueConstraint, event, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables."""


class Payment(Base):
    """One payment."""

    __tablename__ = "payments"
    __table_args__ = (UniqueConstraint("merchant", "idempotency_key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    merchant: Mapped[str]
    idempotency_key: Mapped[str]
    fingerprint: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str]
    last4: Mapped[str]
    meta: Mapped[dict[str, str]] = mapped_column("metadata", JSON)
    provider_txn_id: Mapped[str | None]
    created_at: Mapped[str]
    updated_at: Mapped[str]


def engine_on(path: Path) -> AsyncEngine:
    """The database, in the mode and with the syncs that money needs."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # pyright: ignore[reportUnusedFunction]  # it is heard of
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine


class Service:
    """The service's state: its sessions, and the charges that are under way."""

    def __init__(self, path: Path) -> None:
        self.engine = engine_on(path)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self.under_way: set[asyncio.Task[None]] = set()

    async def settled(self) -> int:
        """How many are paid."""
        query = select(func.count()).select_from(Payment).where(Payment.status == "success")
        async with self.sessions() as session:
            return await session.scalar(query) or 0

    def begin_charge(self, payment_id: str) -> None:
        """Charge behind the answer."""
        task = asyncio.create_task(self._charge(payment_id))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def _charge(self, payment_id: str) -> None:
        provider_txn_id = await charge()
        async with self.sessions.begin() as session:
            await session.execute(
                update(Payment)
                .where(Payment.id == payment_id)
                .values(status="success", provider_txn_id=provider_txn_id, updated_at=now_text())
            )
