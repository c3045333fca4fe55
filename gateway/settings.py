"""The process: `OUTRIDER_*` from the environment, and nothing more."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.units import Age, Duration, Room, Size
from gateway.yamlfile import did_you_mean

PREFIX = "OUTRIDER_"
LATER = {
    "STATE_URL": "memory://",
}  # of the design, not in this version: the value that changes nothing


STORES = ("sqlite", "postgresql", "jsonl", "none")


class SettingsError(Exception):
    """A variable that cannot be used; the message names it."""


class Settings(BaseSettings):
    """Every field is `OUTRIDER_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="address of the data listener")
    port: int = Field(8080, ge=1, le=65535, description="port of the data listener")
    config: Path | None = Field(None, description="outrider.yaml; default: ./outrider.yaml if it exists")
    policies: Path | None = Field(None, description="folder or file of policies; default: ./policies")
    upstream: str | None = Field(None, description="base URL of the one upstream")
    upstream_api_key: SecretStr | None = Field(None, description="its key, or 'passthrough'")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    max_body: Size = Field(10 * 1024**2, description="bytes of a request body")
    max_held: Size = Field(1024**2, description="bytes of one answer that may be held back")
    drain: Duration = Field(
        30.0, validate_default=False, description="seconds that SIGTERM waits for answers under way"
    )
    keepalive: Duration = Field(
        15.0, validate_default=False, description="seconds of silence after which a stream under way gets a comment"
    )
    body_timeout: Duration = Field(20.0, validate_default=False, description="seconds for a body to arrive")
    header_timeout: Duration = Field(10.0, validate_default=False, description="seconds for the head of a request")
    cors_origins: str = Field("", description="origins of web pages that may call, with commas between; * is all")
    compress_from: Room = Field(0, description="bytes from which a plain answer is compressed; 0: never")
    mask_key: SecretStr | None = Field(
        None, description="key of the placeholders of `do: mask`; replicas share it; default: a new one at each start"
    )
    admin_host: str = Field("127.0.0.1", description="address of the admin listener: health and metrics")
    admin_port: int = Field(8081, ge=0, le=65535, description="its port; 0: there is none")
    admin_token: SecretStr | None = Field(None, description="its bearer token; required where it is not on loopback")
    audit_url: str = Field(
        "sqlite:///outrider.db",
        description="where receipts are kept: sqlite:///FILE, postgresql://..., jsonl:///FILE or none://",
    )
    audit_durability: Literal["relaxed", "strict"] = Field(
        "relaxed", description="strict: a receipt is on disk before its answer ends; relaxed: within a second"
    )
    audit_text: Literal["none", "hashed", "redacted", "full"] = Field(
        "none", description="how much text of an exchange its receipt keeps"
    )
    audit_on_error: Literal["answer", "refuse"] = Field(
        "answer", description="while receipts cannot be kept: answer and count what is lost, or refuse every request"
    )
    audit_keep: Age = Field(
        90 * 86_400.0, validate_default=False, description="how long receipts are kept, for example 90d; 0: for ever"
    )
    audit_rotate: Size = Field(64 * 1024**2, description="bytes from which a new file of jsonl:// is begun")
    audit_key: SecretStr | None = Field(
        None, description="key of the chain and of hashed texts; without it whoever writes the store can forge both"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that share the port; each has its share of the limits")
    max_connections: int = Field(4096, ge=1, description="client connections at a time")
    max_concurrent: int = Field(1024, ge=1, description="requests answered at a time; a stream is one until it ends")
    max_queued: int = Field(256, ge=0, description="requests that may wait for a place; beyond it: 503")
    queue_wait: Duration = Field(1.0, validate_default=False, description="seconds that they wait at most")
    max_memory_held: Room = Field(
        512 * 1024**2, description="bytes of bodies and held answers over all requests; 0: no limit"
    )

    @field_validator("audit_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        store(url)
        return url


def store(url: str) -> tuple[str, str]:
    """Which kind of store an address of receipts names, and what follows. Raises ValueError."""
    name, colon, rest = url.partition("://")
    name = "postgresql" if name == "postgres" else name
    if not colon or name not in STORES:
        raise ValueError(
            f"write sqlite:///FILE, postgresql://..., jsonl:///FILE or none://{did_you_mean(name, STORES)}"
        )
    rest = rest.removeprefix("/") if name in {"sqlite", "jsonl"} else rest
    if not rest and name != "none":
        raise ValueError(f"write {name}:///FILE, or {name}:////FOLDER/FILE from the root")
    return name, rest


def load_settings() -> Settings:
    """Read the environment. Raises SettingsError."""
    _refuse_later(os.environ)
    try:
        settings = Settings()
    except ValidationError as error:
        one = error.errors()[0]
        name = f"{PREFIX}{str(one['loc'][0]).upper()}"
        reason = str(one["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"{name}: {reason}") from None
    if settings.admin_port and settings.admin_token is None and not _is_loopback(settings.admin_host):
        raise SettingsError(
            f"{PREFIX}ADMIN_TOKEN: needed, since {PREFIX}ADMIN_HOST is not an address of this machine only"
        )
    if settings.admin_port == settings.port and settings.admin_host == settings.host:
        raise SettingsError(f"{PREFIX}ADMIN_PORT: is the port of the data listener; 0 is none")
    return settings


SHARED = ("max_connections", "max_concurrent", "max_queued", "max_memory_held")


def share(settings: Settings) -> Settings:
    """What one of the workers may take of what the settings allow to all, and one secret for all of them."""
    parts = {name: -(-getattr(settings, name) // settings.workers) for name in SHARED}
    return settings.model_copy(update={**parts, "mask_key": settings.mask_key or SecretStr(secrets.token_hex(32))})


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_later(environment: Mapping[str, str]) -> None:
    for short, harmless in LATER.items():
        value = environment.get(PREFIX + short, harmless)
        if value != harmless:
            raise SettingsError(f"{PREFIX}{short}: not available in this version")


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that say nothing to us: a warning each, since other tools set some too."""
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *LATER, "test_depth")}
    return [
        f"{name}: there is no such setting{did_you_mean(name, known)}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]
