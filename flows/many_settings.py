"""run.yaml of several datasets: one run mines each of them and mixes their training files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from flows.settings import MineSettings, model_path, with_moved_models
from tasks.corpus.settings import DatasetSettings
from tasks.errors import nearest
from tasks.mixture.settings import MIXED, TRAINED, MixtureSettings
from tasks.retrieve.further_settings import FurtherSource
from tasks.settings import Settings


class Prompts(Settings):
    """What is put before a dataset's texts, in the place of the model's own prompts; in docs called instructions too."""

    query: str | None = Field(None, description="Before each query; empty: the model's query_prompt.")
    document: str | None = Field(None, description="Before each document; empty: the model's document_prompt.")


class Member(Settings):
    """One dataset of the list ``datasets``."""

    dataset: DatasetSettings = Field(description="Its corpus, queries and labels, as a single run has them.")
    weight: float = Field(1.0, gt=0, description="Of its share of the training rows, beside its size.")
    task: str = Field("retrieval", min_length=1, description="What its rows say they are for.")
    recipe: str | dict[str, Any] | None = Field(None, description="Its recipe; empty: the run's.")
    further: tuple[FurtherSource, ...] = Field((), description="Further sources of its candidates: runs are of one dataset.")
    search: tuple[str, ...] = Field(
        (),
        description="Other datasets of the list whose documents are candidates for its queries too; without them candidates never cross.",
    )


class ManySettings(MineSettings):
    """Several datasets in one run. Everything else is said once, for all of them."""

    datasets: tuple[Member, ...] = Field(min_length=1, description="The datasets.")
    prompts: dict[str, Prompts] = Field(default_factory=dict, description="Instructions by dataset.")
    mixture: MixtureSettings = Field(MixtureSettings(), description="How their rows become one set of training files.")

    @model_validator(mode="before")
    @classmethod
    def _first_stands_for_all(cls, values: Any) -> Any:
        """``dataset`` is there for what a run of one dataset asks; each dataset's own settings come from :meth:`of`."""
        listed = values.get("datasets") if isinstance(values, Mapping) else None
        if not listed or not isinstance(listed, Sequence):
            return values
        first = listed[0].get("dataset") if isinstance(listed[0], Mapping) else getattr(listed[0], "dataset", None)
        if values.get("dataset", first) != first:
            raise ValueError("dataset: it would not be read beside datasets; put it into that list, or leave it out")
        return {**values, "dataset": first}

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"datasets: two of them are named {twice[0]!r}; give each a name of its own")
        for name in self.prompts:
            if name not in names:
                raise ValueError(f"prompts: there is no dataset {name!r}: {nearest(name, names)}")
        for member in self.datasets:
            for name in member.search:
                if name not in names or name == member.dataset.name:
                    raise ValueError(f"datasets: {member.dataset.name} searches {name!r}, which is no other dataset of the list")
            sources = [source.name for source in (*self.retrieve.further, *member.further)]
            again = sorted({name for name in sources if sources.count(name) > 1})
            if again:
                raise ValueError(
                    f"datasets: {member.dataset.name} has two further sources named {again[0]!r}; name one of them differently"
                )
        return self

    @model_validator(mode="after")
    def _mixes_and_trains(self) -> Self:
        if self.rounds > 1:
            raise ValueError(
                "rounds: one after the other is for one dataset; leave it out, set train: {} to train once on the mixture, and mine again "
                "with that checkpoint as model.path"
            )
        if self.train is not None and not set(self.formats) & set(TRAINED):
            raise ValueError(f"train: a mixture is trained on as {' or '.join(TRAINED)}; add one of them to formats")
        if self.train is not None and self.document_model is not None:
            raise ValueError("train: on a mixture one encoder is trained for both sides; leave out document_model, or train")
        if not set(self.formats) & set(MIXED):
            raise ValueError(f"formats: none of {', '.join(self.formats)} can be mixed; add one of {', '.join(MIXED)}")
        return self

    @property
    def names(self) -> list[str]:
        """Of the datasets, in order."""
        return [member.dataset.name for member in self.datasets]

    def of(self, member: Member) -> MineSettings:
        """One dataset's run."""
        given = self.prompts.get(member.dataset.name, Prompts())
        prompts = {"query_prompt": given.query, "document_prompt": given.document}
        update = {name: prompt for name, prompt in prompts.items() if prompt is not None}
        values = {name: getattr(self, name) for name in MineSettings.model_fields}
        values |= {
            "dataset": member.dataset,
            "model": self.model.model_copy(update=update),
            "document_model": self.document_model.model_copy(update=update) if self.document_model else None,
            "recipe": member.recipe or self.recipe,
            "retrieve": self.retrieve.model_copy(update={"further": (*self.retrieve.further, *member.further)}),
        }
        return MineSettings.model_construct(**values)

    def resolved(self, base: Path) -> ManySettings:
        """See :meth:`flows.settings.MineSettings.resolved`."""

        def further(member: Member) -> tuple[FurtherSource, ...]:
            return tuple(with_moved_models(source.resolved(base), lambda path: model_path(base, path)) for source in member.further)

        members = tuple(
            member.model_copy(update={"dataset": member.dataset.resolved(base), "further": further(member)}) for member in self.datasets
        )
        made = super().resolved(base)
        assert isinstance(made, ManySettings), "a copy is of the same class"
        return made.model_copy(update={"datasets": members})
