"""What this server says it is: `status.php`, and the same in the capabilities.

Clients decide by the version what they may ask for. The number is that of the Nextcloud server whose dialect is
spoken here; ownCloud clients want 10 or more.
"""

from typing import Any

from providers.cloud.call import Call, json_answer
from providers.request import Answer

PRODUCT = "baludav"
VERSION = (29, 0, 0, 0)

STATUS: dict[str, Any] = {
    "installed": True,
    "maintenance": False,
    "needsDbUpgrade": False,
    "version": ".".join(map(str, VERSION)),
    "versionstring": ".".join(map(str, VERSION[:3])),
    "edition": "",
    "productname": PRODUCT,
    "extendedSupport": False,
}


def status(call: Call) -> Answer:
    """Answer GET of `/status.php`; clients ask before anybody has signed in."""
    call.require_method("GET", "HEAD")
    return json_answer(call, STATUS)


def connectivity(call: Call) -> Answer:
    """Answer `/index.php/204`: phones ask it to learn whether a captive portal answers in our place."""
    return Answer(204, [])
