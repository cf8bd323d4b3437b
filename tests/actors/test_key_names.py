"""Names of keys that verified webhooks: written down, and known again after a restart."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from bank_rig import BankRig, bank_rig
from telling_rig import TellingBank, send

from paygate_actors.key_names import NAMES_MAX
from paygate_actors.projection import KEY_NAMES
from paygate_actors.providers.base import ProviderEvent

EVENT = ProviderEvent(event_id="e1", event_type="payment.succeeded", provider_txn_id="ch_none")


class NamingBank(TellingBank):
    """A bank whose adapter says which keys it trusted, and hears of them again."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = msgspec.structs.replace(self.capabilities, fetches_keys=True)
        self.known: tuple[str, ...] = ("key-1",)
        self.trouble: Exception | None = None
        self.told: list[tuple[str, ...]] = []

    def known_keys(self) -> tuple[str, ...]:
        if self.trouble is not None:
            raise self.trouble
        return self.known

    def know_keys(self, names: Iterable[str]) -> None:
        self.told.append(tuple(names))
        if self.trouble is not None:
            raise self.trouble


async def kept(rig: BankRig) -> tuple[str, ...] | None:
    document = await rig.store.read_document(KEY_NAMES, "bank")
    return None if document is None else msgspec.json.decode(document.body, type=tuple[str, ...])


async def test_a_key_that_verified_a_webhook_is_known_after_a_restart(tmp_path: Path):
    bank = NamingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        assert await send(rig, EVENT) is None
        before = list(bank.told)

        await rig.crash()
        await rig.start()

        assert (before, bank.told) == ([], [("key-1",)])


async def test_names_are_written_once_and_again_when_there_is_another(tmp_path: Path):
    bank = NamingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        await send(rig, EVENT)
        first = await rig.store.read_document(KEY_NAMES, "bank")
        await send(rig, msgspec.structs.replace(EVENT, event_id="e2"))
        second = await rig.store.read_document(KEY_NAMES, "bank")
        bank.known = tuple(f"key-{each}" for each in range(NAMES_MAX + 1))
        await send(rig, msgspec.structs.replace(EVENT, event_id="e3"))

        assert first == second
        assert await kept(rig) == bank.known[:NAMES_MAX]


async def test_what_nobody_signed_names_no_key(tmp_path: Path):
    async with bank_rig(tmp_path, bank=NamingBank()) as rig:
        refusal = await send(rig, EVENT, signature="somebody's")

        assert refusal is not None
        assert await kept(rig) is None


async def test_an_adapter_that_fails_over_its_names_loses_no_webhook(tmp_path: Path):
    bank = NamingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        assert await send(rig, EVENT) is None
        bank.trouble = KeyError("x")

        assert await send(rig, msgspec.structs.replace(EVENT, event_id="e2")) is None
        await rig.crash()
        await rig.start()

        assert bank.told == [("key-1",)]
        assert await kept(rig) == ("key-1",)


async def test_an_adapter_that_trusted_nothing_so_far_writes_nothing(tmp_path: Path):
    bank = NamingBank()
    bank.known = ()
    async with bank_rig(tmp_path, bank=bank) as rig:
        assert await send(rig, EVENT) is None

        assert await kept(rig) is None
