"""What names and ids look like. Whatever does not match one cannot exist and is never asked of the store."""

from __future__ import annotations

import re
from typing import Final

CUSTOMER_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
# Clients and proxies remove "." and ".." from paths (RFC 3986, section 5.2.4), also percent-encoded.
NEW_CUSTOMER_ID: Final = re.compile(rf"(?!\.{{1,2}}$){CUSTOMER_ID.pattern}")
"""Customers of earlier versions may have the other ids, too."""
GATEWAY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# No merchant may be called as the gateways' streams are (store.port.GATEWAYS).
MERCHANT: Final = re.compile(r"(?!gateways$)[A-Za-z0-9._-]{1,64}")
# A dead letter goes by the id of its work; the work of a transaction by the id of that.
DEAD_LETTER_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
TRANSACTION_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
# The version, the beginning of the hash and the customer of an event; "0" is before all of them.
EVENT_KEY: Final = re.compile(r"0|[1-9][0-9]{0,17}\.[0-9a-f]{16}\.[A-Za-z0-9._:@-]{1,128}")
REVIEW_ID: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
REVIEW_KEY: Final = re.compile(r"[0-9]{1,17}\.[A-Za-z0-9_.:@-]{1,200}")
