"""Keys, what they are made of, and how long they bind."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from paygate_actors.card import SealedCard
from paygate_actors.events import PaymentCreated
from paygate_actors.idempotency import (
    SEEN_MAX,
    Binding,
    ClaimDesk,
    binds,
    claim_of,
    creation_key,
    differences,
    operation_key,
)
from paygate_actors.messages import (
    Address,
    Caller,
    CapturePayment,
    CardMethod,
    MethodView,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.money import Money
from paygate_actors.projection import KINDS
from paygate_actors.vault import Vault
from paygate_engine.stores.memory import MemoryStore

VAULT = Vault([("k", bytes(32))], bytes([1]) * 32, random=bytes)
CALLER = Caller(role="merchant", merchant="merchant_a", key_id="key_a")
OTHER = Caller(role="merchant", merchant="merchant_b", key_id="key_b")
HOUR_US = 3_600 * 1_000_000


def card(number: str = "4242424242424242", cvv: str | None = "123", month: int = 12) -> CardMethod:
    return CardMethod(
        kind="card", card=SealedCard(number, cvv), expiry_month=month, expiry_year=2049
    )


def request(**changes: object) -> ProcessPayment:
    command = ProcessPayment(
        caller=CALLER,
        amount=Money(10_000, "USD"),
        method=card(),
        metadata={"orderID": "order-1"},
        idempotency_key="key-1",
    )
    return replace(command, **changes)


def key_of(command: ProcessPayment):
    fingerprint = None
    if isinstance(command.method, CardMethod):
        fingerprint = VAULT.fingerprint(command.method.card.reveal()[0])
    return creation_key(command, VAULT, fingerprint)


def test_the_same_request_has_the_same_key_and_hash():
    assert key_of(request()) == key_of(request())


@pytest.mark.parametrize("method", [card(cvv="999"), card(cvv=None), card("4242 4242 4242 4242")])
def test_the_cvv_and_the_spacing_of_the_number_do_not_count(method: CardMethod):
    assert key_of(request(method=method)) == key_of(request())


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": Money(10_001, "USD")},
        {"amount": Money(10_000, "EUR")},
        {"method": card("4111111111111111")},
        {"method": card(month=11)},
        {"method": WalletMethod(wallet_id="wallet_ok")},
        {"method": TokenMethod(token="tok_1")},
        {"metadata": {"orderID": "order-2"}},
        {"billing": Address(country="US", zip_code="94105")},
        {"capture_method": "manual"},
        {"description": "shoes"},
        {"provider": "sandbox_backup"},
        {"return_url": "https://shop.example/back"},
        {"customer_ip": "192.0.2.1"},
    ],
)
def test_whatever_else_differs_gives_another_hash_under_the_same_name(changes: dict[str, object]):
    first, second = key_of(request()), key_of(request(**changes))

    assert first is not None
    assert second is not None
    assert first.name == second.name
    assert first.mac != second.mac


def test_a_key_belongs_to_its_merchant():
    ours, theirs = key_of(request()), key_of(request(caller=OTHER))

    assert ours is not None
    assert theirs is not None
    assert ours.name != theirs.name


def test_neither_key_nor_order_means_no_key_at_all():
    assert key_of(request(idempotency_key=None, metadata={})) is None
    assert key_of(request(idempotency_key=None, metadata={"orderID": ""})) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"caller": OTHER},
        {"amount": Money(10_001, "USD")},
        {"amount": Money(10_000, "EUR")},
        {"metadata": {"orderID": "order-2"}},
        {"method": card("4111111111111111")},
        {"method": WalletMethod(wallet_id="wallet_ok")},
    ],
)
def test_a_derived_key_tells_purchases_apart(changes: dict[str, object]):
    """A key made of order and amount alone would give one customer the other's payment."""
    first = key_of(request(idempotency_key=None))
    second = key_of(request(idempotency_key=None, **changes))

    assert first is not None
    assert second is not None
    assert first.derived
    assert first.name != second.name


def test_a_derived_key_cannot_be_forged_by_moving_a_boundary():
    one = key_of(request(idempotency_key=None, metadata={"orderID": "1"}, amount=Money(11, "USD")))
    two = key_of(request(idempotency_key=None, metadata={"orderID": "11"}, amount=Money(1, "USD")))

    assert one is not None
    assert two is not None
    assert one.name != two.name


def test_every_differing_field_is_named():
    first = request()
    created = _created(first)
    second = request(
        amount=Money(1, "EUR"), method=card("4111111111111111", month=1), description="x"
    )
    fingerprint = VAULT.fingerprint("4111111111111111")

    names = differences(created, second, fingerprint)

    assert names == [
        "amount",
        "currency",
        "description",
        "paymentMethod.cardNumber",
        "paymentMethod.expiryMonth",
    ]


