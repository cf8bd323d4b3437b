"""What a request waits for on its way, and that its node is asked once more after that.

The server is written by hand: it must hold answers back, and count connections.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paygate_actors.providers.http_client import Answered, HttpClient, NotSent
from paygate_actors.providers.last_look import BARRED, may_leave, only_while

DEADLINE_S = 10.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Shop:
    """Answers each request when it may. `seen`: the paths that arrived."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[str] = []
        self.open = 0
        self.came = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.seen.append(head.split()[1].decode())
                self.came.set()
                await self.may_answer.wait()
                writer.write(ANSWER)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield shop
    shop.may_answer.set()
    server.close()


async def test_a_request_that_waited_for_a_connection_does_not_leave_when_its_node_may_not_act(
    shop: Shop,
):
    client = HttpClient(shop.url, connections_max=1)
    may_act = True
    with only_while(lambda: may_act):
        first = asyncio.ensure_future(client.send("GET", "/first", deadline_s=DEADLINE_S))
        await shop.came.wait()
        late = asyncio.ensure_future(client.send("GET", "/late", deadline_s=DEADLINE_S))
        await asyncio.sleep(0)

    may_act = False
    shop.may_answer.set()
    answers = await asyncio.gather(first, late)
    after = await client.send("GET", "/after", deadline_s=DEADLINE_S)
    await client.close()

    assert answers == [Answered(status=200, body=b""), NotSent(detail=BARRED)]
    # The place of what was kept back is free again.
    assert after == Answered(status=200, body=b"")
    assert shop.seen == ["/first", "/after"]


async def test_what_is_kept_back_leaves_no_connection_open(shop: Shop):
    client = HttpClient(shop.url, connections_max=1)

    with only_while(lambda: False):
        kept = [await client.send("GET", "/", deadline_s=DEADLINE_S) for _ in range(3)]
    async with asyncio.timeout(DEADLINE_S):
        while shop.open:  # noqa: ASYNC110  # nobody would set an event
            await asyncio.sleep(0)
    await client.close()

    assert kept == [NotSent(detail=BARRED)] * 3
    assert shop.seen == []


async def test_whoever_is_outside_of_a_call_is_not_held():
    with only_while(lambda: False):
        within = may_leave()

    assert (within, may_leave()) == (False, True)
