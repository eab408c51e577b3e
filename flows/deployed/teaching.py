"""The flow ``train-teacher``: a cross-encoder from a dataset's labels, and how well it ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from flows.cluster import cluster
from flows.configuration import validate, with_recipe_files
from flows.deployed.artifacts import artifact_key
from flows.deployed.forms import Place, Source, further_values, merged
from flows.deployed.place import place_of, rename, turn
from flows.progress import ArtifactProgress
from flows.settings import MineSettings
from flows.teaching import Taught, teach
from tasks.audit.build import build_audit
from tasks.models.settings import PACKAGED, TeacherSettings, TeacherTraining
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import open_storage

_PLACE, _TRAINING = Place(), TeacherTraining()
Model = Annotated[str, Field(min_length=1)]
Depth = Annotated[int, Field(ge=1, le=1000)]
Epochs = Annotated[int, Field(ge=1, le=100)]


def teacher_settings(dataset: Source, retriever: str, body: str, depth: int, epochs: int, place: Place, further: str) -> MineSettings:
    """A run's settings, as run.yaml would have them.

    Raises:
        UsageError: a field is wrong.
    """
    teacher = {"train": {"body": body, "epochs": epochs}, "depth": depth}
    values: dict[str, Any] = {"dataset": dataset.values(), "model": {"path": retriever}, "teacher": teacher, **place_of(place)}
    settings = validate(MineSettings, merged(values, further_values(further)), file="form")
    return with_recipe_files(settings, Path.cwd()).resolved(Path.cwd())


@flow(name="train-teacher", flow_run_name="train-teacher-{dataset.name}")
def train_teacher(
    dataset: Source,
    retriever: Model = PACKAGED,
    body: Model = PACKAGED,
    depth: Depth = int(TeacherSettings.model_fields["depth"].default),
    epochs: Epochs = _TRAINING.epochs,
    target: str = "",
    place: Place = _PLACE,
    further: str = "",
) -> State[Any]:
    """Train a cross-encoder on the dataset's labels, and measure it on queries that it was not trained on. A later mine finds it cached.

    Args:
        dataset: What is learnt from; with splits in further, queries of train only.
        retriever: Whose candidates it learns to tell apart: a folder, a hub id, or the packaged model.
        body: The encoder that it is trained from: a folder, a hub id, or the packaged model.
        depth: Candidates a query that it scores.
        epochs: Passes over the pairs.
        target: A new folder for the teacher; empty: it stays under the root only.
        place: Where the run keeps everything, and where it computes.
        further: Any other setting as YAML, as in {dataset: {splits: {train: 0.8, dev: 0.2}}, teacher: {train: {folds: 0}}}.
    """
    settings = teacher_settings(dataset, retriever, body, depth, epochs, place, further)
    storage = open_storage(settings.root)
    with (
        turn(settings.dataset.name),
        ArtifactProgress() as progress,
        cluster(settings, progress) as executor,
        at_work(storage, "train-teacher"),
    ):
        found = teach(settings, Context(storage, executor, progress), Path(target).resolve() if target else None)
        build_audit(storage)
    rename(f"train-teacher-{found.dataset}")
    create_markdown_artifact(markdown=page(found), key=artifact_key("teacher", found.dataset), description=f"teacher of {found.dataset}")
    return Completed(message=told(found))


def told(found: Taught) -> str:
    """One line: pairs, AUC on held-out query groups, the first measure of its ranking."""
    facts = found.facts
    line = f"{facts['pairs']:,.0f} pairs"
    if facts.get("auc_after") is not None:
        line += f"; AUC {facts['auc_before']:.3f} before, {facts['auc_after']:.3f} after"
    for name in list(found.measures)[:1]:
        line += f"; {name} on {found.split} {found.measures[name]['mean']:.4f} ({found.gain[name]['mean']:+.4f} against the retriever)"
    return line


def page(found: Taught) -> str:
    """The teacher as Markdown: where it is, what it learnt, how it ranks."""
    lines = [f"**Teacher** {', '.join(f'`{model}`' for model in found.models)}", "", told(found), ""]
    if not found.measures:
        return "\n".join([*lines, "Its ranking is not measured: no query is held out. Set `dataset: {splits: …}` in further."])
    lines += [
        f"{found.queries:,} queries of split {found.split}:",
        "",
        "| measure | teacher | against the retriever's order |",
        "|---|---|---|",
    ]
    for name, values in found.measures.items():
        gain = found.gain[name]
        lines.append(f"| {name} | {values['mean']:.4f} | {gain['mean']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}) |")
    return "\n".join(lines)
