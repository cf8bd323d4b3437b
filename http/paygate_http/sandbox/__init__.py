"""A payment provider to develop and test against: real HTTP, own books, faults on demand.

It plays several provider accounts on one server of its own and on the same books: `sandbox` and
`sandbox_backup` speak its own protocol, the others that of the provider in their name. It knows
nothing of the gateway but the URL that takes its webhooks. Reading order: `wire` (what is said),
`records` (what is kept), `cards` and `refusals` (who is told no), `teller` (what a call decides),
`settlement` (what takes effect), `later` (what happens by itself), `notices` and `tongues`
(webhooks), `faults` and `passage` (what goes wrong on purpose), `calls` and `control` (the routes),
`books` and `folder` (where it is kept), `server` (all of it joined). Then Stripe: `stripe_form` and
`stripe_money` (what is said), `stripe_records` and `stripe_books` (what is kept), `stripe_desk`
(what a call decides), `stripe_objects` and `stripe_tongue` (how it is told), `stripe_calls` and
`stripe_lookups` (the routes), `stripe_account` (all of it joined). Adyen the same way, from
`adyen_wire` to `adyen_account`; its modifications are only taken in, and told of by webhook. PayPal
from `paypal_money` to `paypal_account`; its payers (`paypal_payers`) approve, and move nothing.
"""
