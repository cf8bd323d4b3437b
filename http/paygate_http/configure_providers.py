"""Whether the configured providers can be built: their kinds, packages and own conditions.

Apart from the other checks because it loads code, somebody else's perhaps: a command that only
looks at a data folder has no need of it.
"""

from paygate_actors.config import Config
from paygate_actors.providers.registry import ProviderRefused, build
from paygate_http.configure import ConfigInvalid


def check_providers(config: Config) -> None:
    """Build the adapter of every provider, and let it go: none has opened anything yet.

    Raises `ConfigInvalid` with a sentence for each that cannot be built.
    """
    faults: list[str] = []
    for provider in config.providers:
        try:
            build(provider)
        except ProviderRefused as error:
            faults.append(f"providers: {error}")
    if faults:
        raise ConfigInvalid(*faults)
