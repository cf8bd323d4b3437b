"""Kinds of providers come by entry points, and whatever is wrong with one is a sentence."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from paygate_actors.config import Config, ProviderConfig
from paygate_actors.furnish import adapters_of
from paygate_actors.providers.base import Capabilities, Provider
from paygate_actors.providers.registry import GROUP, ProviderRefused, build, kinds
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.providers.trial import TrialAccount, trial_of
from paygate_engine.errors import StoreRefused

SECRET = "whsec_" + "QUJD" * 8
TABLE = ProviderConfig(
    id="acme_1", kind="acme", url="http://127.0.0.1:9", webhook_secret=SECRET, secret="hush"
)


class Here(EntryPoint):
    """An entry point into this module, which pytest does not import by its name."""

    def load(self) -> Any:
        return globals()[self.value.partition(":")[2]]


def here(target: str, name: str = "acme") -> Here:
    return Here(name=name, value=f"acme_paygate:{target}", group=GROUP)


def good(config: ProviderConfig) -> Provider:
    return SandboxProvider(
        id=config.id,
        name=config.options.get("label", "none"),
        url=config.url,
        webhook_secret=config.webhook_secret,
    )


def choosy(_: ProviderConfig) -> Provider:
    raise ValueError("Acme needs a merchant number")


def clumsy(config: ProviderConfig) -> Provider:
    raise RuntimeError(f"cannot use {config.secret}")


def forgetful(_: ProviderConfig) -> Any:
    return object()


def renaming(config: ProviderConfig) -> Provider:
    made = good(config)
    made.id = "another"
    return made


def boastful(config: ProviderConfig) -> Provider:
    made = good(config)
    made.capabilities = Capabilities(
        deadline_s=1, key_window_s=1, find_lag_s=1, ask_first_s=1, ask_max_s=1, feeds=True
    )
    return made


no_factory = "a text"


def test_a_kind_that_is_installed_is_built_from_its_table():
    made = build(TABLE, options={"label": "Acme"}, points=[here("good")])

    assert (made.id, made.name) == ("acme_1", "Acme")


def test_the_table_wins_over_what_the_gateway_adds():
    table = ProviderConfig(
        id="a", kind="acme", url=TABLE.url, webhook_secret=SECRET, options={"label": "mine"}
    )

    made = build(table, options={"label": "theirs"}, points=[here("good")])

    assert made.name == "mine"


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([], "which nobody knows (installed: none)"),
        ([here("good", "other")], "which nobody knows (installed: other)"),
        ([here("good"), here("choosy")], "more than one package brings the kind acme"),
        ([here("choosy")], "acme_1: Acme needs a merchant number"),
        ([here("clumsy")], "failed with RuntimeError"),
        ([here("forgetful")], "has no charge, capture, void"),
        ([here("renaming")], "does not go by the id"),
        ([here("boastful")], "says feeds and has no events"),
        ([here("no_factory")], "is no factory"),
        ([EntryPoint("acme", "no_such_package_of_acme:provider", GROUP)], "cannot be loaded"),
    ],
)
def test_whatever_is_wrong_is_refused_with_a_sentence(points: list[EntryPoint], sentence: str):
    with pytest.raises(ProviderRefused) as refused:
        build(TABLE, points=points)

    assert sentence in str(refused.value)
    assert "acme_1" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_one_package_that_is_found_twice_is_one_package():
    assert build(TABLE, points=[here("good"), here("good")]).id == "acme_1"


def test_our_own_kinds_come_by_entry_points_as_well():
    assert {"adyen", "paypal", "sandbox", "stripe"} <= {each.name for each in kinds()}


def test_a_gateway_does_not_start_with_a_provider_of_no_known_kind():
    with pytest.raises(StoreRefused, match="acme_1 has the kind acme, which nobody knows"):
        adapters_of(Config(providers=(TABLE,)))


def test_a_package_that_brings_nothing_to_try_it_with_has_no_trial():
    assert trial_of("acme", points=[]) is None


@pytest.mark.parametrize("target", ["no_factory", "good"])
def test_a_trial_that_is_none_is_refused(target: str):
    with pytest.raises(ProviderRefused, match="is no TrialAccount"):
        trial_of("acme", points=[here(target)])


def test_a_trial_knows_what_nobody_may_be_shown():
    trial = TrialAccount(
        config=TABLE, approved="4242424242424242", approved_too="5555555555554444", secrets=("x1",)
    )

    assert trial.hidden == ("hush", SECRET, "x1")
