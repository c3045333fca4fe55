"""Adding a kind is adding a class; a word can be taken once; what nobody asks for is not imported."""

import subprocess
import sys
from typing import Literal

import pytest
from pydantic import BaseModel

import gateway.checks
from gateway.checks import KINDS
from gateway.fanout import STRATEGIES
from gateway.kinds import Kinds
from tests.patience import LONG


def test_a_kind_of_another_package_is_found_and_a_second_one_of_its_name_refused():
    class Family(BaseModel):
        use: str

    class Mine(Family):
        use: Literal["mine"] = "mine"

    kinds = Kinds(gateway.checks, Family, "outrider.checks")
    assert kinds["mine"] is Mine
    assert list(kinds) == ["mine"]

    class Twin(Family):
        use: Literal["mine"] = "mine"

    for ask in (lambda: kinds["mine"], lambda: list(kinds)):
        with pytest.raises(TypeError, match="two kinds are called 'mine': Mine and Twin"):
            ask()


@pytest.mark.parametrize("word", ["keyword", "base", "base.Check", "os", "..fanout.vote", ""])
def test_a_word_that_is_no_kind(word):
    assert word not in KINDS
    with pytest.raises(KeyError):
        KINDS[word]


@pytest.mark.parametrize(("kinds", "package"), [(KINDS, "gateway.checks"), (STRATEGIES, "gateway.fanout")])
def test_each_stands_in_the_file_of_its_name_which_is_where_it_is_looked_for(kinds, package):
    ours = {word: kind.__module__ for word, kind in kinds.items() if kind.__module__.startswith(f"{package}.")}
    assert ours == {word: f"{package}.{word}" for word in ours}
    assert len(ours) > 5


def test_only_what_is_asked_for_is_imported_and_the_order_is_none_of_import():
    code = "import sys; from gateway.checks import KINDS; KINDS['regex']; print(*sys.modules); print(*KINDS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True)
    imported, listed = (line.split() for line in done.stdout.splitlines())
    assert {word for word in KINDS if f"gateway.checks.{word}" in imported} == {"regex"}
    assert listed == sorted(listed)
