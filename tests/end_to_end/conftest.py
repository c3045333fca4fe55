"""What tests of one file share."""

import pytest

from tests.end_to_end.kept import Kept
from tests.end_to_end.process import Gateway
from tests.end_to_end.stage import Stage


@pytest.fixture(scope="module")
def gateways(tmp_path_factory):
    with Kept(Gateway, tmp_path_factory.mktemp("gateways")) as kept:
        yield kept


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    with Kept(Stage, tmp_path_factory.mktemp("stages")) as kept:
        yield kept
