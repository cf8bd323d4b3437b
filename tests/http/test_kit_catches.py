"""The conformance kit has teeth: each mistake that adapters are known for fails a named case."""

import pytest
import wrong_adapters as wrong

from paygate_actors.providers.trial import TrialAccount
from paygate_http.kit.accounts import SANDBOX, STRIPE
from paygate_http.kit.catalogue import cases
from paygate_http.kit.runner import run
from paygate_http.kit.verdicts import Verdict

SEED = 7

MISTAKES = [
    (wrong.SendsAgainUnderANewKey, "keys-no-second-try"),
    (wrong.SendsAgainUnderANewKey, "line-answer-lost"),
    (wrong.SendsAgainByItself, "keys-no-second-try"),
    (wrong.TakesDoubtForANo, "line-answer-lost"),
    (wrong.TakesDoubtForANo, "replies-error-500"),
    (wrong.KeyPerRequest, "keys-same-charge"),
    (wrong.KeyPerRequest, "keys-same-bytes"),
    (wrong.EchoesItself, "replies-other-currency"),
    (wrong.EchoesItself, "replies-other-amount"),
    (wrong.ReadsNoKey, "replies-swapped"),
    (wrong.ReadsNoKey, "replies-of-another-charge"),
    (wrong.FollowsRedirects, "line-redirect"),
    (wrong.FollowsRedirects, "line-look-up-redirect"),
    (wrong.ReadsEverything, "replies-ten-megabytes"),
    (wrong.TakesAbsenceForANo, "looking-finds-nothing"),
    (wrong.TakesEveryWebhook, "webhooks-unsigned"),
    (wrong.TakesEveryWebhook, "webhooks-changed"),
    (wrong.ForgetsTheReplayWindow, "webhooks-too-late"),
    (wrong.ShowsItsSecret, "secrets-configuration"),
    (wrong.LogsTheCard, "secrets-logs"),
    (wrong.CapturesEveryHold, "money-hold"),
    (wrong.RefundsInsteadOfVoiding, "money-void-hold"),
    (wrong.TakesBusyForANo, "replies-too-many-requests"),
    (wrong.FallsOverNonsense, "replies-html"),
    (wrong.TakesShortKeysAlone, "keys-key-length"),
]

MISTAKES_AT_STRIPE = [
    (wrong.RoundsAmounts, "amounts-quirks-refused"),
    (wrong.PreparesEachTime, "looking-prepared-once"),
    (wrong.ForgetsWhatItPrepared, "looking-prepared-and-confirmed"),
    (wrong.ForgetsWhatItPrepared, "looking-prepared-and-cancelled"),
    (wrong.TakesNonsenseForSilence, "looking-feed-nonsense"),
    (wrong.IgnoresDemands, "credentials-step-up"),
]

# These wait for what never comes, as long as it might.
MISSING = [
    (wrong.LosesTheReference, "webhooks-genuine"),
    (wrong.PromisesALookUp, "looking-finds-a-refund"),
]


async def verdict_on(adapter: wrong.Wrong, name: str, *, trial: TrialAccount = SANDBOX) -> Verdict:
    chosen = [case for case in cases() if case.name == name]
    assert len(chosen) == 1, f"there is no case {name}"
    report = await run(trial, chosen, seed=SEED, builder=adapter)
    return report.verdicts[0]


@pytest.mark.parametrize(
    ("adapter", "name"),
    [*MISTAKES, *(pytest.param(*each, marks=pytest.mark.slow) for each in MISSING)],
)
async def test_a_wrong_adapter_fails_the_case_that_is_about_it(adapter: wrong.Wrong, name: str):
    verdict = await verdict_on(adapter, name)

    assert verdict.word == "failed", verdict
    assert verdict.reason


@pytest.mark.parametrize(("adapter", "name"), MISTAKES_AT_STRIPE)
async def test_a_wrong_adapter_of_two_steps_fails_the_case_that_is_about_it(
    adapter: wrong.Wrong, name: str
):
    verdict = await verdict_on(adapter, name, trial=STRIPE)

    assert verdict.word == "failed", verdict
    assert verdict.reason


async def test_an_adapter_that_raises_fails_its_cases_and_not_the_kit():
    verdict = await verdict_on(wrong.RaisesAtOnce, "money-charge")

    assert (verdict.word, verdict.reason) == ("failed", "it raised NotImplementedError: later")


@pytest.mark.slow
async def test_an_adapter_without_a_deadline_is_not_waited_for():
    verdict = await verdict_on(wrong.HasNoDeadline, "line-hang-after")

    assert verdict.word == "failed"
    assert "after its deadline" in verdict.reason


@pytest.mark.parametrize(
    ("trial", "adapter", "mistakes"),
    [
        (SANDBOX, wrong.Right, MISTAKES + MISSING),
        (STRIPE, wrong.RightStripe, MISTAKES_AT_STRIPE),
    ],
)
async def test_what_fails_for_the_wrong_ones_passes_for_the_right_one(
    trial: TrialAccount, adapter: wrong.Wrong, mistakes: list[tuple[wrong.Wrong, str]]
):
    names = {name for _, name in mistakes}
    chosen = [case for case in cases() if case.name in names]

    report = await run(trial, chosen, seed=SEED, builder=adapter)

    assert len(report.verdicts) == len(names)
    assert [each for each in report.verdicts if each.word != "passed"] == []
