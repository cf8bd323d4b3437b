"""Routing rules in a configuration: what can never do what it says is a fault."""

from pathlib import Path
from typing import Final, get_args, get_type_hints

import pytest

from paygate_actors.brands import Brand
from paygate_actors.payment_methods import METHOD_KINDS
from paygate_actors.routing_config import Target
from paygate_http.bodies import PaymentMethodBody
from paygate_http.configure import ConfigInvalid, load

SANDBOX: Final = {"PAYGATE__SANDBOX__ENABLED": "true"}

GOOD: Final = """
[routing]
exploration_milli = 100
retries_per_card_day = 2

[routing.costs.sandbox]
rate_ppm = 29000
fixed_minor = { USD = 30, EUR = 25 }

[[routing.rules]]
name = "large"
when = { currency = ["USD"], amount_from = 100000, risk = ["medium", "high"] }
targets = [{ provider = "sandbox", weight = 3 }, { provider = "sandbox_backup" }]
by = "weight"
three_d_secure = true

[[routing.rules]]
name = "cards"
when = { method = ["card"], bin = ["4242", "55555555"], metadata = { tier = "gold" } }
by = "success_rate"
retry_declines = ["do_not_honor"]
"""


def read(folder: Path, text: str) -> tuple[str, ...]:
    """The faults of a configuration."""
    file = folder / "paygate.toml"
    file.write_text(text)
    try:
        load(file=file, environment=SANDBOX)
    except ConfigInvalid as error:
        return error.lines
    return ()


def test_rules_are_read_as_they_are_written(tmp_path: Path):
    file = tmp_path / "paygate.toml"
    file.write_text(GOOD)

    routing = load(file=file, environment=SANDBOX).config.routing

    assert [rule.name for rule in routing.rules] == ["large", "cards"]
    assert routing.rules[0].targets == (
        Target(provider="sandbox", weight=3),
        Target(provider="sandbox_backup"),
    )
    assert routing.costs["sandbox"].fixed_minor == {"USD": 30, "EUR": 25}


RULE: Final = '[[routing.rules]]\nname = "r"\n'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[routing.rules]]\nname = ""', "routing.rules[0].name"),
        (RULE + RULE, "routing.rules[1].name"),
        (RULE + 'targets = [{ provider = "nobody" }]', "routing.rules[0].targets[0].provider"),
        (
            RULE + 'targets = [{ provider = "sandbox" }, { provider = "sandbox" }]',
            "routing.rules[0].targets[1].provider",
        ),
        (
            RULE + 'targets = [{ provider = "sandbox", weight = 2 }]',
            "routing.rules[0].targets[0].weight",
        ),
        (RULE + 'otherwise = "any"', "routing.rules[0].otherwise"),
        (RULE + "when = { amount_from = 1 }", "routing.rules[0].when"),
        (
            RULE + 'when = { amount_from = 1, currency = ["USD", "EUR"] }',
            "routing.rules[0].when",
        ),
        (
            RULE + 'when = { amount_from = 9, amount_to = 8, currency = ["USD"] }',
            "routing.rules[0].when.amount_to",
        ),
        (RULE + 'when = { currency = ["usd"] }', "routing.rules[0].when.currency"),
        (RULE + 'when = { country = ["Germany"] }', "routing.rules[0].when.country"),
        (RULE + 'when = { bin = ["4242x"] }', "routing.rules[0].when.bin"),
        (RULE + 'when = { bin = ["424242424"] }', "routing.rules[0].when.bin"),
        (RULE + "when = { score_from_milli = 1001 }", "routing.rules[0].when.score_from_milli"),
        (RULE + 'retry_declines = ["no_such_code"]', "routing.rules[0].retry_declines"),
        (RULE + 'by = "cost"', "routing.costs"),
        ("[routing.costs.nobody]\nrate_ppm = 1", "routing.costs.nobody"),
        ("[routing.costs.sandbox]\nrate_ppm = 1000001", "routing.costs.sandbox.rate_ppm"),
        (
            "[routing.costs.sandbox]\nfixed_minor = { USD = -1 }",
            "routing.costs.sandbox.fixed_minor.USD",
        ),
        ("[routing]\nexploration_milli = 1001", "routing.exploration_milli"),
        ("[routing]\nwindow = 0", "routing.window"),
        ("[routing]\nretries_per_payment = 3", "routing.retries_per_payment"),
        ("[routing]\nretries_per_card_day = 0", "routing.retries_per_card_day"),
        ("[routing]\nretries_per_day = 0", "routing.retries_per_day"),
    ],
)
def test_a_rule_that_cannot_do_what_it_says_is_a_fault(tmp_path: Path, text: str, key: str):
    faults = read(tmp_path, text)

    assert [fault.partition(": ")[0] for fault in faults] == [key]


def test_a_typo_in_a_rule_names_its_place(tmp_path: Path):
    (fault,) = read(tmp_path, RULE + "amount_form = 1")

    assert "routing.rules" in fault
    assert "amount_form" in fault


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("stolen_card", "never tried again"),
        ("processing_error", "without a rule"),
        ("incorrect_cvc", "only the payer"),
    ],
)
def test_a_decline_that_no_rule_may_retry_is_refused_with_its_reason(
    tmp_path: Path, code: str, words: str
):
    (fault,) = read(tmp_path, RULE + f'retry_declines = ["{code}"]')

    assert words in fault


def test_figures_of_providers_have_their_bounds(tmp_path: Path):
    text = """
[[providers]]
id = "third"
kind = "sandbox"
url = "http://127.0.0.1:8090"
priority = -1
weight = -1
concurrency = 0
"""

    faults = read(tmp_path, text)

    assert [fault.partition(": ")[0] for fault in faults] == [
        "providers[0].priority",
        "providers[0].weight",
        "providers[0].concurrency",
    ]


@pytest.mark.parametrize(
    ("when", "word", "among"),
    [
        ('method = ["crad"]', "crad", METHOD_KINDS),
        ('brand = ["visa", "mastercrad"]', "mastercrad", get_args(Brand)),
        ('brand = ["Visa"]', "Visa", get_args(Brand)),
    ],
)
def test_a_word_that_no_payment_has_is_told_with_those_that_they_have(
    tmp_path: Path, when: str, word: str, among: tuple[str, ...]
):
    (fault,) = read(tmp_path, RULE + f"when = {{ {when} }}")

    key, _, sentence = fault.partition(": ")
    assert key == f"routing.rules[0].when.{when.partition(' ')[0]}"
    assert repr(word) in sentence
    assert sentence.endswith(", ".join(among))


@pytest.mark.parametrize("country", ["UK", "XX", "de"])
def test_a_country_that_is_on_no_billing_address_is_a_fault(tmp_path: Path, country: str):
    (fault,) = read(tmp_path, RULE + f'when = {{ country = ["DE", "{country}"] }}')

    assert fault.startswith(f"routing.rules[0].when.country: {country!r} is no country")


def test_every_word_that_a_request_may_say_may_be_in_a_rule(tmp_path: Path):
    said = get_args(get_args(get_type_hints(PaymentMethodBody, include_extras=False)["type"])[0])

    faults = read(tmp_path, RULE + f"when = {{ method = {list(METHOD_KINDS)} }}")

    assert (faults, set(said)) == ((), set(METHOD_KINDS))


def test_the_words_of_rules_are_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()

    missing = [word for word in (*METHOD_KINDS, *get_args(Brand)) if f"`{word}`" not in page]

    assert missing == []
