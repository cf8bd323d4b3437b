"""Whether a provider is used: the file says, until an operator says otherwise."""

from pathlib import Path
from typing import Final

import msgspec
import pytest
from bank_rig import OPERATOR, BankRig, bank_rig
from many_nodes_rig import Node, many_nodes

from paygate_actors.projection import PROVIDER
from paygate_actors.provider_messages import ProviderView, Tuning
from paygate_engine.stores.base import AuditEntry, Document, Unit

BANK: Final = "bank"


async def restart(rig: BankRig, *, active: bool) -> None:
    """Stop, write `active` in the file, and start again with it."""
    await rig.crash()
    provider = msgspec.structs.replace(rig.config.providers[0], active=active)
    rig.config = msgspec.structs.replace(rig.config, providers=(provider,))
    await rig.start()


async def shown(rig: BankRig) -> ProviderView:
    (view,) = await rig.gateway.front.providers()
    return view


async def leave_as_before(rig: BankRig | Node, *, is_active: bool, who: str) -> None:
    """Leave switches as gateways kept them that took the file's word once and for all."""
    body = {"is_active": is_active, "accepts_charges": True, "created_at_us": 7}
    what = f"switch active={is_active} charges=True"
    unit = Unit(
        documents=(Document(kind=PROVIDER, id=BANK, body=msgspec.json.encode(body)),),
        audit=(AuditEntry(at_us=7, who=who, what=what, stream=BANK),),
    )
    await rig.gateway.journal.append_wait(unit)


async def test_the_file_decides_at_every_start_and_not_at_the_first_alone(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        assert (await shown(rig)).is_active

        await restart(rig, active=False)
        off = (await shown(rig)).is_active
        await restart(rig, active=True)

        assert (off, (await shown(rig)).is_active) == (False, True)


@pytest.mark.parametrize("said", [True, False])
async def test_what_an_operator_said_outlives_the_file(tmp_path: Path, said: bool):  # noqa: FBT001  # a column
    async with bank_rig(tmp_path) as rig:
        await rig.switch(is_active=said)

        await restart(rig, active=not said)

        assert (await shown(rig)).is_active is said


async def test_who_tunes_a_provider_has_not_said_whether_it_is_used(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        tuned = await rig.gateway.front.switch_provider(
            OPERATOR, BANK, is_active=None, accepts_charges=True, tuning=Tuning(weight=7)
        )

        await restart(rig, active=False)

        view = await shown(rig)
        assert isinstance(tuned, ProviderView)
        assert (tuned.is_active, view.is_active, view.weight) == (True, False, 7)


@pytest.mark.parametrize("written", [True, False])
async def test_the_file_s_word_that_was_kept_as_an_operator_s_is_the_file_s_again(
    tmp_path: Path,
    written: bool,  # noqa: FBT001  # a column
):
    async with bank_rig(tmp_path) as rig:
        await leave_as_before(rig, is_active=written, who="system")

        await restart(rig, active=not written)
        first = await shown(rig)
        await restart(rig, active=written)

        assert (first.is_active, (await shown(rig)).is_active) == (not written, written)
        assert first.created_at_us == 7


@pytest.mark.parametrize("said", [True, False])
async def test_an_operator_s_word_that_an_older_gateway_kept_holds(tmp_path: Path, said: bool):  # noqa: FBT001  # a column
    async with bank_rig(tmp_path) as rig:
        await leave_as_before(rig, is_active=said, who="key:operator")

        await restart(rig, active=not said)
        first = (await shown(rig)).is_active
        await restart(rig, active=not said)

        assert (first, (await shown(rig)).is_active) == (said, said)


async def test_what_an_operator_said_is_looked_for_in_every_node_s_chain(tmp_path: Path):
    async with many_nodes(tmp_path) as many:
        heard = await many.start("heard")
        await leave_as_before(heard, is_active=True, who="operator:ann")
        (provider,) = many.config.providers
        off = msgspec.structs.replace(provider, active=False)
        many.config = msgspec.structs.replace(many.config, providers=(off,))

        other = await many.start("other")

        (view,) = await other.gateway.front.providers()
        assert view.is_active
