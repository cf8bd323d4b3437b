"""The names of keys that verified webhooks, kept for the time after a restart.

Anybody can have an adapter asked for a key that does not exist, so an adapter bounds how many it
fetches. It would not know the provider's own from those then: what was trusted once is told to it
again before the doors open. A name comes about once a year, and is one small document.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final, Protocol, TypeGuard, runtime_checkable

import msgspec
import structlog

from paygate_actors.guarding import guarded
from paygate_actors.messages import Refusal
from paygate_actors.projection import KEY_NAMES
from paygate_actors.provider_desk import Desk
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Document, Store, Unit

# An adapter keeps a handful; one that names more is not listened to.
NAMES_MAX: Final = 32

_log = structlog.get_logger("paygate.webhooks")


@runtime_checkable
class NamesKeys(Protocol):
    """An adapter that can say which keys it trusted, and be told of them again."""

    def known_keys(self) -> tuple[str, ...]:
        """Give the names of the keys that were trusted, a bounded number."""
        ...

    def know_keys(self, names: Iterable[str]) -> None:
        """Take these for trusted before: fetched apart from what anybody makes up.

        A key itself is trusted by its own proof alone, as ever. What is no name is passed over.
        """
        ...


class KeyNames:
    """Keeps them, a document for each provider."""

    def __init__(self, *, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._kept: dict[str, tuple[str, ...]] = {}

    async def recover(self, desk: Desk) -> None:
        """Tell the adapter what it knew. What is damaged says nothing."""
        adapter = desk.adapter
        if not _names_keys(adapter):
            return
        document = await self._store.read_document(KEY_NAMES, desk.config.id)
        if document is None or not document.sound:
            return
        names = msgspec.json.decode(document.body, type=tuple[str, ...])
        self._kept[desk.config.id] = names
        try:
            adapter.know_keys(names)
        except Exception as error:  # noqa: BLE001 - an adapter may be a stranger's
            _note(desk, error)

    async def keep(self, desk: Desk) -> None:
        """Write down what the adapter knows, where that is news."""
        adapter = desk.adapter
        if not _names_keys(adapter):
            return
        provider = desk.config.id
        try:
            names = adapter.known_keys()[:NAMES_MAX]
        except Exception as error:  # noqa: BLE001 - as above
            _note(desk, error)
            return
        if not names or names == self._kept.get(provider):
            return
        # Before the commit: others who come meanwhile have nothing more to write.
        self._kept[provider] = names
        document = Document(kind=KEY_NAMES, id=provider, body=msgspec.json.encode(names))
        noted = await guarded(self._journal.append_wait(Unit(documents=(document,))))
        if isinstance(noted, Refusal):
            del self._kept[provider]
            _log.warning("key_names_not_kept", provider=provider, code=noted.code)


def _names_keys(adapter: object) -> TypeGuard[NamesKeys]:
    return _are_named_by(type(adapter))


@cache
def _are_named_by(kind: type[Any]) -> bool:
    # Asked for each webhook, and a look for the methods of a protocol costs a dozen microseconds.
    return issubclass(kind, NamesKeys)


def _note(desk: Desk, error: Exception) -> None:
    _log.error("key_names_not_known", provider=desk.config.id, error=type(error).__name__)
