"""Keys, what they are made of, and how long they bind."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
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
    MethodView,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    ReversePayment,
)
from paygate_actors.money import Money
from paygate_actors.payment_methods import (
    CardMethod,
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_actors.projection import KINDS
from paygate_actors.vault import Vault
from paygate_engine.stores.base import Unit
from paygate_engine.stores.memory import MemoryStore

VAULT = Vault([("k", bytes(32))], bytes([1]) * 32, random=bytes)
CALLER = Caller(role="merchant", merchant="merchant_a", key_id="key_a")
OTHER = Caller(role="merchant", merchant="merchant_b", key_id="key_b")
OPERATOR = Caller(role="operator", merchant="", key_id="key_o")
HOUR_US = 3_600 * 1_000_000
DONE_AT_US = 1_800_000_000_000_000


def card(
    number: str = "4242424242424242",
    cvv: str | None = "123",
    month: int = 12,
    *,
    year: int = 2049,
    kind: str = "card",
    holder: str | None = None,
) -> CardMethod:
    return CardMethod(
        kind=kind,
        card=SealedCard(number, cvv),
        expiry_month=month,
        expiry_year=year,
        holder_name=holder,
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


def fingerprint_of(command: ProcessPayment) -> str | None:
    if isinstance(command.method, CardMethod):
        return VAULT.fingerprint(command.method.card.reveal()[0])
    return None


def key_of(command: ProcessPayment):
    return creation_key(command, VAULT, fingerprint_of(command))


def asked(command: CapturePayment | RefundPayment | ReversePayment):
    found = operation_key(command, VAULT)
    assert found is not None
    return found


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (card(), card(kind="credit_card")),
        (card(), card(year=2048)),
        (card(), card(holder="Ann Lee")),
        (WalletMethod(wallet_id="w_1"), WalletMethod(wallet_id="w_2")),
        (TokenMethod(token="tok_1"), TokenMethod(token="tok_2")),
        (WalletMethod(wallet_id="1"), TokenMethod(token="1")),
    ],
)
def test_two_ways_to_pay_give_two_hashes(one: object, other: object):
    first, second = key_of(request(method=one)), key_of(request(method=other))

    assert first is not None
    assert second is not None
    assert first.mac != second.mac


def test_the_order_in_which_metadata_was_written_does_not_count():
    one = request(metadata={"orderID": "1", "table": "7", "waiter": "ann"})
    two = request(metadata={"waiter": "ann", "table": "7", "orderID": "1"})

    assert key_of(one) == key_of(two)


def test_two_keys_are_two_names_and_neither_name_shows_its_key():
    one, two = key_of(request()), key_of(request(idempotency_key="4242424242424242"))

    assert one is not None
    assert two is not None
    assert one.name != two.name
    assert "4242" not in two.name


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WalletMethod(wallet_id="w_1"), WalletMethod(wallet_id="w_2")),
        (TokenMethod(token="tok_1"), TokenMethod(token="tok_2")),
    ],
)
def test_a_derived_key_tells_two_wallets_and_two_kept_cards_apart(one: object, other: object):
    first = key_of(request(idempotency_key=None, method=one))
    second = key_of(request(idempotency_key=None, method=other))

    assert first is not None
    assert second is not None
    assert first.name != second.name


def test_a_derived_key_carries_the_same_hash_of_the_request_as_a_given_one():
    given, derived = key_of(request()), key_of(request(idempotency_key=None))

    assert given is not None
    assert derived is not None
    assert given.mac == derived.mac


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


WALLET = WalletMethod(wallet_id="w_1")
TOKEN = TokenMethod(token="tok_1")


@pytest.mark.parametrize(
    ("method", "changes", "names"),
    [
        (card(), {}, []),
        (card(), {"amount": Money(1, "USD")}, ["amount"]),
        (card(), {"amount": Money(10_000, "EUR")}, ["currency"]),
        (card(), {"capture_method": "manual"}, ["captureMethod"]),
        (card(), {"billing": Address(country="US")}, ["billingAddress"]),
        (card(), {"metadata": {}}, ["metadata"]),
        (card(), {"description": "shoes"}, ["description"]),
        (card(), {"return_url": "https://shop.example"}, ["returnURL"]),
        (card(), {"customer_ip": "192.0.2.1"}, ["customerIP"]),
        (card(), {"provider": "sandbox_backup"}, ["provider"]),
        (card(), {"method": card(kind="debit_card")}, ["paymentMethod.type"]),
        (card(), {"method": card("4111111111111111")}, ["paymentMethod.cardNumber"]),
        (card(), {"method": card(month=1)}, ["paymentMethod.expiryMonth"]),
        (card(), {"method": card(year=2048)}, ["paymentMethod.expiryYear"]),
        (card(), {"method": card(holder="Ann Lee")}, ["paymentMethod.holderName"]),
        (card(), {"method": WALLET}, ["paymentMethod.type", "paymentMethod.walletID"]),
        (card(), {"method": TOKEN}, ["paymentMethod.type", "paymentMethod.token"]),
        (WALLET, {}, []),
        (WALLET, {"method": WalletMethod(wallet_id="w_2")}, ["paymentMethod.walletID"]),
        (TOKEN, {}, []),
        (TOKEN, {"method": TokenMethod(token="tok_2")}, ["paymentMethod.token"]),
    ],
)
def test_a_differing_field_is_named_as_the_request_names_it(
    method: object, changes: dict[str, object], names: list[str]
):
    first = request(method=method)
    second = replace(first, **changes)

    assert differences(_created(first), second, fingerprint_of(second)) == names


def test_keys_of_operations_differ_by_what_is_asked_and_by_who_asks():
    refund = RefundPayment(caller=CALLER, payment_id="pay_1", amount_minor=5, idempotency_key="one")

    assert asked(refund) == asked(replace(refund))
    assert asked(refund).mac != asked(replace(refund, amount_minor=None)).mac
    assert asked(refund).mac != asked(replace(refund, reason="other")).mac
    assert asked(refund).name != asked(replace(refund, caller=OTHER)).name
    assert asked(refund).name != asked(replace(refund, idempotency_key="two")).name
    assert operation_key(replace(refund, idempotency_key=None), VAULT) is None


def test_a_capture_and_a_reverse_are_hashed_with_all_that_they_ask():
    capture = CapturePayment(caller=CALLER, payment_id="pay_1", idempotency_key="one")
    reverse = ReversePayment(caller=CALLER, payment_id="pay_1", idempotency_key="one")

    hashes = [
        asked(capture).mac,
        asked(replace(capture, amount_minor=5)).mac,
        asked(reverse).mac,
        asked(replace(reverse, reason="other")).mac,
        asked(replace(reverse, or_refund=True)).mac,
    ]

    assert len(set(hashes)) == len(hashes)


def test_every_api_key_of_a_merchant_asks_as_the_merchant_and_an_operator_for_himself():
    refund = RefundPayment(caller=CALLER, payment_id="pay_1", idempotency_key="one")
    second_key = replace(CALLER, key_id="key_a2")
    colleague = replace(OPERATOR, key_id="key_o2")

    names = [
        asked(replace(refund, caller=caller)).name
        for caller in (CALLER, second_key, OPERATOR, colleague)
    ]

    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("command", "name", "mac"),
    [
        (
            request(),
            "merchant_a\x1fprocess\x1fc8c6ecd28cb58191103e582d0450797a3657a1c2fb96af70874a12ee55260b69",
            "3ef781c7bea1713ea09f24f06fb2f20e4971c3def82f5cccd8ae34c2b281c19e",
        ),
        (
            request(idempotency_key=None),
            "merchant_a\x1fderived\x1fd29719687c06c92fd585d7c05ef8ad15ba330ed99c28b34a9bfb40bf7a8b1367",
            "3ef781c7bea1713ea09f24f06fb2f20e4971c3def82f5cccd8ae34c2b281c19e",
        ),
        (
            request(method=WALLET),
            "merchant_a\x1fprocess\x1fc8c6ecd28cb58191103e582d0450797a3657a1c2fb96af70874a12ee55260b69",
            "fd7397103a53b0aae4907ca3ced6bdfe9fcfc5c8a4b9e6476e3806a7972f98c4",
        ),
        (
            request(method=TOKEN),
            "merchant_a\x1fprocess\x1fc8c6ecd28cb58191103e582d0450797a3657a1c2fb96af70874a12ee55260b69",
            "b35e254aa5159bf6b63c96776b91feafcda93a09c8a43ee36fd04c18640f0e0f",
        ),
    ],
    ids=["given", "derived", "wallet", "token"],
)
def test_a_repetition_finds_its_key_after_an_upgrade(command: ProcessPayment, name: str, mac: str):
    """Names and hashes outlive the process that made them: these were written down once."""
    key = key_of(command)

    assert key is not None
    assert (key.name, key.mac) == (name, mac)


@pytest.mark.parametrize(
    ("command", "name", "mac"),
    [
        (
            CapturePayment(caller=CALLER, payment_id="p", amount_minor=5, idempotency_key="one"),
            "merchant_a\x1f896b5f43743f5bdd6c37fa6615863fdc192125d8dee75023c05bb905d492d73a",
            "211ea721b89ac6ae8b846c3fd1cbd55613601d73cc09e86a59300673116c3c05",
        ),
        (
            ReversePayment(caller=OPERATOR, payment_id="p", idempotency_key="one"),
            "operator key_o\x1f896b5f43743f5bdd6c37fa6615863fdc192125d8dee75023c05bb905d492d73a",
            "05990d6c462c419a8fb2b1402783b2839b8227506046eea24a82590a1bc80a40",
        ),
    ],
    ids=["capture", "reverse"],
)
def test_a_repeated_operation_finds_its_key_after_an_upgrade(
    command: CapturePayment | ReversePayment, name: str, mac: str
):
    assert (asked(command).name, asked(command).mac) == (name, mac)


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
        processed_at_us=DONE_AT_US if status in ("success", "failed", "cancelled") else None,
    )

    bound = binds(
        view,
        Binding(mac="m", derived=derived),
        now_us=DONE_AT_US + age_hours * HOUR_US,
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
    for number in range(SEEN_MAX - 1):
        desk.is_fresh(f"key-{number}")
    assert not desk.is_fresh("first")

    desk.is_fresh("one too many")

    assert desk.is_fresh("first")


def test_a_claim_carries_what_is_compared_and_nothing_of_the_request():
    key = key_of(request(idempotency_key=None))
    assert key is not None

    claim = claim_of(key, "pay_1", replaces="pay_0")

    assert b"4242" not in claim.body
    assert (claim.name, claim.stream, claim.replaces) == (key.name, "pay_1", "pay_0")
    assert msgspec.json.decode(claim.body, type=Binding) == Binding(mac=key.mac, derived=True)


async def test_the_holder_of_a_key_is_who_claimed_it_in_the_store():
    store = MemoryStore(KINDS)
    await store.open()
    desk = ClaimDesk(store)
    key = key_of(request())
    assert key is not None
    assert await desk.holder(key.name) is None

    claim = claim_of(key, "pay_1", replaces=None)
    await store.commit([Unit(claims=(claim,))], [()])

    assert await desk.holder(key.name) == ("pay_1", Binding(mac=key.mac))
    assert await desk.holder("another name") is None


def _created(command: ProcessPayment):
    method = command.method
    match method:
        case CardMethod():
            view = MethodView(
                kind=method.kind,
                brand=method.card.brand,
                last4=method.card.last4,
                expiry_month=method.expiry_month,
                expiry_year=method.expiry_year,
                holder_name=method.holder_name,
            )
        case WalletMethod():
            view = MethodView(kind="wallet", wallet_id=method.wallet_id)
        case TokenMethod():
            view = MethodView(kind="token", token=method.token)
        case ProviderTokenMethod():
            raise AssertionError("no command here pays with one")
    return PaymentCreated(
        merchant="merchant_a",
        by="key_a",
        transaction_id="txn_1",
        amount_minor=command.amount.minor,
        currency=command.amount.currency,
        capture_method=command.capture_method,
        method=view,
        livemode=False,
        fingerprint=fingerprint_of(command),
        metadata=command.metadata,
    )
