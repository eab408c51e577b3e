"""Training stages: easy to hard, and CL-DRD's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.free import Where
from tasks.select.rules.registry import AnyRule
from tasks.select.rules.scores import TeacherCeiling

Triple = tuple[int, int, int]

_STAGES = ("easy", "medium", "hard")


class Curriculum(Published):
    """Three training stages, easy, medium and hard, each with negatives of its own and a shard set of its own.

    ``by: rank``: easy ranks are beyond ``medium_depth``, medium ones beyond ``hard_depth``, hard ones up to it.
    ``by: teacher``: easy under ``easy_ceiling`` of the teacher's probability, medium under ``medium_ceiling``, hard under ``ceiling``, from
    which a candidate is rejected in all stages. Drawn at random in each band; a band that is short leaves rows short. A common schedule
    trains 2 epochs in-batch, 3 on BM25 negatives and 5 on denoised ones: epochs are the trainer's.
    """

    paper = "common practice"
    certainty = "own"
    name: Literal["curriculum"] = "curriculum"
    by: Literal["rank", "teacher"] = "rank"
    hard_depth: int = Field(30, ge=1)
    medium_depth: int = Field(100, ge=1)
    depth: int = Field(200, ge=1)
    easy_ceiling: float = 0.01
    medium_ceiling: float = 0.1
    ceiling: float = 0.5

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.by == "rank":
            self._ascending(hard_depth=self.hard_depth, medium_depth=self.medium_depth, depth=self.depth)
            column, hard = "dense_rank", f"dense_rank <= {self.hard_depth}"
            pools = (f"{column} > {self.medium_depth}", f"{column} > {self.hard_depth} AND {column} <= {self.medium_depth}", hard)
        else:
            self._ascending(easy_ceiling=self.easy_ceiling, medium_ceiling=self.medium_ceiling, ceiling=self.ceiling)
            column, hard = "teacher_sigmoid", f"teacher_sigmoid >= {self.medium_ceiling}"
            pools = (f"{column} < {self.easy_ceiling}", f"{column} >= {self.easy_ceiling} AND {column} < {self.medium_ceiling}", hard)
        denoised: tuple[AnyRule, ...] = (TeacherCeiling(ceiling=self.ceiling, on_null="reject"),) if self.by == "teacher" else ()
        return Recipe(
            name=self.name,
            needs=needed(self.depth, "teacher_sigmoid" if self.by == "teacher" else "dense_score"),
            rules=(*self.ranked(self.depth), *denoised),
            draws=tuple(
                Draw(stage=stage, order=Random(), pool=pool) for stage, pool in zip(("easy", "medium", "hard"), pools, strict=True)
            ),
            num_negatives=facts.num_negatives,
        )

    def _ascending(self, **bounds: float) -> None:
        values = list(bounds.values())
        if sorted(set(values)) != values:
            raise ValueError(" < ".join(f"{name}={value}" for name, value in bounds.items()) + " must hold")


class CLDRD(Published):
    """Three training stages of graded lists from the teacher's order: fewer negatives and more pseudo-relevant documents each time.

    Of the dense top 200, ordered by the teacher: the first 5, 10 and 30 are pseudo-relevant, with the label 1/position; then 12, 10 and 0
    of the most hard (label −0.25) and 13, 10 and 0 of the semi-hard (label −0.5) are drawn at random. The counts and labels are the
    authors'; where the most hard end and the semi-hard begin is not established: ``hard_depth``.

    In rows and decisions all of them are drawn, as draws ``relevant-1`` …, ``hard`` and ``semi-hard`` of the stages ``stage-1`` …
    ``stage-3``: slots go by the teacher's order, and ``label`` tells them apart, over 0 for what is to be ranked as relevant. Train on them
    with a loss over lists; pseudo-relevant ones are no negatives. The labelled positive stays in slot 0, with label 1.
    ``num_negatives`` cannot be set: the counts say it.
    """

    paper = "Zeng, Zamani and Vinay 2022, CL-DRD (arXiv:2204.13679)"
    certainty = "code, in part"
    name: Literal["cl-drd"] = "cl-drd"
    depth: int = Field(200, ge=1, description="Dense ranks that the teacher orders.")
    hard_depth: int = Field(50, ge=1, description="The last of the teacher's ranks that is most hard; semi-hard ones follow.")
    relevant: Triple = Field((5, 10, 30), description="Pseudo-relevant documents, by stage.")
    hard: Triple = Field((12, 10, 0), description="Most hard ones, by stage.")
    semi_hard: Triple = Field((13, 10, 0), description="Semi-hard ones, by stage.")
    hard_label: float = -0.25
    semi_hard_label: float = -0.5

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.num_negatives is not None:
            raise ValueError("cl-drd's lists are as long as relevant, hard and semi_hard say: leave num_negatives out")
        lists = list(zip(self.relevant, self.hard, self.semi_hard, strict=True))
        if min(min(each) for each in lists) < 0 or min(sum(each) for each in lists) < 1:
            raise ValueError("relevant, hard and semi_hard must be 0 or more, and give each stage at least one document")
        scored = Where(predicate="teacher_logit IS NOT NULL", reason="unscored", on_null="reject")
        draws = [draw for number, each in enumerate(lists, start=1) for draw in self._stage(f"stage-{number}", *each)]
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}, teacher_depth=self.depth),
            rules=(*self.ranked(self.depth), scored),
            draws=tuple(draws),
            rank_by="teacher_logit",
            num_negatives=max(sum(each) for each in lists),
        )

    def _stage(self, stage: str, relevant: int, hard: int, semi_hard: int) -> list[Draw]:
        draws = [
            Draw(
                stage=stage,
                name=f"relevant-{position}",
                order=Top(by="teacher_logit"),
                take=1,
                survivor_min=position - 1,
                survivor_max=position,
                label=1 / position,
            )
            for position in range(1, relevant + 1)
        ]
        last = max(self.hard_depth, relevant + hard)
        if hard:
            most_hard = Draw(stage=stage, name="hard", order=Random(), take=hard, label=self.hard_label)
            draws.append(most_hard.model_copy(update={"survivor_min": relevant, "survivor_max": last}))
        if semi_hard:
            draws.append(Draw(stage=stage, name="semi-hard", order=Random(), take=semi_hard, survivor_min=last, label=self.semi_hard_label))
        return draws
