"""Which files a command works on: the house and the policies that the settings name."""

from __future__ import annotations

from pathlib import Path

from gateway.config.load import DEFAULT_FILE
from gateway.config.model import House
from gateway.policy.load import BUILT_IN, load_policies
from gateway.policy.model import PolicySet
from gateway.settings import Settings

DEFAULT_FOLDER = Path("policies")


def policies_for(settings: Settings, house: House) -> PolicySet:
    """What OUTRIDER_POLICIES names; else ./policies beside an outrider.yaml; else the built-in baseline.

    Without an outrider.yaml a folder that happens to lie here is not taken: its checks may ask
    models that the one upstream does not have.
    """

    def known(model: str) -> bool:
        return house.route(model) is not None

    keys = [key.name for key in house.keys]
    if settings.policies is not None:
        return load_policies(settings.policies, known_model=known, keys=keys)
    configured = settings.config is not None or DEFAULT_FILE.exists()
    if configured and DEFAULT_FOLDER.is_dir():
        return load_policies(DEFAULT_FOLDER, known_model=known, keys=keys)
    return load_policies(BUILT_IN, tested=False)  # its tests are played before a release: a start need not


def offline(settings: Settings) -> Path:
    """What a command works on that asks nobody and so needs no house: as above, but ./policies by itself will do."""
    if settings.policies is not None:
        return settings.policies
    return DEFAULT_FOLDER if DEFAULT_FOLDER.is_dir() else BUILT_IN


def watched(settings: Settings) -> tuple[Path, ...]:
    """What is looked at for new policies; nothing where the built-in one applies."""
    if settings.policies is not None:
        return (settings.policies,)
    configured = settings.config is not None or DEFAULT_FILE.exists()
    return (DEFAULT_FOLDER,) if configured and DEFAULT_FOLDER.is_dir() else ()
