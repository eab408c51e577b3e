"""Plain top-K, and skipping the first ranks: what most scripts do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Top
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.ranks import RankRange


class TopK(Published):
    """The highest-ranked unlabelled documents: many of them are unlabelled positives."""

    paper = "common practice"
    certainty = "own"
    name: Literal["top"] = "top"
    depth: int = Field(100, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        needs = Needs(sources={"dense": self.depth})
        return Recipe(name=self.name, needs=needs, rules=self.ranked(self.depth), num_negatives=facts.num_negatives)


class SkipN(Published):
    """Top-K without the first N ranks."""

    paper = "common practice; 'shifted' in NV-Retriever (arXiv:2407.15831)"
    certainty = "third party"
    sweep = ("skip", (80, 60, 40, 30, 20, 10, 5, 0))
    name: Literal["skip-n"] = "skip-n"
    skip: int = Field(10, ge=0)
    depth: int = Field(100, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.skip >= self.depth:
            raise ValueError(f"skip={self.skip} must be under depth={self.depth}")
        rules = (*self.copies(), RankRange(source="dense", range_min=self.skip, range_max=self.depth, on_null="reject"))
        draws = (Draw(order=Top(by="dense_score")),)
        return Recipe(
            name=self.name, needs=Needs(sources={"dense": self.depth}), rules=rules, draws=draws, num_negatives=facts.num_negatives
        )
