"""Where things are kept: the protocol (`base`) and the peers that keep it."""
