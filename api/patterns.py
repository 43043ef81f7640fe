"""The forms of names and ids. A name that does not match cannot exist, and is never looked up in the store."""

from __future__ import annotations

import re
from typing import Final

CUSTOMER_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
# Clients and proxies remove "." and ".." from paths (RFC 3986, section 5.2.4), also percent-encoded.
NEW_CUSTOMER_ID: Final = re.compile(rf"(?!\.{{1,2}}$){CUSTOMER_ID.pattern}")
"""Customers of earlier versions may have other ids that match CUSTOMER_ID."""
SCHEMA_FILE: Final = re.compile(r"[A-Za-z]{1,64}\.v[1-9]\.json")
GATEWAY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# "gateways" is the name of the gateways' own streams (store.port.GATEWAYS).
MERCHANT: Final = re.compile(r"(?!gateways$)[A-Za-z0-9._-]{1,64}")
# A dead letter has the id of its work. The work of a transaction has the transaction's id.
DEAD_LETTER_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
TRANSACTION_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A provider's reference as it is stored: a card number in it is masked, and followed by a code.
GATEWAY_REFERENCE: Final = re.compile(r"[!-~]{1,255}")
CORRELATION_ID: Final = re.compile(r"[!-~]{1,128}")
VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
# The version, the beginning of the hash and the customer of an event; "0" is before all events.
EVENT_KEY: Final = re.compile(r"0|[1-9][0-9]{0,17}\.[0-9a-f]{16}\.[A-Za-z0-9._:@-]{1,128}")
REVIEW_ID: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
REVIEW_KEY: Final = re.compile(r"[0-9]{1,17}\.[A-Za-z0-9_.:@-]{1,200}")
BARE_KEY: Final = re.compile(r"[!#-~][!-~]{0,254}")
QUOTED_KEY: Final = re.compile(r'"([!-~]{1,255})"')
IDEMPOTENCY_KEY: Final = re.compile(f"^({BARE_KEY.pattern}|{QUOTED_KEY.pattern})$")
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
"""Without the quotes."""
