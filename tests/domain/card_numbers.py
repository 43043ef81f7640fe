"""Card numbers for tests, and values that are not card numbers: published test numbers, and generators with a seed."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

PUBLISHED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Visa": "4111111111111111 4012888888881881 4242424242424242 4222222222222 4917610000000000003 4000056655665556",
        "Mastercard": "5555555555554444 5105105105105100 2223003122003222 2222405343248877 2720990000000007",
        "American Express": "378282246310005 371449635398431 341111111111111",
        "Discover": "6011111111111117 6011000990139424 6500000000000002 6445644564456445",
        "Diners Club": "30569309025904 38520000023237 36227206271667 3056930009020004",
        "JCB": "3530111333300000 3566002020360505 180000000000002 213100000000001",
        "UnionPay": "6200000000000005 6205500000000000004 6243030000000001 6250941006528599 8171999900000000021",
        "Maestro": "6759649826438453 6799990100000000019 5020620000000000 6304000000000000 676700000000000000",
        "Mir": "2200000000000004 2201382000000013",
        "RuPay": "6074819900004939 6521111111111110 5081000000000001 8200000000000001",
        "Elo": "5066991111111118 6362970000457013",
        "Hipercard": "6062828888666688",
        "Troy": "9792030394440796",
        "Verve": "5060990580000217499 5061830100001895 506066506066506067",
        "Dankort": "5019717010103742 5019555544445555",
        "UATP": "135410014004955 122000000000003",
        "UkrCard": "6040010000000008",
        "Napas": "9704000000000018 9704198526191432198",
        "PayPak": "2205000000000009",
        "Belkart, mada": "9112000000000006 9682010000000005",
    }
)

Draw = Callable[[random.Random], str]


def is_luhn(number: str) -> bool:
    """Check the Luhn digit as the standard describes it, independently of the code under test."""
    digits = [int(digit) for digit in number]
    for place in range(len(digits) - 2, -1, -2):
        digits[place] = digits[place] * 2 - 9 if digits[place] > 4 else digits[place] * 2
    return sum(digits) % 10 == 0


def completed(body: str) -> str:
    """``body`` with the check digit that makes it valid."""
    return next(body + digit for digit in "0123456789" if is_luhn(body + digit))


def _snowflake(epoch: datetime, *, bits: int = 22, step: timedelta = timedelta(milliseconds=1), years: int = 3) -> Draw:
    """Ids from 2024 on, made of the time since ``epoch`` followed by random bits."""

    def draw(chance: random.Random) -> str:
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=365 * years) * chance.random()
        return str((at - epoch) // step << bits | chance.getrandbits(bits))

    return draw


def _time(unit: int) -> Draw:
    """Unix times of the years 2020 to 2033, with ``unit`` ticks per second."""
    return lambda chance: str(chance.randrange(1_577_836_800 * unit, 2_000_000_000 * unit))


def _digits(length: int) -> Draw:
    return lambda chance: f"{chance.randrange(10**length):0{length}d}"


def _phone(code: str, subscriber: int) -> Draw:
    def draw(chance: random.Random) -> str:
        rest = f"{chance.randrange(10**subscriber):0{subscriber}d}"
        return chance.choice([f"+{code}{rest}", f"+{code} {rest[:3]} {rest[3:]}", f"+{code} ({rest[:3]}) {rest[3:]}"])

    return draw


def _iban(country: str, length: int) -> Draw:
    def draw(chance: random.Random) -> str:
        account = f"{chance.randrange(10**length):0{length}d}"
        number = int(account + "".join(str(int(char, 36)) for char in country) + "00")
        plain = f"{country}{98 - number % 97:02d}{account}"
        return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))

    return draw


def _amounts(count: int) -> Draw:
    def draw(chance: random.Random) -> str:
        return ", ".join(f"{10 ** chance.uniform(0, 4):.2f}" for _ in range(count))

    return draw


def _rfc3339(chance: random.Random) -> str:
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**14))
    return at.isoformat(chance.choice("T "))


def _ulid(chance: random.Random) -> str:
    return "".join(chance.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(26))


def _token(chance: random.Random) -> str:
    return base64.urlsafe_b64encode(chance.randbytes(24)).decode()


def _address(chance: random.Random) -> str:
    return ".".join(str(chance.randrange(256)) for _ in range(4)) + f":{chance.randrange(1024, 65536)}"


_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)

INNOCENT: Final[Mapping[str, tuple[Draw, float]]] = MappingProxyType(
    {
        **{
            f"{length} random digits": (_digits(length), most)
            for length, most in zip(range(13, 20), (0.015, 0.009, 0.016, 0.055, 0.01, 0.01, 0.04), strict=True)
        },
        "milliseconds": (_time(10**3), 0),
        "microseconds": (_time(10**6), 0),
        "nanoseconds": (_time(10**9), 0),
        "snowflakes since 1970": (_snowflake(_UNIX), 0),
        "snowflakes of Twitter": (_snowflake(datetime(2010, 11, 4, 1, 42, 54, 657000, tzinfo=UTC)), 0.01),
        "snowflakes of Discord": (_snowflake(datetime(2015, 1, 1, tzinfo=UTC)), 0),
        "snowflakes since 2020": (_snowflake(datetime(2020, 1, 1, tzinfo=UTC)), 0.04),
        "ids of Instagram": (_snowflake(datetime(2011, 8, 24, 21, 7, 1, 721000, tzinfo=UTC), bits=23), 0.07),
        "sonyflakes": (_snowflake(datetime(2014, 9, 1, tzinfo=UTC), bits=24, step=timedelta(milliseconds=10)), 0.02),
        "UUIDs": (lambda chance: str(uuid.UUID(int=chance.getrandbits(128), version=4)), 0),
        "16 hexadecimal digits": (lambda chance: f"{chance.getrandbits(64):016x}", 0.001),
        "32 hexadecimal digits": (lambda chance: f"{chance.getrandbits(128):032x}", 0),
        "ULIDs": (_ulid, 0),
        "base64": (_token, 0),
        "telephones, 11 digits": (_phone("1", 10), 0),
        "telephones, 12 digits": (_phone("57", 10), 0),
        "telephones, 13 digits": (_phone("49", 11), 0),
        "IBANs of Germany, printed": (_iban("DE", 18), 0),
        "IBANs of Belgium, printed": (_iban("BE", 12), 0),
        "times in RFC 3339": (_rfc3339, 0),
        "addresses with a port": (_address, 0),
        "3 amounts in a text": (_amounts(3), 0),
        "5 amounts in a text": (_amounts(5), 0),
        "10 amounts in a text": (_amounts(10), 0),
    }
)
"""For each kind of value, its generator and the largest share that may be detected as a card number."""
