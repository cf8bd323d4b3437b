"""Opens a gateway on its data folder, for the server and for commands that change something."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from paygate_actors.config import Config
from paygate_actors.gateway import Gateway
from paygate_actors.moved import refuse_left
from paygate_actors.vault_keys import KeysRefused
from paygate_actors.webhooks_out import WayOut
from paygate_engine.stores.folder import prepare_folder
from paygate_http.configure import ConfigInvalid
from paygate_http.notice_replies import webhook_body
from paygate_http.stores import database_of


async def open_gateway(config: Config, *, on_fatal: Callable[[BaseException], None]) -> Gateway:
    """Open the configured store and join as a node, or take the folder's lock and open its own.

    Nothing is recovered and nobody called yet. `on_fatal` is called once, on the loop, when the
    journal has failed. Raises `StoreRefused` (another process has the folder, or what is there is
    not ours), `ConfigInvalid` (unusable keys) and `DriverMissing`.
    """
    store = database_of(config, on_failed=on_fatal)
    if store is None:
        refuse_left(Path(config.data_dir))
    else:
        # Ends of the audit chain lie there, and a sandbox's keys; no lock: several may share it.
        prepare_folder(Path(config.data_dir))
    loop = asyncio.get_running_loop()
    try:
        return await Gateway.start(
            named(config),
            loop=loop,
            on_fatal=on_fatal,
            store=store,
            way_out=WayOut(body_of=webhook_body),
        )
    except KeysRefused as error:
        raise ConfigInvalid(f"vault: {error}") from error


def named(config: Config) -> Config:
    """The configuration with a name for this process, where it has none of its own."""
    if config.database.node:
        return config
    node = f"{socket.gethostname()}:{os.getpid()}"
    return replace(config, database=replace(config.database, node=node))
