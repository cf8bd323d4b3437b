"""A claim whose bytes are not what was written: the payment itself is asked who it belongs to."""

import pytest
from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.idempotency import Binding, ClaimDesk, claim_of
from paygate_actors.messages import MethodView
from paygate_actors.projection import KINDS
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Claim, Event, Unit
from paygate_engine.stores.memory import MemoryStore

KEY = e.RequestKey(name="m_1\x1fprocess\x1fone", mac="aa", derived=True)
CREATED = e.PaymentCreated(
    merchant="m_1",
    by="key_m",
    transaction_id="txn_1",
    amount_minor=1_000,
    currency="USD",
    capture_method="automatic",
    method=MethodView(kind="card"),
    livemode=False,
    key=KEY,
)


class DamagedStore(MemoryStore):
    """A memory store whose every claim lost its body, and knows it."""

    async def read_claim(self, name: str) -> Claim | None:
        claim = await super().read_claim(name)
        return None if claim is None else replace(claim, body=b"\xff", sound=False)


async def desk_on(*recorded: e.PaymentEvent) -> ClaimDesk:
    """A desk on a store that holds a damaged claim on `KEY`, and the payment's events."""
    store = DamagedStore(KINDS)
    await store.open()
    events = [
        Event(stream="pay_1", seq=seq, at_us=seq, kind=kind, body=body)
        for seq, (kind, body) in enumerate(map(e.encode, recorded), 1)
    ]
    claim = claim_of(KEY, "pay_1", replaces=None)
    await store.commit([Unit(events=tuple(events), claims=(claim,))], [()])
    return ClaimDesk(store)


async def test_a_damaged_claim_is_told_by_the_first_event_of_its_payment():
    desk = await desk_on(CREATED, e.Moved(fact="charge_started"))

    assert await desk.holder(KEY.name) == ("pay_1", Binding(mac="aa", derived=True))


@pytest.mark.parametrize(
    "recorded",
    [
        (),
        (replace(CREATED, key=None),),
        (replace(CREATED, key=replace(KEY, name="m_1\x1fprocess\x1ftwo")),),
        (e.Moved(fact="charge_started"), CREATED),
    ],
    ids=["no payment", "no key", "another key", "not begun with its creation"],
)
async def test_a_damaged_claim_that_no_payment_tells_is_believed_by_nobody(
    recorded: tuple[e.PaymentEvent, ...],
):
    desk = await desk_on(*recorded)

    with pytest.raises(Corrupt, match="idempotency key by pay_1 is damaged"):
        await desk.holder(KEY.name)


async def test_a_name_that_nobody_claimed_is_free_in_a_damaged_store_too():
    desk = await desk_on(CREATED)

    assert await desk.holder("another name") is None
