"""`paygate config check` and `paygate config show`."""

import os
import sys

from paygate_http.configure import load
from paygate_http.configure_providers import check_providers
from paygate_http.configure_show import describe
from paygate_http.doors import tls_context
from paygate_http.flags import ServeFlags
from paygate_http.process import Exit


def check(flags: ServeFlags) -> Exit:
    """Say that a server would start with this. Raises `ConfigInvalid` if it would not."""
    config = load(file=flags.config, environment=os.environ, flags=flags.settings()).config
    tls_context(config.server.tls_cert, config.server.tls_key)
    check_providers(config)
    sys.stdout.write("the configuration is good\n")
    return Exit.DRAINED


def show(flags: ServeFlags) -> Exit:
    """Print every key, its value and its origin; no secret, and no check for live keys."""
    loaded = load(file=flags.config, environment=os.environ, flags=flags.settings(), serves=False)
    for line in describe(loaded.config, loaded.origins):
        sys.stdout.write(line + "\n")
    return Exit.DRAINED
