"""Lists over real HTTP: newest first, filters, limits, and cursors that new items leave alone."""

from collections.abc import AsyncGenerator, Generator
from typing import Any
from urllib.parse import quote

import pytest
from live_gateway import (
    DECLINED,
    FAILS_OVER,
    MERCHANT,
    OPERATOR,
    OTHER_MERCHANT,
    Live,
    Server,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("lists"), "--sandbox-latency-ms", "0") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def ids(live: Live, path: str, *, key: str = MERCHANT) -> list[str]:
    """Read one page that is the whole list."""
    page = await live.get(path, key=key)
    assert page.status == 200, page.text
    assert (page.body["hasMore"], page.body["nextCursor"]) == (False, None)
    return [each["id"] for each in page.body["data"]]


async def test_pages_follow_each_other_while_new_payments_arrive(live: Live):
    customer = "pages"
    made = [(await live.pay(metadata={"customerID": customer}))["id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        more = f"&cursor={quote(cursor)}" if cursor else ""
        page = await live.get(f"/api/payments?customerID={customer}&limit=3{more}")
        assert page.status == 200
        assert page.body["hasMore"] == (page.body["nextCursor"] is not None)
        seen += [each["id"] for each in page.body["data"]]
        cursor = page.body["nextCursor"]
        await live.pay(metadata={"customerID": customer})

    assert seen == made[::-1]


async def test_twenty_are_given_where_no_limit_is_and_a_hundred_at_most(live: Live):
    for _ in range(21):
        await live.pay(wait_s=None, metadata={"customerID": "many"})

    default = await live.get("/api/payments?customerID=many")
    most = await live.get("/api/payments?customerID=many&limit=100")

    assert (len(default.body["data"]), default.body["hasMore"]) == (20, True)
    assert (len(most.body["data"]), most.body["hasMore"]) == (21, False)


async def test_payments_are_filtered(live: Live):
    first = await live.pay(metadata={"customerID": "ada", "orderID": "o-1"})
    failed = await live.pay(DECLINED, metadata={"customerID": "ada", "orderID": "o-2"})
    backup = await live.pay(FAILS_OVER, metadata={"customerID": "ada", "orderID": "o-3"})
    ada = "/api/payments?customerID=ada"

    every = [backup["id"], failed["id"], first["id"]]
    assert await ids(live, ada) == every
    assert await ids(live, f"{ada}&status=failed") == [failed["id"]]
    assert await ids(live, f"{ada}&provider=sandbox_backup") == [backup["id"]]
    assert await ids(live, "/api/payments?orderID=o-1") == [first["id"]]
    assert await ids(live, f"{ada}&orderID=o-9") == []
    # `from` is included and `to` is not.
    assert await ids(live, f"{ada}&from={failed['createdAt']}") == every[:2]
    assert await ids(live, f"{ada}&to={failed['createdAt']}") == every[2:]


async def test_transactions_are_filtered(live: Live):
    paid = await live.pay(currency="EUR", metadata={"customerID": "bob"})
    refund = await live.done(paid["id"], "refund", {"amount": 3})
    await live.done(paid["id"], "refund", {"amount": 2})
    other = await live.pay(DECLINED, currency="CHF")
    of = f"/api/transactions?paymentID={paid['id']}"

    assert len(await ids(live, of)) == 3
    assert await ids(live, f"{of}&type=payment") == [paid["transactionID"]]
    assert len(await ids(live, f"{of}&type=refund&status=success")) == 2
    assert await ids(live, f"{of}&to={refund['createdAt']}") == [paid["transactionID"]]
    assert await ids(live, f"{of}&currency=USD") == []
    assert len(await ids(live, "/api/transactions?currency=EUR")) == 3
    assert await ids(live, "/api/transactions?currency=CHF&status=failed") == [
        other["transactionID"]
    ]
    assert await ids(live, f"{of}&provider=sandbox_backup") == []


async def test_a_merchant_sees_its_own_and_an_operator_sees_all(live: Live):
    metadata = {"customerID": "shared"}
    mine = (await live.pay(metadata=metadata))["id"]
    theirs = await live.process(payment_request(metadata=metadata), key=OTHER_MERCHANT)
    path = "/api/payments?customerID=shared"

    assert await ids(live, path) == [mine]
    assert await ids(live, path, key=OTHER_MERCHANT) == [theirs.body["id"]]
    assert await ids(live, path, key=OPERATOR) == [theirs.body["id"], mine]
    of = f"/api/transactions?paymentID={mine}"
    assert len(await ids(live, of)) == 1
    assert await ids(live, of, key=OTHER_MERCHANT) == []


@pytest.mark.parametrize("kind", ["payments", "transactions"])
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("cursor=", "cursor"),
        ("status=paid", "status"),
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_a_bad_filter_is_422_and_named(live: Live, kind: str, query: str, parameter: str):
    answer = await live.get(f"/api/{kind}?{query}")

    faults: list[Any] = answer.body["errors"]
    assert answer.code == (422, "validation_failed")
    assert [fault["parameter"] for fault in faults] == [parameter]


async def test_every_bad_filter_is_named_at_once(live: Live):
    answer = await live.get("/api/payments?limit=0&from=x&to=y&status=paid")

    named = {fault["parameter"] for fault in answer.body["errors"]}
    assert named == {"limit", "from", "to", "status"}


async def test_a_cursor_that_is_made_up_or_of_another_list_is_refused(live: Live):
    for _ in range(2):
        await live.pay(metadata={"customerID": "cursors"})
    cursor = (await live.get("/api/payments?limit=1")).body["nextCursor"]

    for given in (cursor, cursor[:-4], "made-up"):
        answer = await live.get(f"/api/transactions?limit=1&cursor={quote(given)}")

        assert answer.code == (422, "validation_failed")
        assert [fault["pointer"] for fault in answer.body["errors"]] == ["/cursor"]
