"""The sandbox's Stripe: forms, keys, what survives a restart, what goes wrong on purpose."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sandbox_rig import Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_form import FIELDS_MAX, FormInvalid, decode_form, table, text

DAY_S = 24 * 3_600
CARD = "4242424242424242"


class Till:
    """Somebody who speaks Stripe's API by hand."""

    def __init__(self, rig: Rig, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self._session = session

    async def post(
        self, path: str, fields: Mapping[str, str] | bytes, *, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if key is not None:
            headers["Idempotency-Key"] = key
        data = fields if isinstance(fields, bytes) else dict(fields)
        async with self._session.post(path, data=data, headers=headers) as response:
            return response.status, json.loads(await response.read())

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(path) as response:
            return response.status, json.loads(await response.read())

    async def pay(self, key: str | None = None, **fields: str) -> tuple[int, Any]:
        form = {
            "amount": "1000",
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            **fields,
        }
        return await self.post("/v1/payment_intents", form, key=key)

    async def paid(self, **fields: str) -> dict[str, Any]:
        status, intent = await self.pay(**fields)
        assert status == 200, intent
        return intent


@asynccontextmanager
async def till_at(rig: Rig, *, secret: str = SECRET_KEY) -> AsyncGenerator[Till]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(rig.sandbox.url, headers=headers) as session:
        yield Till(rig, session)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with sandbox_rig() as rig, till_at(rig) as till:
        yield till


def test_brackets_become_tables_and_lists_are_numbered():
    fields = decode_form(b"a=1&card[number]=42&m[x][y]=z&expand[]=p&expand[]=q&t[0]=card&e=")

    assert fields == {
        "a": "1",
        "card": {"number": "42"},
        "m": {"x": {"y": "z"}},
        "expand": {"0": "p", "1": "q"},
        "t": {"0": "card"},
        "e": "",
    }
    assert text(fields, "card", "number") == "42"
    assert text(fields, "card") is None
    assert text(fields, "a", "number") is None
    assert table(fields, "card") == {"number": "42"}
    assert decode_form(b"") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"\xff=1",
        b"a",
        b"a=1&a=2",
        b"a=1&a[b]=2",
        b"a[b]=1&a=2",
        b"a[=1",
        b"a]=1",
        b"[a]=1",
        b"a[[b]]=1",
        b"a[b][c][d][e][f]=1",
        b"&".join(b"f%d=1" % number for number in range(FIELDS_MAX + 1)),
    ],
)
def test_what_is_no_form_is_refused(body: bytes):
    with pytest.raises(FormInvalid):
        decode_form(body)


@pytest.mark.parametrize("body", [b"\xff=1", b"amount[=1", b'{"amount": 1000}'])
async def test_a_body_that_is_no_form_is_an_invalid_request(till: Till, body: bytes):
    status, answer = await till.post("/v1/payment_intents", body)

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_a_key_is_needed_on_every_route(till: Till):
    async with till_at(till.rig, secret="sk_live_nobody") as stranger:
        posted, _ = await stranger.pay()
        read, answer = await stranger.get("/v1/events")

    assert (posted, read) == (401, 401)
    assert answer["error"]["type"] == "invalid_request_error"
    assert await till.rig.ledger() == []


async def test_the_key_is_taken_as_curl_sends_it(till: Till):
    url = f"{till.rig.sandbox.url}/v1/events"

    statuses: list[int] = []
    for user in (SECRET_KEY.encode(), b"sk_test_other", b"\xff"):
        basic = f"Basic {base64.b64encode(user + b':').decode()}"
        async with aiohttp.request("GET", url, headers={"Authorization": basic}) as response:
            statuses.append(response.status)

    assert statuses == [200, 401, 401]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/payment_intents", {"currency": "usd"}, "amount"),
        ("/v1/payment_intents", {"amount": "1000"}, "currency"),
        ("/v1/payment_intents", {"amount": "-1", "currency": "usd"}, "amount"),
        ("/v1/payment_intents", {"amount": "1e3", "currency": "usd"}, "amount"),
        ("/v1/payment_intents", {"amount": "1000", "currency": "USD"}, "currency"),
        ("/v1/payment_methods", {"type": "sepa_debit"}, "type"),
        ("/v1/refunds", {"amount": "1"}, "payment_intent"),
    ],
)
async def test_what_is_missing_or_odd_is_named(
    till: Till, path: str, fields: dict[str, str], param: str
):
    status, answer = await till.post(path, fields)

    assert (status, answer["error"]["param"]) == (400, param)


