"""What the kinds share that ask a service over HTTP: where it is, its key, and what its answer must be."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from gateway.checks.base import Check, CheckFault
from gateway.core.terms import Document, Lane

T = TypeVar("T")
NO_VERDICT = "the service's answer is not a verdict"


def _service_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL, for example https://checks.example.org")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a query or a fragment; a key goes into the environment: 'key_env'")
    return url.rstrip("/")


def keyless(info: ValidationInfo) -> bool:
    """Whether the policy is only read and tested, on a machine that need not hold the keys."""
    return bool((info.context or {}).get("keyless"))


def _in_environment(name: str, info: ValidationInfo) -> str:
    if not keyless(info) and not os.environ.get(name):
        raise ValueError(f"the environment variable '{name}' is not set; it holds the key of the service")
    return name


Url = Annotated[str, AfterValidator(_service_url)]
KeyEnv = Annotated[str, AfterValidator(_in_environment)]


class Service(Check):
    """A service that judges texts. Its key is in the environment, never in a policy file."""

    local: ClassVar[bool] = False
    lane: ClassVar[Lane] = Lane.WINDOW

    url: Url = Field(description="where the service is")
    key_env: KeyEnv | None = Field(None, description="the environment variable that holds its key")

    def key(self) -> str | None:
        return None if self.key_env is None else SecretStr(os.environ[self.key_env]).get_secret_value()

    def bearer(self) -> dict[str, str]:
        key = self.key()
        return {} if key is None else {"authorization": f"Bearer {key}"}


def document(answer: Any) -> Document:
    if not isinstance(answer, dict):
        raise CheckFault(NO_VERDICT)
    return answer


def told(answer: Document, name: str, kind: type[T]) -> T:
    """A field that a verdict must have. Raises CheckFault where it has not, or it is of another type."""
    value = answer.get(name)
    if type(value) is not kind:
        raise CheckFault(NO_VERDICT)
    return value


def documents(value: Any) -> list[Document]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise CheckFault(NO_VERDICT)
    return value


def stretch(found: Document, text: str) -> tuple[int, int]:
    """`start` and `end` in characters of the text. Raises CheckFault where they are not."""
    start, end = told(found, "start", int), told(found, "end", int)
    if not 0 <= start <= end <= len(text):
        raise CheckFault("the service's answer names a place that the text does not have")
    return start, end


def score_of(found: Document, name: str = "score") -> float:
    value = found.get(name)
    if type(value) not in {int, float} or not 0 <= value <= 1:  # type: ignore[operator]  # NaN is out of range as well
        raise CheckFault("the service's answer has a score that is not from 0 to 1")
    return float(value)  # type: ignore[arg-type]
