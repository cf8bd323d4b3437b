"""Fault plans: files and bodies, cards and seeds, and what is refused with a sentence."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sandbox_rig import APPROVED, sandbox_rig

from paygate_actors.card import SealedCard
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Outcome, Unknown
from paygate_actors.providers.base import ChargeCall, Instrument, Provider
from paygate_actors.providers.registry import build
from paygate_http.kit.accounts import APPROVED_TOO, RETURN_URL
from paygate_http.sandbox.fault_plan import read_file
from paygate_http.sandbox.faults import FaultsRefused
from paygate_http.sandbox_accounts import accounts

SHEET = """
seed = 7

[[faults]]
fault = "error_500"
provider = "sandbox"
operation = "charge"
card = "5555555555554444"
count = 3
delayMs = 250
probability = 0.5
"""


def written(folder: Path, text: str, name: str = "faults.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_file_says_what_goes_wrong_where_how_often_and_with_which_card(tmp_path: Path):
    sheet = read_file(written(tmp_path, SHEET))

    (plan,) = sheet.faults
    assert sheet.seed == 7
    assert (plan.fault, plan.provider, plan.operation) == ("error_500", "sandbox", "charge")
    assert (plan.card, plan.count, plan.delay_ms) == (APPROVED_TOO, 3, 250)
    assert plan.probability == 0.5


def test_json_says_the_same(tmp_path: Path):
    as_json = '{"faults": [{"fault": "slow", "delayMs": 10}]}'

    sheet = read_file(written(tmp_path, as_json, "faults.json"))

    assert [(each.fault, each.delay_ms) for each in sheet.faults] == [("slow", 10)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("faults = [", "Invalid"),
        ("", "faults"),
        ('[[faults]]\nfault = "sloow"', "sloow"),
        ('[[faults]]\nfault = "slow"\nbrand = "visa"', "brand"),
        ('[[faults]]\nfault = "slow"\ncount = 0', "count"),
        ('[[faults]]\nfault = "slow"\nprobability = 2.0', "probability"),
        ('[[faults]]\nfault = "slow"\ncard = "4242"', "card"),
        ('[[faults]]\nfault = "slow"\nprovider = "sandbox_nobody"', "provider"),
        (
            '[[faults]]\nfault = "slow"\n[[faults]]\nfault = "pending"\noperation = "find"',
            "Fault 2",
        ),
        ('[[faults]]\nfault = "webhook_drop"\ncard = "4242424242424242"', "no card"),
        ('[[faults]]\nfault = "slow"\noperation = "refund"\ncard = "4242424242424242"', "refund"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(tmp_path: Path, text: str, complaint: str):
    file = written(tmp_path, text)

    with pytest.raises(FaultsRefused) as refused:
        read_file(file)

    assert str(file) in str(refused.value)
    assert complaint in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(FaultsRefused, match="cannot be read"):
        read_file(tmp_path / "nothing.toml")


async def test_the_desk_takes_a_whole_sheet_or_nothing_of_it():
    async with sandbox_rig() as rig:
        whole = {"seed": 7, "faults": [{"fault": "slow"}, {"fault": "decline"}]}
        half = {"faults": [{"fault": "slow"}, {"fault": "pending", "operation": "find"}]}

        taken, _ = await rig.post("/faults", whole)
        refused, why = await rig.post("/faults", half)
        _, standing = await rig.get("/faults")

    assert (taken, refused) == (200, 400)
    assert "Fault 2" in why["error"]["message"]
    assert [each["fault"] for each in standing["data"]] == ["slow", "decline"]


@pytest.mark.parametrize(
    "account", ["sandbox", "sandbox_stripe", "sandbox_adyen", "sandbox_paypal"]
)
async def test_a_plan_for_one_card_spares_the_others_at_every_account(account: str):
    async with sandbox_rig() as rig:
        await rig.fault("error_500", card=APPROVED_TOO, provider=account)
        provider = adapter_of(account, rig.sandbox.url)

        spared = await charge(provider, APPROVED, "txn_1-1")
        struck = await charge(provider, APPROVED_TOO, "txn_2-1")
        again = await charge(provider, APPROVED_TOO, "txn_2-1")
        await provider.close()

    assert isinstance(spared, Approved)
    assert isinstance(struck, Unknown)
    assert isinstance(again, Approved)


async def test_one_seed_strikes_the_same_calls_every_time():
    patterns = [await struck_by(seed=7), await struck_by(seed=7), await struck_by(seed=8)]

    assert patterns[0] == patterns[1] != patterns[2]
    assert 0 < sum(patterns[0]) < len(patterns[0])


async def struck_by(*, seed: int) -> list[bool]:
    async with sandbox_rig() as rig:
        fault = {"fault": "error_500", "count": 100, "probability": 0.5}
        await rig.post("/faults", {"seed": seed, "faults": [fault]})
        return [(await rig.charge(f"txn_{number}-1"))[0] == 500 for number in range(24)]


def adapter_of(account: str, url: str) -> Provider:
    trial = accounts()[account]
    return build(replace(trial.config, url=url + trial.path))


async def charge(provider: Provider, number: str, key: str) -> Outcome:
    card = SealedCard(number, "123")
    instrument = Instrument(
        kind="card", card=card, expiry_month=12, expiry_year=2040, holder_name="Ada Example"
    )
    call = ChargeCall(
        key=key,
        amount=Money(1_000, "USD"),
        instrument=instrument,
        capture=True,
        return_url=RETURN_URL,
    )
    return await provider.charge(call)
