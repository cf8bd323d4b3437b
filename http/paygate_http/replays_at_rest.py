"""Webhooks read again in a folder that no server serves, or in a database that many do."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from paygate_actors.addressees import Addressees
from paygate_actors.config import Config
from paygate_actors.damage import DamageBook, Mender
from paygate_actors.furnish import adapters_of
from paygate_actors.guarding import guarded
from paygate_actors.marks import is_unmarked
from paygate_actors.messages import Refusal
from paygate_actors.parking import Stored
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.replay_messages import ReplayPage, ReplayWebhooks
from paygate_actors.replaying import Replayer
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Store
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.configure import sandbox_providers
from paygate_http.logs import configure_logs
from paygate_http.opening import open_gateway
from paygate_http.process import Exit, Refused, leave
from paygate_http.stores import opened_to_read

Pages = Callable[[ReplayWebhooks], Awaitable[ReplayPage | Refusal]]

_NOBODY: Final = "http://127.0.0.1:1"


def refuse_no_data(folder: Path) -> None:
    """Raise `Refused` for a folder in which there is nothing to read; none is ever made."""
    if not folder.is_dir():
        raise Refused(f"there is no folder {folder}")
    database = folder / DATABASE_NAME
    if not database.is_file() or not database.stat().st_size:
        raise Refused(f"{folder} holds no gateway's data: name the right one with --data")


@asynccontextmanager
async def writing(config: Config) -> AsyncGenerator[Pages]:
    """Pages of a gateway that has the folder to itself, or is one node more for that time.

    Raises what `open_gateway` does. It is opened, but not recovered: what is read otherwise is
    stored, and the next server that starts brings it to its payments.
    """
    # Standard output is for what changed.
    configure_logs("warning")
    gateway = await open_gateway(_with_sandbox(config), on_fatal=lambda _: leave(Exit.FAILED))
    try:
        yield gateway.front.replay_webhooks
    finally:
        await gateway.stop()


@asynccontextmanager
async def reading(config: Config) -> AsyncGenerator[Pages]:
    """Pages that change nothing: no lock, no upgrade, no audit row.

    Raises `StoreRefused` for a folder of an older version, or of the other mode.
    """
    async with opened_to_read(config, Path(config.data_dir)) as store:
        mode = "sandbox" if config.sandbox.enabled else "live"
        await is_unmarked(config.data_dir, store, mode=mode)
        adapters = adapters_of(_with_sandbox(config))
        try:
            replayer = Replayer(store=store, adapter_of=adapters.get, payment_of=_payment_of(store))
            yield lambda command: guarded(replayer.page(command))
        finally:
            for adapter in adapters.values():
                await adapter.close()


def _payment_of(store: Store) -> Callable[[str, ProviderEvent], Awaitable[str | None]]:
    addressees = Addressees(store, Mender(store, DamageBook()), lambda _: False)

    async def find(provider: str, event: ProviderEvent) -> str | None:
        try:
            return await addressees.find(Stored(provider=provider, event=event))
        except Corrupt:
            return None  # as a server says of an event whose payment is damaged

    return find


def _with_sandbox(config: Config) -> Config:
    """The providers that a server with a sandbox would have; they are read with, and not called."""
    if not config.sandbox.enabled:
        return config
    named = {provider.id for provider in config.providers}
    added = [each for each in sandbox_providers(_NOBODY) if each.id not in named]
    return replace(config, providers=(*config.providers, *added))
