"""Adding a kind is adding a class; a word can be taken once."""

from typing import Literal

import pytest

import gateway.checks
from gateway.checks.base import Check
from gateway.kinds import gather


def test_a_kind_of_another_package_is_found_and_a_second_one_of_its_name_refused():
    class Mine(Check):
        use: Literal["mine_of_the_test"] = "mine_of_the_test"

    assert gather(gateway.checks, Check, "outrider.checks")["mine_of_the_test"] is Mine

    class Twin(Check):
        use: Literal["mine_of_the_test"] = "mine_of_the_test"

    with pytest.raises(TypeError, match="mine_of_the_test"):
        gather(gateway.checks, Check, "outrider.checks")
    Mine.use_of_twin = Twin  # both live until the end of the test
