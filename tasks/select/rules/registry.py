"""All kinds of rules."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from tasks.select.rules.angles import Angle
from tasks.select.rules.base import Rule
from tasks.select.rules.copies import Duplicate, NearDuplicate, NearDuplicateCosine
from tasks.select.rules.evidence import LikelyRelevant
from tasks.select.rules.free import Where
from tasks.select.rules.groups import OtherCluster, SameGroup
from tasks.select.rules.judged import JudgedRelevant
from tasks.select.rules.lists import BelowMean, Quantile
from tasks.select.rules.ranks import RankRange, RankSkip
from tasks.select.rules.scores import AbsoluteMargin, MaxScore, MiddleBand, MinScore, RelativeMargin, TeacherCeiling, Window
from tasks.select.rules.texts import AnswerMatch, Language, TokenLimit

AnyRule = Annotated[
    RankRange
    | RankSkip
    | MaxScore
    | MinScore
    | TeacherCeiling
    | MiddleBand
    | LikelyRelevant
    | JudgedRelevant
    | AbsoluteMargin
    | RelativeMargin
    | Window
    | Angle
    | Quantile
    | BelowMean
    | AnswerMatch
    | TokenLimit
    | Language
    | OtherCluster
    | SameGroup
    | Duplicate
    | NearDuplicate
    | NearDuplicateCosine
    | Where,
    Field(discriminator="kind"),
]

RULES: tuple[type[Rule], ...] = get_args(get_args(AnyRule)[0])
