"""Personal data with a structure: addresses, numbers and dates, each verified as far as it can be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import ClassVar, Literal

import re2
from pydantic import Field, field_validator

from gateway.checks import births, phones
from gateway.checks.finding import Finding
from gateway.checks.following import DECOY
from gateway.checks.hurry import takes
from gateway.yamlfile import did_you_mean

Entity = Literal[
    "email", "phone", "card", "iban", "ssn", "ip", "mac", "crypto", "date_of_birth", "national_id"
]  # fmt: skip

_GAP = "[ .\u00a0-]"
_SEP = "[ ./\u00a0-]"
_A = "A-Za-z\u0080-\U0010ffff"  # letters of any script
_L = f"0-9{_A}"

_PHONE = "(?:tele|mobile|cell|desk|office|work|home)?\\s?phone|tel|mobile|cell|fax|whatsapp|sms|desk|office|hotline"

PATTERNS: dict[str, Sequence[str]] = {
    "email": [rf"[{_L}][{_L}._%+'-]{{0,63}}@(?:[{_L}](?:[{_L}-]{{0,62}}[{_L}])?\.)+[{_A}]{{2,24}}"],
    "card": [
        r"\b\d(?:[ -]?\d){12,18}\b",
        r"(?i:\bcard(?:\s?(?:number|no\.?|#))?(?:\sis)?[\s:#]{0,3})(\d{12})\b",
    ],
    "iban": [r"(?i:\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,4})?\b)"],
    "ssn": [r"\b(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4})\b", r"(?i:\b(?:ssn|social security(?: number| no\.?)?)[\s:#]{1,3}(?:is\s)?)(\d{9})\b"],
    "ip": [
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        r"(?i:(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,6}|(?:[0-9a-f]{1,4}:){1,7}:|::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4})",
    ],
    "mac": [r"(?i:\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b)"],
    "crypto": [r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", r"(?i:\bbc1[02-9ac-hj-np-z]{11,71}\b)", r"\b0x[0-9a-fA-F]{40}\b"],
    "date_of_birth": births.PATTERNS,
    "national_id": [
        r"\b[0-9XYZ]\d{7}-?[A-Z]\b",  # Spain
        r"\b[12][ ]?\d{2}[ ]?(?:0[1-9]|1[0-2]|[2-9]\d)[ ]?\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{2}\b",  # France
        r"\b\d{3}\.?\d{3}\.?\d{3}-\d{2}\b",  # Brazil
        r"\b\d{11}\b",  # Poland
        r"\b[2-9]\d{3}[ -]\d{4}[ -]\d{4}\b",  # India
        r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",  # United Kingdom
        r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b",  # Italy
    ],
    "phone": [
        rf"(?:\+|\b00){_GAP}?\d{{1,3}}{_GAP}?(?:\(0\){_GAP}?)?(?:\(?\d{{1,5}}\)?{_SEP}{{0,2}}){{1,5}}\d{{2,}}(?:\s?(?:x|ext\.?)\s?\d{{1,5}})?\b",
        r"\(\d{2,5}\)[ .-]{0,2}\d{2,5}(?:[ .-]?\d{2,5}){1,3}(?:\s?(?:x|ext\.?)\s?\d{1,5})?\b",
        r"\b(?:1[ .-])?[2-9]\d{2}[ .-]\d{3}[ .-]\d{4}(?:\s?(?:x|ext\.?)\s?\d{1,5})?\b",
        r"\b0\d{1,5}(?:[ ./-]\d{2,8}){1,4}\b",
        r"\b0[1-9]\d{8,9}\b",
        rf"(?i:\b(?:{_PHONE}|call(?:s|ed|ing)?|texts?|messages?|answer(?:s|ed|ing)?|dial|ring|reach|contact)(?:\s(?:me|us|him|her|them))?(?:\s(?:number|no\.?))?(?:\sis|\sat|\son|\sto)?[\s:.#]{{1,3}})(\d[\d .()/-]{{5,18}}\d)\b",
        rf"(?i:\b(\d[\d .()-]{{5,16}}\d)[ ,(-]{{1,3}}(?:{_PHONE}|home|work|direct)\)?\s?[\n,;.)])",
    ],
}  # fmt: skip
# What looks like an address or a number and is something else: nothing inside it is a hit.
DECOYS = (
    r"\b\d{1,12}\.\d{10,20}(?:[eE][+-]?\d{1,3})?\b",  # a number as programs write it; one in twenty has the digits of a card
    r"(?:\b|T)\d{1,2}:\d{2}:\d{2}[.,]\d{1,9}",  # a time
    r"(?i:\b[0-9a-f]{8}:(?: [0-9a-f]{4}){1,8}\b)",  # a line of a hex dump
    r"[=~<>!]=\s?\d+(?:\.\d+){3}\b",  # a version that is asked for
    r"(?i:\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{8,12}\b)",
    r"(?i:\b(?:version|build|release|firmware|v|ver|rev)\.?[\s:#=]{0,3})\d+(?:\.\d+){3}\b",
    r"(?i:\b(?:order|invoice|isbn(?:-1[03])?|ref(?:erence)?|ticket|tracking|sku|part|serial)\s?(?:number|no\.?|id)?[\s:#]{1,3})[\d-]{6,}\b",
)
_SHAPED = re2.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS["phone"][:-2]))


class Pii(Finding):
    """A hit where a value of one of the entities stands, its checksum right where it has one."""

    memory: ClassVar[int] = 4 << 20
    inline: ClassVar[int] = 100  # of digits by chance; RE2 makes new states for nearly each

    use: Literal["pii"] = "pii"
    entities: list[Entity] = Field(
        ["email", "phone", "card", "iban", "ssn", "ip", "crypto", "date_of_birth", "national_id"],
        min_length=1,
        description="what is looked for",
    )
    region: str | list[str] | None = Field(
        None,
        description="countries (US, DE, ...) by whose numbering plans phone numbers are read and verified; "
        "needs the extra `outrider[phone]`",
    )

    @field_validator("region")
    @classmethod
    def _planned(cls, region: str | list[str] | None) -> str | list[str] | None:
        asked = [region] if isinstance(region, str) else region or []
        for name in asked:
            if name not in phones.known():
                raise ValueError(f"there is no region '{name}'{did_you_mean(name, phones.known())}")
        phones.warm(asked)
        return region

    @property
    def _regions(self) -> list[str]:
        return [self.region] if isinstance(self.region, str) else self.region or []

    def read_from(self) -> str:
        return phones.version() if self.region else ""

    def patterns(self) -> Sequence[tuple[str, str]]:
        wanted = [entity for entity in PATTERNS if entity in self.entities]
        found = [(entity, pattern) for entity in wanted for pattern in PATTERNS[entity]]
        if self._regions and "phone" in self.entities:
            found.append(("phone", phones.GROUPED))
        return [*found, *((DECOY, pattern) for pattern in DECOYS)]

    def accepts(self, category: str, text: str) -> bool:
        if not ACCEPTS[category](text):
            return False
        return category != "phone" or not self._regions or self._is_planned(text)

    def _is_planned(self, text: str) -> bool:
        """What looks like a number by itself needs its length only: plans change, and new numbers are given out."""
        if _SHAPED.fullmatch(text):
            return phones.is_possible(text, self._regions)
        return phones.is_given_out(text, self._regions)


# --- checks of what matched ----------------------------------------------------------------------


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(text: str) -> bool:
    digits = _digits(text)
    known = re.match(r"4|5[1-5]|2[2-7]|3[47]|3(?:0|6|8)|6(?:011|5|4[4-9]|2)|35|5[06-9]|6[0-9]|1800|2131", digits)
    return 12 <= len(digits) <= 19 and known is not None and len(set(digits)) > 1 and luhn(digits)


IBAN_LENGTH = dict(
    pair.split(":")
    for pair in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DK:18 DO:28 EE:20 "
        "EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 "
        "KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 NO:15 PK:24 "
        "PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SC:31 SE:24 SI:19 SK:24 SM:27 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 "
        "VG:24 XK:20"
    ).split()
)


def _iban(text: str) -> bool:
    plain = re.sub(r"[ -]", "", text).upper()
    if IBAN_LENGTH.get(plain[:2]) != str(len(plain)):
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _ssn(text: str) -> bool:
    digits = _digits(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000" and digits != "123456789"


def _ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback) and (address.version == 4 or text.count(":") > 2)


def _phone(text: str) -> bool:
    digits = _digits(re.split(r"\s?(?:x|ext)", text)[0])
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    if re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}|(?:\d{1,3}\.){3}\d{1,3}", text):
        return False  # a date, an address
    if " -" in text or (text.startswith("0") and " " in text and "." in text):
        return False  # the end of one number, and others behind it: 1.024 15.631
    return text.count("(") == text.count(")")


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _crypto(text: str) -> bool:
    if text.startswith("0x"):
        return len(set(text[2:].lower())) > 3
    if text[:3].lower() == "bc1":
        takes(1)
        return _bech32(text)
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    raw = number.to_bytes(25, "big") if number.bit_length() <= 200 else b""
    if raw and sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]:
        return True
    turns = len(re.findall(r"[a-z](?=[A-Z])|[A-Z](?=[a-z])", text))
    return turns >= 8 or (turns >= 2 and re.search(r"\d.*\d.*\d", text) is not None)  # mistyped, still one


def _bech32(text: str) -> bool:
    if text.lower() != text and text.upper() != text:
        return False
    text = text.lower()
    values = [3, 3, 0, 2, 3] + [_BECH32.find(c) for c in text[3:]]  # "bc" expanded
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> place) & 1 else 0
    return check in {1, 0x2BC830A3}


def _national(text: str) -> bool:
    plain = re.sub(r"[ .-]", "", text)
    if re.fullmatch(r"[0-9XYZ]\d{7}[A-Z]", plain):
        number = int(plain[0].translate(str.maketrans("XYZ", "012")) + plain[1:8])
        return plain[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]
    if re.fullmatch(r"[12]\d{14}", plain):
        return 97 - int(plain[:13]) % 97 == int(plain[13:])
    if re.fullmatch(r"\d{11}", plain):
        return _cpf(plain) if "-" in text else _pesel(plain)
    if re.fullmatch(r"[2-9]\d{11}", plain):
        return _verhoeff(plain)
    if re.fullmatch(r"[A-Z]{2}\d{6}[A-D]", plain):
        return plain[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
    return re.fullmatch(r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", plain) is not None and _codice(plain)


def _cpf(digits: str) -> bool:
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        total = sum(int(d) * (size + 1 - n) for n, d in enumerate(digits[:size]))
        if total * 10 % 11 % 10 != int(digits[size]):
            return False
    return True


def _pesel(digits: str) -> bool:
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    total = sum(int(d) * w for d, w in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=False))
    return 1 <= month <= 12 and 1 <= day <= 31 and (10 - total % 10) % 10 == int(digits[10])


def _verhoeff(digits: str) -> bool:
    """The dihedral checksum: multiplication in D5, each place permuted."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    check = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(place % 8):
            value = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[value]
        check = times(check, value)
    return check == 0


def _codice(text: str) -> bool:
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    letters = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    odd |= dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", letters, strict=True))
    total = sum(odd[c] if n % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for n, c in enumerate(text[:15]))
    return chr(65 + total % 26) == text[15]


def _any(_text: str) -> bool:
    return True


ACCEPTS: dict[str, Callable[[str], bool]] = {
    "email": lambda text: ".." not in text and not text.split("@")[0].endswith("."),
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "ssn": _ssn,
    "ip": _ip,
    "mac": _any,
    "crypto": _crypto,
    "date_of_birth": births.is_day,
    "national_id": _national,
    DECOY: _any,
}
