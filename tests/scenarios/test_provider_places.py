"""A provider's name that is given to another account, over the whole gateway and its restarts."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import Live, visiting
from msgspec.structs import replace

from paygate_actors.config import ProviderConfig
from paygate_actors.provider_places import Place, place_of
from paygate_engine.errors import StoreRefused
from paygate_http.configure import sandbox_providers
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET


def ours(url: str) -> ProviderConfig:
    return sandbox_providers(url)[0]


def another(url: str) -> ProviderConfig:
    """Another account under the same name."""
    return ProviderConfig(
        id=ours(url).id,
        kind="stripe",
        url=url,
        secret=SECRET_KEY,
        webhook_secret=WEBHOOK_SECRET,
    )


async def a_hold(live: Live) -> None:
    held = await live.pay(captureMethod="manual")
    assert held["status"] == "authorized"


async def a_refund_in_doubt(live: Live) -> None:
    """A refund that its provider has made and can say nothing of."""
    paid = await live.pay()
    await live.fault("reset_after_effect", operation="refund")
    await live.control("POST", "/faults", {"fault": "webhook_drop", "count": 9})
    unseen: dict[str, Any] = {"fault": "reset_before_effect", "operation": "find", "count": 90}
    await live.control("POST", "/faults", unseen)
    asked = await live.operate(paid["id"], "refund", {"amount": 2.50})
    assert asked.body["status"] == "pending", asked.text


@pytest.mark.slow
@pytest.mark.parametrize("left", [a_hold, a_refund_in_doubt])
async def test_a_name_is_not_given_away_while_something_is_open_under_it(
    tmp_path: Path, left: Callable[[Live], Awaitable[None]]
):
    async with sandbox_aside(tmp_path) as url:
        async with (
            inside(tmp_path, url, providers=(ours(url),)) as gateway,
            visiting(gateway.url) as live,
        ):
            await left(live)

        with pytest.raises(StoreRefused, match="give the new account another id"):
            async with inside(tmp_path, url, providers=(another(url),)):
                pass
        added = replace(another(url), id="new")
        async with inside(tmp_path, url, providers=(ours(url), added)):
            pass


@pytest.mark.slow
async def test_a_name_under_which_all_is_at_rest_is_given_away_and_the_audit_tells(tmp_path: Path):
    async with sandbox_aside(tmp_path) as url:
        async with (
            inside(tmp_path, url, providers=(ours(url),)) as gateway,
            visiting(gateway.url) as live,
        ):
            paid = await live.pay()
            assert paid["status"] == "success"

        for _ in range(2):
            async with inside(tmp_path, url, providers=(another(url),)) as gateway:
                rows = await gateway.gateway.store.audit_rows()
                moves = [row.entry.what for row in rows if "moved" in row.entry.what]

                assert moves == [
                    "provider moved from sandbox at http://127.0.0.1 to stripe at http://127.0.0.1"
                ]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.stripe.com/", "https://api.stripe.com"),
        ("https://bank.example:8443/v1?x=1", "https://bank.example:8443"),
        ("http://127.0.0.1:8090", "http://127.0.0.1"),
        ("http://localhost:1", "http://localhost"),
        ("", ""),
    ],
)
def test_a_place_is_the_kind_the_origin_and_the_account(url: str, origin: str):
    config = ProviderConfig(id="a", kind="stripe", url=url, secret="s", account="acct_1")

    assert place_of(config) == Place(kind="stripe", origin=origin, account="acct_1")


def test_another_key_is_the_same_account():
    config = ProviderConfig(id="a", kind="stripe", secret="old", webhook_secret="w")
    rotated = ProviderConfig(id="a", kind="stripe", secret="new", webhook_secret="v")

    assert place_of(config) == place_of(rotated)
