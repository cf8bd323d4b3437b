"""The adapters, one file for each kind of provider, and the contract that they share."""
