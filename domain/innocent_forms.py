"""Forms of values with many digits that are not card numbers: ids, times, telephones, IBANs, amounts, addresses."""

from __future__ import annotations

import re
from typing import Final

_DAY: Final = r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.,][0-9]{1,9})?"
_OFFSET: Final = r"(?:z|[+-][01][0-9]:?[0-5][0-9])"
_FORMS: Final = (
    # UUIDs, and hexadecimal ids from 24 characters on with a letter: their digits are random.
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"(?=[0-9]*[a-f])[0-9a-f]{24,}",
    # RFC 3339, and days of these centuries without a time.
    f"[0-9]{{4}}{_DAY}[t ]{_TIME}{_OFFSET}?",
    f"(?:19|20|21)[0-9]{{2}}{_DAY}",
    # E.164 numbers of 13 digits with the country code: those of Germany and Austria begin like Visa numbers.
    r"\+[0-9](?:[ ()./-]{0,3}[0-9]){12}(?![ ()./-]{0,3}[0-9])",
)
_INNOCENT: Final = re.compile(rf"(?<![0-9a-z])(?:{'|'.join(_FORMS)})(?![0-9a-z])", re.ASCII | re.IGNORECASE)
# ISO 13616, in fours as printed: "DE89 3704 0044 0532 0130 00". Unbroken ones have adjacent letters.
_IBAN: Final = re.compile(
    r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[ -][A-Z0-9]{4}){2,7}(?:[ -][A-Z0-9]{1,3})?(?![0-9A-Za-z])"
)
# Lists without anything else: amounts with two decimals, behind a point or a comma; addresses of IPv4 with their ports.
_POINTED: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})\.[0-9]{2}"
_COMMAED: Final = r"(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]{1,12}),[0-9]{2}"
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_ADDRESS: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}(?::[0-9]{{1,5}})?"
_LISTS: Final = re.compile(
    rf"{_POINTED}(?:[^\w.]{{1,6}}{_POINTED})+|{_COMMAED}(?:[^\w,]{{1,6}}{_COMMAED})+|{_ADDRESS}(?:[^\w.:]{{1,6}}{_ADDRESS})*"
)
_SEPARATORS: Final = str.maketrans("", "", " -")


def without_innocent(text: str) -> str:
    """``text``, character for character, with letters in place of each value of such a form."""
    return _IBAN.sub(_without_iban, _INNOCENT.sub(_without, text))


def is_innocent_list(text: str) -> bool:
    """Whether ``text``, digits and what separates them, is a list of amounts or of addresses, and nothing else."""
    return _LISTS.fullmatch(text) is not None


def _without(match: re.Match[str]) -> str:
    return "x" * len(match[0])


def _without_iban(match: re.Match[str]) -> str:
    plain = match[0].translate(_SEPARATORS)
    # ISO/IEC 7064, MOD 97-10: letters count as 10 to 35.
    value = int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4]))
    return _without(match) if value % 97 == 1 else match[0]
