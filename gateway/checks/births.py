"""Dates of birth: a date counts where the words right beside it say what it is, in some thirty languages."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator

FIRST, LAST = 1900, 2099  # years in which somebody whose data it is may be born

_LETTER = "A-Za-z\u00aa-\U0010ffff"
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
    "|enero|febrero|marzo|abril|mayo|junio|julio|agosto|sep?tiembre|octubre|noviembre|diciembre)"
)
_MARK = r"(?:[-/]|\.\s?)"
_DATE = "|".join(
    (
        rf"\d{{4}}{_MARK}\d{{1,2}}{_MARK}\d{{1,2}}",
        rf"\d{{1,2}}{_MARK}\d{{1,2}}{_MARK}\d{{2,4}}",
        r"\d{8}\b",
        r"\d{4}[年년]\s?\d{1,2}[月월]\s?\d{1,2}[日일]",
        r"\d{1,2}\stháng\s\d{1,2},?\s(?:năm\s)?\d{4}",
        rf"\d{{1,2}}(?:st|nd|rd|th|er|[.º°])?[\s-](?:of\s|de\s|d['’])?[{_LETTER}]{{3,12}}\.?,?[\s-](?:de\s|del\s)?\d{{4}}",
        rf"{_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s(?:de\s)?\d{{4}}",
    )
)
_LABELS = (
    r"\bborn(?:\sin\s[^\d\n.;:!?]{2,40})?|\bd\.?\s?o\.?\s?b\b\.?|\bb-?day\b|\bbirth\s?day\b|\bbirth[ _-]?date",
    r"\bdate[ _-]?of[ _-]?birth|\bbirth\b[\"']?\s?[:=]",
    r"\bgeboren|\bgeb\.|\bgeburts(?:datum|tag)|\bgeboortedatum",  # German, Dutch
    r"\bnée?(?:\(e\))?\sle|\bdate\sde\snaissance",  # French
    r"\bnaci(?:d[oa](?:\(a\))?|ó)\sel|\bfecha\sde\snacimiento|\bf\.\s?nac\.",  # Spanish
    r"\bnat[oa]\sil|\bdata\sdi\snascita",  # Italian
    r"\bnasc(?:id[oa](?:\(a\))?|eu)\s(?:em|a)|\bdata\sde\snascimento",  # Portuguese
    r"\bnăscută?\s(?:la|în|pe)|\bdata\snașterii",  # Romanian
    r"\burodz(?:ony|ona|ił\ssię|iła\ssię)|\bur\.|\bdata\surodzenia",  # Polish
    r"\bnarozen[aý]?|\bnar\.|\bdatum\s(?:narození|rođenja|rojstva)|\bdátum\snarodenia",  # Czech, Slovak, Croatian, Slovene
    r"\bfødt|\bfødsels(?:dato|dag)|\bfödd|\bfödelse(?:datum|dag)",  # Danish, Norwegian, Swedish
    r"\bsyntynyt|\bsyntymäaika|\bsünniaeg|\bszületett|\bszületési\s(?:dátum|idő)",  # Finnish, Estonian, Hungarian
    r"\bdoğum\starihi|\bngày\ssinh|\bsinh\sngày|\btanggal\slahir|\btarikh\slahir",  # Turkish, Vietnamese, Malay
    r"дата\sрождения|родил(?:ся|ась)|дата\sнародження|народи(?:вся|лася)|дата\sна\sраждане|датум\sрођења",
    r"ημερομηνία\sγέννησης|γεννήθηκε",
    r"تاريخ\s(?:الميلاد|الولادة)|תאריך\sה?לידה|जन्म\s?(?:तिथि|दिनांक)",
    r"出生日期|出生年月日|出生[于於]|生[于於]|生日|生年月日|誕生日|생년월일|생일",
)
_LINK = (
    r"""["'”’*_`)\]]{0,3}(?:\s?\([dmyjta/. -]{3,12}\))?(?:['’]s|\s(?:is|was|ist|war|est|es|era|é|è))?"""
    r"(?:\s(?:on|the|am|op|den|dnia|dne|le|el|il|em|στις))?"
    r"""[\s:=|>,"'“‘*_`–—：は是为為-]{0,8}(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s)?(?:on\s)?"""
)
_AFTER = r"\s?(?:\((?:dob|d\.o\.b\.?|(?:date\sof\s)?birth|birthday|geb\.|geboren)\)|г\.?\s?р\.|года\sрождения|року\sнародження|生まれ|出生|생)"
_LABEL = "|".join(_LABELS)
PATTERNS = (rf"(?i:(?:{_LABEL}){_LINK}({_DATE}))", rf"(?i:\b({_DATE}){_AFTER})")


def is_day(text: str) -> bool:
    """Whether a date, in some order of day and month, is a day on which somebody may be born."""
    return any(
        FIRST <= year <= LAST and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]
        for year, month, day in _readings(re.findall(r"\d+", text))
    )


def _readings(numbers: list[str]) -> Iterator[tuple[int, int, int]]:
    """(year, month, day) in each order that the numbers may stand in; a month in words may be any."""
    match numbers:
        case [one] if len(one) == 8:
            yield from _readings([one[:4], one[4:6], one[6:]])
            yield from _readings([one[:2], one[2:4], one[4:]])
        case [day, year]:
            yield int(year), 1, int(day)
        case [year, month, day] if len(year) == 4:
            yield int(year), int(month), int(day)
        case [one, other, year]:
            full = int(year) if len(year) == 4 else 2000 if len(year) == 2 else 0  # a leap year: any day may be meant
            yield full, int(one), int(other)
            yield full, int(other), int(one)
