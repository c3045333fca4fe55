"""Links: where they lead, how, and whether a picture would carry text away."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from gateway.checks.finding import Finding
from gateway.checks.hurry import takes

_END = r"[^\s<>\"'`\\^{}|\x00-\x1f]"
LINK = rf"(?i:\b[a-z][a-z0-9+.-]{{1,24}}:[/\\]{{1,3}}{_END}{{2,}})"
SPOKEN = rf"(?i:\bwww\d?\.{_END}{{3,}})"
RELATIVE = rf"""(?i:(?:\]\(|(?:src|href|url)\s?[=(]\s?["']?)\s?<?([/\\]{{2}}{_END}{{3,}}))"""
OTHER = rf"(?i:\b(?:javascript|data|vbscript|file|blob|mailto|tel|intent):{_END}{{2,}})"
IMAGE = rf"""(?i:!\[[^\]\n]{{0,200}}\]\(\s{{0,2}}<?([^)\s>]+)|!\[[^\]\n]{{0,200}}\]\[[^\]\n]{{1,80}}\]|<(?:img|image|source|iframe|embed|object|video|audio|link|script)\b[^>\n]{{0,300}}?(?:src|srcset|href|data)\s?=\s?["']?{_END}+)"""
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?[/\\]{0,3}(?P<user>[^/\\?#@]*@)?(?P<host>\[[^\]]*\]|[^/\\?#:]*)", re.IGNORECASE
)
_TRAIL = ".,;:!?)]}*_~"
SCHEMES = ("http", "https", "mailto", "tel")
_NAME = re.compile(r"[a-z0-9.*-]+\Z")


class Urls(Finding):
    """A hit where a link leads to a place that is not allowed, or hides where it leads."""

    sifted: ClassVar[int] = 1_000

    use: Literal["urls"] = "urls"
    allow: list[str] = Field([], description="domains, their subdomains included; given: all others are hits")
    deny: list[str] = Field(
        [], description="domains, their subdomains included; also where they stand without a scheme"
    )
    schemes: list[str] = Field(list(SCHEMES), description="all others are hits")
    images: Literal["allow", "block"] = Field(
        "block", description="pictures and other parts that load by themselves, unless their domain is in `allow`"
    )

    @field_validator("allow", "deny")
    @classmethod
    def _domains(cls, domains: list[str]) -> list[str]:
        plain = [domain.lower().removeprefix("*.").strip(".") for domain in domains]
        for domain in plain:
            if not _NAME.match(domain) or "*" in domain:
                raise ValueError(f"'{domain}' is no domain; write for example example.com")
        return plain

    def patterns(self) -> Sequence[tuple[str, str]]:
        found = [("link", LINK), ("link", SPOKEN), ("link", RELATIVE), ("link", OTHER)]
        if self.images == "block":
            found.insert(0, ("image", IMAGE))
        if self.deny:
            names = "|".join(re.escape(domain) for domain in self.deny)
            found.append(("link", rf"(?i:(?:\b[0-9a-z-]{{1,63}}\.){{0,10}}\b(?:{names})\b)"))
        return found

    def accepts(self, category: str, text: str) -> bool:
        takes(1)
        link = text.rstrip(_TRAIL)
        if category == "image":
            source = re.search(r"""(?i)(?:src|srcset|href|data)\s?=\s?["']?(.+)""", link)
            host = host_of(source[1] if source else link)
            return not (host and self.allow and within(host, self.allow))
        scheme = link.partition(":")[0].lower() if ":" in link[:26] else ""
        if re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and "." not in scheme and scheme not in self.schemes:
            return True
        if scheme in {"mailto", "tel"}:
            return False
        return self._leads_astray(link)

    def _leads_astray(self, link: str) -> bool:
        match = _HOST.match(link)
        user, host = (match["user"], host_of(link)) if match else (None, "")
        if not host:
            return False
        if user or is_address(host) or disguised(host):
            return not within(host, self.allow) or bool(user)
        if within(host, self.deny):
            return True
        return bool(self.allow) and not within(host, self.allow)


def host_of(link: str) -> str:
    """The host of a link as a browser reads it, in lower case."""
    match = _HOST.match(link.strip())
    if match is None:
        return ""
    plain = unicodedata.normalize("NFKC", match["host"]).lower().rstrip(".")
    return plain.strip("[]")


def within(host: str, domains: Sequence[str]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def is_address(host: str) -> bool:
    """A bare address, also one that is spelled as a number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(re.fullmatch(r"0x[0-9a-f]+|\d{8,10}|(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+)){1,3}", host))
    return True


def disguised(host: str) -> bool:
    """Punycode, or letters of several alphabets in one label."""
    for part in host.split("."):
        if part.startswith("xn--"):
            return True
        scripts = {unicodedata.name(c, "?").split(" ")[0] for c in part if c.isalpha()}
        if len(scripts) > 1 and "LATIN" in scripts:
            return True
    return False
