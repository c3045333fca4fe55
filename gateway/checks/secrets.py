"""Tokens, keys and passwords: known formats, and values that stand behind a name for a secret."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field, PrivateAttr, model_validator

from gateway.checks.finding import Finding
from gateway.checks.hurry import takes
from gateway.yamlfile import did_you_mean

NAMES = (
    r"pa?s{0,2}wo?r?ds?|pass(?:phrase|code)?s?|secret(?:[ _-]?key)?|api[ _-]?key|auth[ _-]?(?:token|key)|access[ _-]?(?:token|key)|"
    r"private[ _-]?key|secret[ _-]?access[ _-]?key|client[ _-]?secret|token|credentials?|encryption[ _-]?key|"
    r"signing[ _-]?key|account[ _-]?key|activation[ _-]?key|authorization"
)
_NAME = rf"(?:{NAMES})[\w-]{{0,12}}"  # whatever stands before it in the same word
ASSIGNED = (
    rf"""(?i:{_NAME}["'`]?\s{{0,4}}(?:=>|:=|[:=]|\bis\b)\s{{0,4}}|(?:\b|_)pw["'`]?\s{{0,4}}[:=]\s{{0,4}})"""
    r"""["'`]?([^\s"'`,;<>(){}\[\]|]{6,})"""
)
# Beside `name = value`: as an argument or a default, compared, defined, in markup, as an option of a command.
QUOTED = rf"""(?i:{_NAME}\\{{0,3}}["'`]?(?:\s{{0,4}}(?:[=!]=|,)|:\s?\w{{1,20}}\s?=|\\t)?\s{{0,4}}\\{{0,3}})["'`]([^\s"'`\\]{{6,}})["'`\\]"""
ELEMENT = rf"(?i:(?:{NAMES})>)([^\s<>]{{6,}})</"
OPTION = rf"""(?i:\B--?[\w-]{{0,24}}?(?:{NAMES})[\w-]{{0,12}})(?:\s{{1,4}}|=)["']?([^\s"'`,;<>(){{}}\[\]|]{{6,}})"""
NAMED = {"assigned": ASSIGNED, "quoted": QUOTED, "element": ELEMENT, "option": OPTION}
LOOKED_AT = 1_024  # characters of a value by which it is judged: one may be made of a whole answer
LONE = r"\b([0-9A-Za-z+/]{40})\b"
SHAPELESS = frozenset(
    {*NAMED, "url_password", "basic_url_user", "sql_password", "curl_user_password", "basic_authorization", "bearer_authorization"}
)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|<|>|\$\{|\{\{|%\(|example|sample|placeholder|changeme|change_me|dummy|redacted|your[_-]?|"
    r"todo|insert|replace|abcdef|012345678|1234567890|deadbeef|undefined|localhost|process\.env|os\.environ|getenv",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"^(?:self|this|os|process|config|settings|req|request|env|args|ctx|options|null|none|true|false)\b[.\[]?|^[a-z_]+(?:\.[a-z_]+)+$|::|->|^\$|^@|^%|^&|^(?:file|env|fd):"
)
_WORD = re.compile(r"^[A-Za-z]+(?:[_-][A-Za-z]+)*$")
_NUMBER = re.compile(r"^[\d.,:-]+$|^(?:0x)?[0-9a-f]{1,8}$", re.IGNORECASE)


@cache
def rules() -> dict[str, str]:
    """Name -> pattern of every known format; sources and licences stand in the file."""
    document = orjson.loads(Path(__file__).with_name("data").joinpath("secrets.json").read_bytes())
    return {rule["name"]: rule["pattern"] for rule in document["rules"]}


def entropy(text: str) -> float:
    """Bits of a character, by how often each occurs in the text."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values()) if text else 0.0


class Secrets(Finding):
    """A hit where a token of a known format stands, or a value with the entropy of a secret behind a name for one."""

    inline: ClassVar[int] = 250  # of characters by chance
    sifted: ClassVar[int] = 700

    use: Literal["secrets"] = "secrets"
    rules: list[str] | None = Field(None, description="only these formats; absent: all, and values behind names")
    except_: list[str] = Field([], alias="except", description="texts that are no secrets, test keys for example")
    entropy: float = Field(3.0, ge=0, le=6, description="bits of a character from which a value behind a name counts")

    _excused: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _known(self) -> Secrets:
        for name in self.rules or ():
            if name not in rules() and name not in NAMED:
                raise ValueError(f"there is no rule '{name}'{did_you_mean(name, {**rules(), **NAMED})}")
        return self

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._excused = frozenset(self.except_)

    def patterns(self) -> Sequence[tuple[str, str]]:
        every = {**rules(), **NAMED}
        return [(name, pattern) for name, pattern in every.items() if self.rules is None or name in self.rules]

    def accepts(self, category: str, text: str) -> bool:
        takes(1)
        if text in self._excused:
            return False
        if category == "private_key_block":
            return True
        text = text[:LOOKED_AT]
        if category in SHAPELESS:
            return self._is_shapeless_secret(category, text)
        return entropy(text) >= 2.5 and not re.search(
            r"x{5,}|\*{3,}|\.{4,}|<|0{12,}|1234567890123", text, re.IGNORECASE
        )

    def _is_shapeless_secret(self, category: str, text: str) -> bool:
        if _PLACEHOLDER.search(text) or _CODE.search(text):
            return False
        if category not in NAMED:
            return entropy(text) >= 2.0
        if _WORD.match(text) or _NUMBER.match(text):
            return False
        kinds = sum(bool(re.search(kind, text)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w]"))
        return (
            kinds >= (2 if category in {"assigned", "element"} else 3)
            and bool(re.search(r"\d|[^\w.:/-]", text))
            and entropy(text) >= min(self.entropy, (0.9 if kinds < 3 else 0.8) * math.log2(len(text)))
        )
