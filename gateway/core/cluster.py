"""Texts that mean the same, by the similarity of their vectors: complete linkage, so that no chain joins strangers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Vector = Sequence[float]


def similarity(one: Vector, two: Vector) -> float:
    """The cosine of the angle between them; 0 where one says nothing."""
    sizes = math.hypot(*one) * math.hypot(*two)
    return sum(a * b for a, b in zip(one, two, strict=True)) / sizes if sizes else 0.0


def clusters(vectors: Sequence[Vector], threshold: float) -> list[list[int]]:
    """Groups in which every two are at least so similar; the most similar join first, ties by their order."""
    near = {
        pair: similarity(vectors[pair[0]], vectors[pair[1]]) for pair in itertools.combinations(range(len(vectors)), 2)
    }
    groups = [[number] for number in range(len(vectors))]

    def linkage(one: list[int], two: list[int]) -> float:
        return min(near[min(a, b), max(a, b)] for a in one for b in two)

    while len(groups) > 1:
        pairs = itertools.combinations(range(len(groups)), 2)
        first, second = max(pairs, key=lambda p: (linkage(groups[p[0]], groups[p[1]]), -p[0], -p[1]))
        if linkage(groups[first], groups[second]) < threshold:
            break
        groups[first] = sorted([*groups[first], *groups.pop(second)])
    return sorted(groups)


def medoid(group: Sequence[int], vectors: Sequence[Vector]) -> int:
    """The member that is most like the others; of equals the first."""
    return max(group, key=lambda n: (sum(similarity(vectors[n], vectors[m]) for m in group), -n))