def test_another_kind_of_method_is_named_as_such():
    created = _created(request())

    names = differences(created, request(method=WalletMethod(wallet_id="w")), None)

    assert names == ["paymentMethod.type", "paymentMethod.walletID"]


def test_keys_of_operations_differ_by_what_is_asked_and_by_who_asks():
    def key(command: CapturePayment | RefundPayment | ReversePayment):
        found = operation_key(command, VAULT)
        assert found is not None
        return found

    refund = RefundPayment(caller=CALLER, payment_id="pay_1", amount_minor=5, idempotency_key="one")

    assert key(refund) == key(replace(refund))
    assert key(refund).mac != key(replace(refund, amount_minor=None)).mac
    assert key(refund).mac != key(replace(refund, reason="other")).mac
    assert key(refund).name != key(replace(refund, caller=OTHER)).name
    assert operation_key(replace(refund, idempotency_key=None), VAULT) is None


@pytest.mark.parametrize(
    ("status", "in_doubt", "age_hours", "derived", "expected"),
    [
        ("processing", False, 1_000, False, True),
        ("requires_action", False, 1_000, True, True),
        ("success", False, 24, False, True),
        ("success", False, 25, False, False),
        ("success", True, 25, False, True),
        ("failed", False, 1, False, True),
        ("failed", False, 1, True, False),
        ("cancelled", False, 1, True, False),
        ("success", False, 1, True, True),
        ("failed", False, 25, False, False),
    ],
)
def test_how_long_a_key_binds(
    *, status: str, in_doubt: bool, age_hours: int, derived: bool, expected: bool
):
    view = PaymentView(
        id="pay_1",
        transaction_id="txn_1",
        merchant="merchant_a",
        status=status,  # pyright: ignore[reportArgumentType]  # the table's words
        amount_minor=1,
        currency="USD",
        capture_method="automatic",
        method=MethodView(kind="card"),
        created_at_us=0,
        updated_at_us=0,
        livemode=False,
        in_doubt=in_doubt,
        processed_at_us=0 if status in ("success", "failed", "cancelled") else None,
    )

    bound = binds(
        view,
        Binding(mac="m", derived=derived),
        now_us=age_hours * HOUR_US,
        life_us=24 * HOUR_US,
    )

    assert bound is expected


async def test_requests_with_one_key_are_worked_on_one_at_a_time():
    desk = ClaimDesk(MemoryStore(KINDS))
    working = 0
    most = 0

    async def work() -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0)
        working -= 1

    await asyncio.gather(*(desk.alone("a", work) for _ in range(50)))

    assert most == 1


async def test_a_failure_and_a_cancelled_waiter_leave_the_key_free():
    desk = ClaimDesk(MemoryStore(KINDS))
    entered = asyncio.Event()
    done: list[str] = []

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    def note(name: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            done.append(name)

        return work

    first = asyncio.create_task(desk.alone("a", hang))
    await entered.wait()
    second = asyncio.create_task(desk.alone("a", note("second")))
    third = asyncio.create_task(desk.alone("a", note("third")))
    await asyncio.sleep(0)

    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    first.cancel()
    await asyncio.wait_for(third, 5)

    assert done == ["third"]


async def test_what_is_remembered_of_keys_is_bounded_and_only_a_guess():
    desk = ClaimDesk(MemoryStore(KINDS))

    assert desk.is_fresh("first")
    assert not desk.is_fresh("first")
    for number in range(SEEN_MAX):
        desk.is_fresh(f"key-{number}")

    assert desk.is_fresh("first")


def test_a_claim_carries_what_is_compared_and_nothing_of_the_request():
    key = key_of(request())
    assert key is not None

    claim = claim_of(key, "pay_1", replaces=None)

    assert b"4242" not in claim.body
    assert key.mac.encode() in claim.body


def _created(command: ProcessPayment):
    method = command.method
    assert isinstance(method, CardMethod)
    return PaymentCreated(
        merchant="merchant_a",
        by="key_a",
        transaction_id="txn_1",
        amount_minor=command.amount.minor,
        currency=command.amount.currency,
        capture_method=command.capture_method,
        method=MethodView(
            kind=method.kind,
            brand=method.card.brand,
            last4=method.card.last4,
            expiry_month=method.expiry_month,
            expiry_year=method.expiry_year,
        ),
        livemode=False,
        fingerprint=VAULT.fingerprint(method.card.reveal()[0]),
        metadata=command.metadata,
    )
