"""Plant one fault after the other in the core and see whether the tests notice.

    python tests/mutate.py [--modules gate,verdict,exchange] [--jobs 2]

Works on copies in a temporary folder; the working tree is not touched. Exit status 1 when a fault
survives that `EXPLAINED` does not account for.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 90  # for the tests of one fault; longer counts as noticed

# Faults that change nothing a caller could see, each with its reason.
EXPLAINED: dict[str, str] = {
    "exchange.py:if piece.place in self._wanted: always True": "keeps text that no check reads; `passages` filters by "
    "place again, so this bounds memory only",
}

OPPOSITE = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALLS = {"max": "min", "all": "any", "any": "all"}


class Planter(ast.NodeTransformer):
    """Counts the places where a fault can be planted; plants the one that is wanted."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.planted = ""

    def _here(self, node: ast.AST, what: str) -> bool:
        self.count += 1
        if self.count - 1 == self.wanted:
            self.planted = f"{node.lineno}: {what}"  # type: ignore[attr-defined]
            return True
        return False

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for n, operator in enumerate(node.ops):
            other = OPPOSITE.get(type(operator))
            if other and self._here(node, f"{ast.unparse(node)}: {type(operator).__name__} -> {other.__name__}"):
                node.ops[n] = other()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._here(node, f"{ast.unparse(node)}: and <-> or"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        for n in range(len(node.values)):
            if self._here(node, f"{ast.unparse(node)}: without part {n + 1}"):
                rest = [value for k, value in enumerate(node.values) if k != n]
                return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and self._here(node, f"{ast.unparse(node)}: without not"):
            return node.operand
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool) and self._here(node, f"{node.value} -> {not node.value}"):
            return ast.copy_location(ast.Constant(not node.value), node)
        if type(node.value) is int and self._here(node, f"{node.value} -> {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in CALLS and self._here(node, f"{ast.unparse(node)}: {name} -> {CALLS[name]}"):
            node.func = ast.Name(CALLS[name], ast.Load())
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Add) and self._here(node, f"{ast.unparse(node)}: without the right side"):
            return node.left
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        return self._maybe_drop(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        return self._maybe_drop(node) if isinstance(node.targets[0], ast.Attribute) else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node  # a docstring
        self.generic_visit(node)
        return self._maybe_drop(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        for value in (True, False):
            if self._here(node, f"if {ast.unparse(node.test)}: always {value}"):
                node.test = ast.Constant(value)
        return node

    def _maybe_drop(self, node: ast.stmt) -> ast.AST:
        if self._here(node, f"{ast.unparse(node)}: dropped"):
            return ast.copy_location(ast.Pass(), node)
        return node


def faults(source: str) -> Iterator[tuple[str, str]]:
    """(what was planted, the changed source) for every place."""
    tree = ast.parse(source)
    number = 0
    while True:
        planter = Planter(number)
        changed = planter.visit(copy.deepcopy(tree))
        if not planter.planted:
            return
        yield planter.planted, ast.unparse(ast.fix_missing_locations(changed))
        number += 1


def survives(module: str, source: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("gateway", "tests"):
            shutil.copytree(
                ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__", "node_modules")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        Path(folder, "gateway", "core", f"{module}.py").write_text(source)
        env = {**os.environ, "OUTRIDER_TEST_DEPTH": "mutate", "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/core",
            "tests/properties",
        ]
        try:
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", default="gate,verdict,exchange")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    planted = [
        (module, what, source)
        for module in args.modules.split(",")
        for what, source in faults((ROOT / "gateway" / "core" / f"{module}.py").read_text())
    ]
    unexplained = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for (module, what, _), alive in zip(planted, pool.map(lambda p: survives(p[0], p[2]), planted), strict=True):
            if alive:
                said = f"{module}.py:{what}"
                reason = EXPLAINED.get(f"{module}.py:{what.partition(': ')[2]}")
                unexplained += reason is None
                print(f"survived  {said}" + (f"\n          {reason}" if reason else ""), flush=True)
    print(f"{len(planted)} faults planted, {unexplained} survived without an explanation")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
