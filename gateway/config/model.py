"""The house: upstreams, model names and which upstream serves them, as `outrider.yaml` says."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, SerializeAsAny, model_validator

from gateway.fanout.base import Strategy
from gateway.units import Duration

PASSTHROUGH = "passthrough"
KEY_LATER = frozenset({"limits"})
MODEL_LATER = frozenset("fallbacks balance".split())
ClientName = Literal["lean", "aiohttp"]
DEFAULT: ClientName = "lean"


class Route(NamedTuple):
    upstream: str
    model: str  # as the upstream knows it


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL, for example https://api.openai.com/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a query or a fragment")
    return url.rstrip("/")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # most are only parts of others


class Timeouts(_Model):
    """All in seconds, on the monotonic clock."""

    connect: Duration = 5.0
    first_token: Duration = 60.0
    between_tokens: Duration = 30.0
    total: Duration = 600.0


class UpstreamSettings(_Model):
    """One OpenAI-compatible server, or a scripted one that needs no network."""

    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    scripted: list[dict[str, Any]] | None = None
    api_key: SecretStr | None = Field(None, description="the key, or 'passthrough' for the client's own")
    timeout: Timeouts = Timeouts()
    retries: int = Field(1, ge=0, le=2)
    client: ClientName = Field(DEFAULT, description="what makes the calls: our own client, or aiohttp's")

    @model_validator(mode="after")
    def _one_of(self) -> UpstreamSettings:
        if (self.base_url is None) == (self.scripted is None):
            raise ValueError("give either 'base_url' or 'scripted'")
        return self

    @property
    def passes_key_through(self) -> bool:
        return self.api_key is not None and self.api_key.get_secret_value() == PASSTHROUGH


class Model(_Model):
    """A name that clients use, and what it stands for."""

    upstream: str
    model: str = Field(min_length=1)


class Price(_Model):
    """USD for a million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(0.0, ge=0, allow_inf_nan=False)


class Fan(_Model):
    """A virtual model: a strategy over other models."""

    strategy: SerializeAsAny[Strategy]
    calibration: dict[str, Any] = {}  # read from the file that the strategy names


class Key(_Model):
    """Who may ask: a client's key, of which only the hash is here."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="what receipts and policies call it")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the key; `outrider keys` makes both")
    models: list[str] | None = Field(None, min_length=1, description="glob patterns; absent: every model")

    def may_ask(self, model: str) -> bool:
        """Whether this key is for the model, by the name that the client uses."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)


class House(_Model):
    upstreams: dict[str, UpstreamSettings] = Field(min_length=1)
    default_upstream: str | None = None
    models: dict[str, Model] = {}
    keys: list[Key] = Field([], description="clients' keys; absent: none is asked for")
    prices: dict[str, Price] = Field({}, description="by a model's name, as the upstream knows it or as clients do")
    fans: dict[str, Fan] = Field({}, exclude=True, description="virtual models: entries of `models` with a strategy")

    def key(self, presented: str) -> Key | None:
        """Whose key this is. It is looked up by its hash, so time tells nothing of the key."""
        return self._by_hash.get(hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest())

    @cached_property
    def _by_hash(self) -> dict[str, Key]:
        return {key.sha256: key for key in reversed(self.keys)}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that clients may use for a model."""
        return (*self.models, *self.fans)

    def traps(self) -> list[str]:
        """What is meant so hardly ever, of every virtual model."""
        return [f"models.{name}: {trap}" for name, fan in self.fans.items() for trap in fan.strategy.traps()]

    def price(self, model: str) -> Price | None:
        """Of a model, by the name that the upstream knows it by, or by one that clients use for it."""
        if (found := self.prices.get(model)) is not None:
            return found
        return self._prices_of_aliases.get(model)

    @cached_property
    def _prices_of_aliases(self) -> dict[str, Price]:
        """By the name that the upstream knows; of several, the first that has one."""
        named = [(one.model, self.prices[name]) for name, one in self.models.items() if name in self.prices]
        return dict(reversed(named))

    def route(self, model: str) -> Route | None:
        """Where a model is served; None: not at all."""
        if (alias := self.models.get(model)) is not None:
            return Route(alias.upstream, alias.model)
        if model in self.fans:
            return None
        if self.default_upstream is not None:
            return Route(self.default_upstream, model)
        return None
