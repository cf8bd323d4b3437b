"""What one has to know to try an adapter at an account where money is play money.

A package that brings a kind (`registry`) may bring a `TrialAccount` for it, by an entry point of
the same name in the group `paygate.provider_trials`. `paygate provider check` reads it.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from msgspec import Struct

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.registry import ProviderRefused

GROUP: Final = "paygate.provider_trials"
"""The group of entry points that accounts to try stand in."""


class TrialAccount(Struct, frozen=True, kw_only=True):
    """An account to try a kind with; every number is a test card's, without spaces.

    `config`: the provider's table, as for this project's sandbox; its url is filled in with the
    address of the provider's end, and with `path` behind it. `account`: under which name the
    sandbox's books keep it. `declines`: which card is declined with which normalised code.
    `confirm`: the payer has to confirm. `disputed`: the cardholder disputes it soon after. `token`,
    `declined_token`: what the provider keeps itself; `unknown_token`: what it never kept. None
    where the provider has no such thing. `timed_webhooks`: their signatures carry the time, so that
    an old one is refused. `silent`: stories of `paygate trigger` that no webhook of it tells of.
    `secrets`: what nobody may be shown, beside the table's fields for that.
    """

    config: ProviderConfig
    account: str = ""
    path: str = ""
    approved: str
    approved_too: str
    declines: Mapping[str, str] = {}
    confirm: str | None = None
    disputed: str | None = None
    token: str | None = None
    declined_token: str | None = None
    unknown_token: str | None = None
    timed_webhooks: bool = True
    silent: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """What nobody may be shown."""
        told = (self.config.secret, *self.config.webhook_secret.split(), *self.secrets)
        return tuple(each for each in told if each)


def trial_of(kind: str, points: Iterable[EntryPoint] | None = None) -> TrialAccount | None:
    """Give the account that the package of a kind brings; None where it brings none.

    Raises `ProviderRefused` where it cannot be loaded, or is something else.
    """
    found = entry_points(group=GROUP) if points is None else points
    named = [each for each in found if each.name == kind]
    if not named:
        return None
    try:
        trial = named[0].load()
    except Exception as error:
        raise ProviderRefused(
            f"the trial account of {kind} cannot be loaded from {named[0].value}"
            f" ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(trial, TrialAccount):
        raise ProviderRefused(f"{named[0].value} is no TrialAccount")
    return trial