async def test_metadata_beyond_stripe_s_bounds_is_refused(till: Till):
    intent = {"amount": "1000", "currency": "usd"}
    long_name = {f"metadata[{'n' * 41}]": "v"}
    long_value = {"metadata[n]": "v" * 501}
    many = {f"metadata[n{number}]": "v" for number in range(51)}

    for metadata in (long_name, long_value, many):
        status, answer = await till.post("/v1/payment_intents", intent | metadata)
        assert (status, answer["error"]["param"]) == (400, "metadata")


async def test_an_intent_without_a_method_is_not_confirmed(till: Till):
    _, made = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})

    status, answer = await till.post(f"/v1/payment_intents/{made['id']}/confirm", {})

    assert (status, answer["error"]["code"]) == (400, "payment_intent_unexpected_state")


async def test_a_charge_may_be_named_by_its_own_id_and_a_card_be_sent_along(till: Till):
    card = {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": CARD,
        "payment_method_data[card][exp_month]": "12",
        "payment_method_data[card][exp_year]": "2040",
    }
    _, made = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})
    _, paid = await till.post(f"/v1/payment_intents/{made['id']}/confirm", card)

    status, refund = await till.post("/v1/refunds", {"charge": paid["latest_charge"]})

    assert (status, refund["payment_intent"], refund["amount"]) == (200, made["id"], 500)


async def test_a_key_that_is_no_key_is_refused(till: Till):
    status, _ = await till.pay("k" * 256)

    assert status == 400


async def test_no_card_number_is_kept_or_shown(tmp_path: Path):
    canary = "4111111111111111"
    async with sandbox_rig(data_dir=tmp_path) as rig, till_at(rig) as till:
        card = {"card[number]": canary, "card[exp_month]": "12", "card[exp_year]": "2040"}
        _, method = await till.post("/v1/payment_methods", {"type": "card", **card})
        intent = await till.paid(payment_method=method["id"])
        listed = await till.get("/v1/events")

    told = json.dumps([method, intent, listed])
    assert canary not in told
    assert canary.encode() not in everything_in(tmp_path)


async def test_everything_survives_a_restart(tmp_path: Path):
    clock = ManualClock()
    async with sandbox_rig(data_dir=tmp_path, clock=clock) as rig, till_at(rig) as till:
        _, paid = await till.pay("k", **{"metadata[reference]": "txn_1-1"})
        _, refund = await till.post("/v1/refunds", {"payment_intent": paid["id"], "amount": "1"})
        _, made = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})
        _, events = await till.get("/v1/events")

    async with sandbox_rig(data_dir=tmp_path, clock=clock) as rig, till_at(rig) as till:
        again = await till.pay("k", **{"metadata[reference]": "txn_1-1"})
        query = "query=metadata%5B%27reference%27%5D:%27txn_1-1%27"
        _, found = await till.get(f"/v1/payment_intents/search?{query}")
        _, refunds = await till.get(f"/v1/refunds?payment_intent={paid['id']}")

        assert again == (200, paid)
        assert [each["id"] for each in found["data"]] == [paid["id"]]
        assert refunds["data"] == [refund]
        assert await till.get(f"/v1/payment_intents/{made['id']}") == (200, made)
        assert await till.get("/v1/events") == (200, events)
        assert len(await rig.ledger()) == 2


async def test_a_reset_forgets_everything(till: Till):
    paid = await till.paid(**{"metadata[reference]": "txn_1-1"})

    await till.rig.post("/reset")

    status, _ = await till.get(f"/v1/payment_intents/{paid['id']}")
    _, events = await till.get("/v1/events")
    assert (status, events["data"]) == (404, [])


async def test_a_key_is_as_good_as_new_after_a_day():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig, till_at(rig) as till:
        _, first = await till.pay("k")
        clock.advance(DAY_S)

        _, second = await till.pay("k")

        assert first["id"] != second["id"]


async def test_a_key_that_is_being_worked_on_is_in_use(till: Till):
    await till.rig.fault("slow", delayMs=300)
    first = asyncio.create_task(till.pay("k"))
    await till.rig.until(lambda calls: len(calls["data"]) == 1, "/calls")

    status, answer = await till.pay("k")

    assert (status, answer["error"]["code"]) == (409, "idempotency_key_in_use")
    assert (await first)[0] == 200
    assert len(await till.rig.ledger()) == 1


async def test_what_failed_validation_leaves_its_key_free(till: Till):
    bad, _ = await till.pay("k", amount="0")

    good, _ = await till.pay("k")

    assert (bad, good) == (400, 200)


