"""What of a payer's credential reaches a provider, and what is left of it after a crash."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from bank_rig import AMOUNT, MERCHANT, Bank, BankRig, Heard, bank_rig

from paygate_actors.card import SealedCard
from paygate_actors.config import Fraud
from paygate_actors.credentials import Initiation, SealedToken
from paygate_actors.fraud_rules import CARD_VELOCITY
from paygate_actors.messages import Caller, PaymentReply, PaymentView, ProcessPayment, Refusal
from paygate_actors.outcomes import Approved, Outcome
from paygate_actors.payment_methods import CardMethod, Method, ProviderTokenMethod, TokenMethod
from paygate_actors.projection import PROVIDER_TOKEN
from paygate_actors.providers.base import Capabilities, ChargeCall
from paygate_engine.stores.base import Document

THEIR_TOKEN: Final = "pm_1NxYzAbCdEfGhIjKlMnOpQrS"
NETWORK_ID: Final = "901151114810210"
ANOTHER: Final = Caller(role="merchant", merchant="another", key_id="key_a")
BY_MERCHANT: Final = Initiation(by="merchant", reason="installment")


class Reader(Bank):
    """A bank that charges its own tokens, and keeps every charge as it came."""

    capabilities = msgspec.structs.replace(Bank.capabilities, provider_tokens=True)
    network_txn_id: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.charges: list[ChargeCall] = []

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold."""
        self.charges.append(call)
        said = await self._take(Heard("charge", call.key))
        if isinstance(said, Approved):
            return msgspec.structs.replace(said, network_txn_id=self.network_txn_id)
        return said

    @property
    def tokens(self) -> list[str | None]:
        """The tokens that it was given, in order."""
        return [call.instrument.provider_token for call in self.charges]


class Stern(Reader):
    """One that charges no card without its CVV."""

    capabilities: Capabilities = msgspec.structs.replace(Reader.capabilities, takes_no_cvv=False)


@pytest.fixture
def bank() -> Reader:
    return Reader()


@pytest.fixture
async def rig(tmp_path: Path, bank: Reader) -> AsyncIterator[BankRig]:
    async with bank_rig(tmp_path, bank=bank) as rig:
        yield rig


@pytest.fixture
async def stern(tmp_path: Path) -> AsyncIterator[BankRig]:
    async with bank_rig(tmp_path, bank=Stern()) as rig:
        yield rig


def card(cvv: str | None = "123") -> CardMethod:
    return CardMethod(
        kind="card", card=SealedCard("4242424242424242", cvv), expiry_month=12, expiry_year=2099
    )


def theirs(provider: str = "bank") -> ProviderTokenMethod:
    return ProviderTokenMethod(provider=provider, token=SealedToken(THEIR_TOKEN))


async def asked(rig: BankRig, method: Method, **more: Any) -> PaymentView | Refusal:
    command = ProcessPayment(caller=MERCHANT, amount=AMOUNT, method=method, **more)
    reply = await rig.gateway.front.process(command)
    return reply.payment if isinstance(reply, PaymentReply) else reply


async def paid(rig: BankRig, method: Method, **more: Any) -> PaymentView:
    view = await asked(rig, method, **more)
    assert isinstance(view, PaymentView), view
    return await rig.until_status(view.id, "success")


def faults(reply: PaymentView | Refusal) -> list[tuple[str, str]]:
    assert isinstance(reply, Refusal), reply
    return [(each.pointer, each.code) for each in reply.faults]


async def test_a_token_reaches_its_provider_and_rests_sealed(rig: BankRig, bank: Reader):
    view = await paid(rig, theirs())

    stored = await rig.store.read_document(PROVIDER_TOKEN, view.method.token or "")
    events = await rig.store.read_stream(view.id)
    assert bank.tokens == [THEIR_TOKEN]
    assert stored is not None
    assert not any(
        THEIR_TOKEN.encode() in body for body in (stored.body, *(it.body for it in events))
    )


async def test_what_a_crash_interrupted_is_sent_again_with_the_token_out_of_the_vault(
    rig: BankRig, bank: Reader
):
    bank.says["charge"] = None
    view = await asked(rig, theirs())
    assert isinstance(view, PaymentView)
    await rig.until(lambda: len(bank.charges) == 1)
    await rig.crash()
    del bank.says["charge"]
    bank.says["charge"] = Approved(provider_txn_id="ch_1", amount=AMOUNT, captured=True)

    await rig.start()
    await rig.until_asked()
    await rig.until_status(view.id, "success")

    assert bank.tokens == [THEIR_TOKEN, THEIR_TOKEN]
    assert bank.charges[0].key == bank.charges[1].key


async def test_a_token_has_one_name_of_ours_and_one_merchant(rig: BankRig, bank: Reader):
    bank.network_txn_id = NETWORK_ID
    first = await paid(rig, theirs(), store_credential=True)
    again = await paid(rig, theirs(), initiation=BY_MERCHANT)
    other = ProcessPayment(caller=ANOTHER, amount=AMOUNT, method=theirs())

    refused = await rig.gateway.front.process(other)

    assert again.method.token == first.method.token
    assert again.initiation.network_transaction_id == NETWORK_ID
    assert isinstance(refused, Refusal)
    assert faults(refused) == [("/paymentMethod/token", "unknown_token")]
    assert len(bank.charges) == 2


