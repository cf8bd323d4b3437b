"""The page on which a payer confirms a payment (3-D Secure's stand-in)."""

from html import escape
from string import Template

from paygate_http.sandbox.records import Charge

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Confirm your payment</title>
<body>
<h1>Confirm your payment</h1>
<p>$amount_minor minor units of $currency at $provider: $status.</p>
$buttons
</body>
</html>
""")

_BUTTONS = Template("""<form method="post" action="/actions/$id/complete">
<button>Complete</button>
</form>
<form method="post" action="/actions/$id/fail">
<button>Fail</button>
</form>
""")


def page(charge: Charge) -> str:
    """Render the page; its buttons are gone once the payer has decided or the time is up."""
    waits = charge.status == "requires_action"
    return _PAGE.substitute(
        amount_minor=charge.amount_minor,
        currency=escape(charge.currency),
        provider=escape(charge.provider),
        status=escape(charge.status.replace("_", " ")),
        buttons=_BUTTONS.substitute(id=escape(charge.id)) if waits else "",
    )