async def test_what_the_state_refused_stays_refused_under_its_key(till: Till):
    asked = await till.paid(
        capture_method="manual", payment_method="pm_card_authenticationRequired"
    )
    path = f"/v1/payment_intents/{asked['id']}/capture"

    early = await till.post(path, {}, key="k")
    await till.rig.post(f"/actions/{asked['id']}/complete")
    again = await till.post(path, {}, key="k")
    fresh, _ = await till.post(path, {}, key="k2")

    assert early == again
    assert early[1]["error"]["code"] == "payment_intent_unexpected_state"
    assert fresh == 200


async def test_two_calls_without_a_key_are_two_charges(till: Till):
    await till.paid()
    await till.paid()

    assert len(await till.rig.ledger()) == 2


async def test_the_accounts_do_not_see_each_other(till: Till):
    own = await till.rig.charged("k")
    paid = await till.paid()

    theirs, _ = await till.get(f"/v1/payment_intents/{own}")
    status, _ = await till.rig.follow("refunds", "r", paid["id"], minor=1)

    assert (theirs, status) == (404, 404)
    assert [line["provider"] for line in await till.rig.ledger()] == ["sandbox", "sandbox_stripe"]


async def test_a_fault_strikes_the_account_it_names_and_preparations_only_by_name(till: Till):
    await till.rig.fault("error_500", provider="sandbox_stripe")
    await till.rig.charged("k")
    made, _ = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})

    struck, _ = await till.pay()
    await till.rig.fault("error_500", operation="prepare")
    prepared, _ = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})

    assert (made, struck, prepared) == (200, 500, 500)


async def test_a_preparation_cannot_suffer_what_needs_an_effect(till: Till):
    status, answer = await till.rig.post(
        "/faults", {"fault": "wrong_amount", "operation": "prepare"}
    )

    assert (status, answer["error"]["code"]) == (400, "invalid_fault")


async def test_webhooks_suffer_the_same_faults_and_keep_their_id():
    async with (
        Inbox() as inbox,
        sandbox_rig(gateway_url=inbox.url) as rig,
        till_at(rig) as till,
    ):
        await rig.fault("webhook_duplicate")
        await till.paid()
        first, second = await inbox.wait_for(2)
        await rig.fault("webhook_drop")
        await till.paid()
        await till.paid()
        (*_, third) = await inbox.wait_for(3)
        _, listed = await till.get("/v1/events")

    assert first == second
    # The one that was dropped is on the list all the same.
    assert listed["data"][0]["id"] == third["id"]
    assert len(listed["data"]) == 3


async def test_an_intent_that_is_given_up_unconfirmed_moves_nothing_and_is_told():
    async with (
        Inbox() as inbox,
        sandbox_rig(gateway_url=inbox.url) as rig,
        till_at(rig) as till,
    ):
        _, made = await till.post("/v1/payment_intents", {"amount": "500", "currency": "usd"})
        status, cancelled = await till.post(f"/v1/payment_intents/{made['id']}/cancel", {})
        (event,) = await inbox.wait_for(1)

        late, _ = await till.post(
            f"/v1/payment_intents/{made['id']}/confirm", {"payment_method": "pm_card_visa"}
        )

        assert (status, cancelled["status"], late) == (200, "canceled", 400)
        assert event["type"] == "payment_intent.canceled"
        assert await rig.ledger() == []


async def test_a_card_that_is_none_is_told_at_once_and_never_repeated(till: Till):
    number = "4242424242424241"
    fields = {"type": "card", "card[number]": number, "card[exp_month]": "12"}

    status, answer = await till.post("/v1/payment_methods", fields | {"card[exp_year]": "2040"})
    no_year, expiry = await till.post("/v1/payment_methods", fields | {"card[number]": CARD})

    assert (status, answer["error"]["code"]) == (402, "incorrect_number")
    assert number not in json.dumps(answer)
    assert (no_year, expiry["error"]["code"]) == (402, "invalid_expiry_year")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/payment_intents/pi_none",
        "/v1/payment_methods/pm_none",
        "/v1/charges/ch_none",
        "/v1/refunds/re_none",
        "/v1/refunds?payment_intent=pi_none",
        "/v1/events/evt_none",
        "/v1/events?starting_after=evt_none",
    ],
)
async def test_what_is_not_there_is_missing(till: Till, path: str):
    status, answer = await till.get(path)

    assert (status, answer["error"]["code"]) == (404, "resource_missing")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?limit=0",
        "/v1/events?limit=101",
        "/v1/events?limit=x",
        "/v1/events?created[gte]=now",
        "/v1/payment_intents/search?query=status:'succeeded'",
        "/v1/payment_intents/search?query=",
    ],
)
async def test_what_cannot_be_asked_is_an_invalid_request(till: Till, path: str):
    status, answer = await till.get(path)

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
