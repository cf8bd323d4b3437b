"""`paygate config show` tells what a server would do, not only what was written down."""

import pytest

from paygate_actors.config import Config, Sandbox, Webhooks
from paygate_http.configure_show import describe

KEY = "webhooks.allow_loopback"


def shown(config: Config, **origins: str) -> str:
    (line,) = [each for each in describe(config, origins) if each.startswith(KEY)]
    return line


@pytest.mark.parametrize("allowed", [True, False])
def test_a_live_server_is_not_told_to_call_its_own_machine(allowed: bool):  # noqa: FBT001
    config = Config(webhooks=Webhooks(allow_loopback=allowed))

    assert shown(config) == f"{KEY} = false  # never in a live server"


@pytest.mark.parametrize(("allowed", "text"), [(True, "true"), (False, "false")])
def test_a_sandbox_is_told_to_as_it_is_configured(allowed: bool, text: str):  # noqa: FBT001
    config = Config(sandbox=Sandbox(enabled=True), webhooks=Webhooks(allow_loopback=allowed))

    assert shown(config) == f"{KEY} = {text}  # default"
