"""A payment provider to develop and test against: real HTTP, own books, faults on demand.

It plays two provider accounts, `sandbox` and `sandbox_backup`, on one server of its own, and
knows nothing of the gateway but the URL that takes its webhooks. Reading order: `wire` (what is
said), `records` (what is kept), `cards` and `refusals` (who is told no), `teller` (what a call
decides), `settlement` (what takes effect), `later` (what happens by itself), `notices` (webhooks),
`faults` (what goes wrong on purpose), `calls` and `control` (the routes), `books` and `folder`
(where it is kept), `server` (all of it joined).
"""
