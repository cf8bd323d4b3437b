"""What every table of the configuration is: frozen, and strict about its keys."""

from msgspec import Struct


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration: a typo in it is an error that names the key."""