async def test_a_damaged_token_is_refused_and_asked_for_again(
    rig: BankRig, monkeypatch: pytest.MonkeyPatch
):
    view = await paid(rig, theirs())
    token = view.method.token or ""
    read = rig.store.read_document

    async def damaged(kind: str, id: str) -> Document | None:  # noqa: A002 - the store's word
        found = await read(kind, id)
        return (
            None if found is None else msgspec.structs.replace(found, sound=kind != PROVIDER_TOKEN)
        )

    monkeypatch.setattr(rig.store, "read_document", damaged)

    refused = await asked(rig, TokenMethod(token=token))

    assert faults(refused) == [("/paymentMethod/token", "unreadable_token")]


async def test_a_token_of_an_unknown_provider_is_refused_and_claims_no_key(rig: BankRig):
    refused = await asked(rig, theirs("acme"), idempotency_key="k")
    view = await paid(rig, theirs(), idempotency_key="k")

    assert faults(refused) == [("/paymentMethod/provider", "unknown_provider")]
    assert view.status == "success"


async def test_a_provider_that_takes_no_tokens_is_none_for_them(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        refused = await asked(rig, theirs())

    assert faults(refused) == [("/paymentMethod/provider", "tokens_not_taken")]


async def test_all_that_is_said_of_the_credential_is_carried(rig: BankRig, bank: Reader):
    named = msgspec.structs.replace(BY_MERCHANT, network_transaction_id=NETWORK_ID)

    await paid(rig, card(), store_credential=True, three_d_secure="required")
    await paid(rig, card(None), initiation=named)

    first, second = bank.charges
    assert (first.initiator, first.reason, first.network_txn_id) == ("customer", None, None)
    assert (first.store, first.three_d_secure) == (True, "required")
    assert (second.initiator, second.reason) == ("merchant", "installment")
    assert second.network_txn_id == NETWORK_ID
    assert (second.store, second.three_d_secure) == (False, "automatic")


async def test_the_newest_payment_of_the_payer_lends_its_network_id_unless_one_is_named(
    rig: BankRig, bank: Reader
):
    bank.network_txn_id = "FIRST"
    first = await paid(rig, card(), store_credential=True)
    ours = TokenMethod(token=first.method.token or "")
    bank.network_txn_id = "SECOND"
    rig.clock.advance(1)  # what is made within one millisecond has no order
    await paid(rig, ours, store_credential=True)
    bank.network_txn_id = None

    later = await paid(rig, ours, initiation=BY_MERCHANT)
    by_payer = await paid(rig, ours)
    named = await paid(
        rig,
        ours,
        initiation=msgspec.structs.replace(BY_MERCHANT, network_transaction_id=NETWORK_ID),
    )

    sent = [call.network_txn_id for call in bank.charges[2:]]
    assert sent == ["SECOND", None, NETWORK_ID]
    assert later.initiation.network_transaction_id == "SECOND"
    assert (by_payer.initiation.by, named.initiation.network_transaction_id) == (
        "customer",
        NETWORK_ID,
    )


async def test_what_the_payer_did_not_agree_to_keep_lends_nothing(rig: BankRig, bank: Reader):
    bank.network_txn_id = "ONCE"
    once = await paid(rig, card())

    ours = TokenMethod(token=once.method.token or "")
    later = await paid(rig, ours, initiation=BY_MERCHANT)

    assert once.network_txn_id == "ONCE"
    assert later.initiation.network_transaction_id is None


async def test_a_repetition_of_a_merchant_s_payment_finds_it_whatever_was_found_for_it(
    rig: BankRig, bank: Reader
):
    bank.network_txn_id = "FIRST"
    first = await paid(rig, card(), store_credential=True)
    ours = TokenMethod(token=first.method.token or "")

    once = await paid(rig, ours, initiation=BY_MERCHANT, idempotency_key="k")
    again = await paid(rig, ours, initiation=BY_MERCHANT, idempotency_key="k")
    other = await asked(
        rig,
        ours,
        initiation=msgspec.structs.replace(BY_MERCHANT, reason="recurring"),
        idempotency_key="k",
    )

    assert once.id == again.id
    assert faults(other) == [("/initiation", "differs")]


async def test_a_token_that_pays_too_often_is_noticed(tmp_path: Path):
    fraud = Fraud(velocity_card_max=2)
    async with bank_rig(tmp_path, bank=Reader(), fraud=fraud) as rig:
        scores = [(await paid(rig, theirs())).fraud_score_milli for _ in range(3)]

    assert scores == [0, 0, CARD_VELOCITY]


# -------------------------------------------------------------------- the CVV


async def test_a_card_without_its_cvv_goes_nowhere_where_it_is_wanted(stern: BankRig):
    first = await paid(stern, card())

    bare = await asked(stern, card(None))
    stored = await asked(stern, TokenMethod(token=first.method.token or ""))

    assert [reply.code for reply in (bare, stored) if isinstance(reply, Refusal)] == [
        "no_provider",
        "no_provider",
    ]
    assert len(stern.bank.of("charge")) == 1


async def test_a_payer_who_is_away_is_charged_without_the_cvv_that_only_they_know(stern: BankRig):
    first = await paid(stern, card())

    later = await paid(stern, TokenMethod(token=first.method.token or ""), initiation=BY_MERCHANT)

    assert later.status == "success"


async def test_a_charge_whose_cvv_died_with_its_process_is_asked_about_and_never_sent_again(
    stern: BankRig,
):
    stern.bank.says["charge"] = None
    view = await asked(stern, card())
    assert isinstance(view, PaymentView)
    await stern.until(lambda: len(stern.bank.of("charge")) == 1)
    await stern.crash()
    stern.bank.says["charge"] = Approved(provider_txn_id="ch_1", amount=AMOUNT, captured=True)

    await stern.start()
    await stern.until_asked(5)

    assert len(stern.bank.of("charge")) == 1
    assert (await stern.view(view.id)).in_doubt
