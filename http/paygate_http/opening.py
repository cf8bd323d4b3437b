"""Opens a gateway on its data folder, for the server and for commands that change something."""

import asyncio
import os
import socket
from collections.abc import Callable

from msgspec.structs import replace

from paygate_actors.config import Config
from paygate_actors.gateway import Gateway
from paygate_actors.vault_keys import KeysRefused
from paygate_actors.webhooks_out import WayOut
from paygate_http.configure import ConfigInvalid
from paygate_http.notice_replies import webhook_body


async def open_gateway(config: Config, *, on_fatal: Callable[[BaseException], None]) -> Gateway:
    """Take the folder's lock and open the store; nothing is recovered and nobody called yet.

    `on_fatal` is called once, on the loop, when the journal has failed. Raises `StoreRefused`
    (another process has the folder, or it is not ours) and `ConfigInvalid` (unusable keys).
    """
    loop = asyncio.get_running_loop()
    try:
        return await Gateway.start(
            named(config), loop=loop, on_fatal=on_fatal, way_out=WayOut(body_of=webhook_body)
        )
    except KeysRefused as error:
        raise ConfigInvalid(f"vault: {error}") from error


def named(config: Config) -> Config:
    """The configuration with a name for this process, where it has none of its own."""
    if config.database.node:
        return config
    node = f"{socket.gethostname()}:{os.getpid()}"
    return replace(config, database=replace(config.database, node=node))
