"""Commands that compare recipes and thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.common import AsJson, Root, Round, open_context, out, print_json, progress_listeners, read_judgements

app = typer.Typer()


Qrels = Annotated[Path | None, typer.Option("--qrels", help="Exhaustive judgements: a pair that is not listed is not relevant.")]
Measured = Annotated[Path | None, typer.Option("--queries", help="Ids of the queries that are measured, one a line.")]
MinGrade = Annotated[int, typer.Option(help="The least grade that counts as relevant.")]
Split = Annotated[
    str,
    typer.Option(
        help="Queries to look at: a split, or all; by default those that may be trained on, as recipes are tuned on nothing else."
    ),
]


@app.command(epilog="Example: hardmine compare cranfield/1 --recipes rocketqa,simans --qrels truth.tsv --plot leak.svg")
def compare(
    round_name: Round,
    recipes: Annotated[
        str | None, typer.Option(help="Names, {settings} or YAML files, with commas between; by default all that the round serves.")
    ] = None,
    qrels: Qrels = None,
    queries: Measured = None,
    min_grade: MinGrade = 1,
    split: Split = "",
    truncate: Annotated[bool, typer.Option(help="Also recipes that need a deeper round.")] = False,
    curves: Annotated[bool, typer.Option(help="Sweep each recipe over its own setting.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Leak against hardness, as .svg or .png.")] = None,
    num_negatives: Annotated[int | None, typer.Option(min=1, help="Negatives a query; by default the round's.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Recipes beside each other over one round: yield, hardness, leak, overlap. No model runs."""
    from flows.compare import CompareRequest, plot_comparison
    from flows.compare import compare as run
    from flows.comparison import print_comparison
    from flows.configuration import load_recipe_list
    from flows.stored import find_round

    request = CompareRequest(
        recipes=load_recipe_list(recipes) if recipes else (),
        truth=read_judgements(qrels, queries, min_grade),
        truncate=truncate,
        sweep_queries=500 if curves else 0,
        num_negatives=num_negatives,
        split=split,
    )
    with progress_listeners() as progress, open_context(root, progress) as context:
        found = run(context, find_round(context.storage, round_name), request)
    written = plot_comparison(found, plot) if plot else None
    if as_json:
        print_json({**found.as_json(), "plot": str(written) if written else None})
    else:
        print_comparison(out, found)
        if written:
            out.print(f"plot in {escape(str(written))}", highlight=False)


@app.command(epilog="Example: hardmine advise cranfield/1 --rate 0.05 --qrels truth.tsv")
def advise(
    round_name: Round,
    rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of false negatives that is acceptable.")] = 0.05,
    column: Annotated[list[str] | None, typer.Option(help="A score to set the threshold on; by default those that the round has.")] = None,
    qrels: Qrels = None,
    queries: Measured = None,
    min_grade: MinGrade = 1,
    split: Split = "",
    min_yield: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of queries that must keep all their negatives.")] = 0.95,
    plot: Annotated[Path | None, typer.Option(help="The yield curves, as .svg or .png.")] = None,
    num_negatives: Annotated[int | None, typer.Option(min=1, help="Negatives a query; by default the round's.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Which threshold gives which rate of false negatives, and how many negatives it leaves."""
    from flows.advising import AdviceRequest, find_threshold
    from flows.comparison import print_advice
    from flows.stored import find_round

    request = AdviceRequest(
        rate=rate,
        columns=column or (),
        truth=read_judgements(qrels, queries, min_grade),
        min_yield=min_yield,
        num_negatives=num_negatives,
        split=split,
    )
    with progress_listeners() as progress, open_context(root, progress) as context:
        lines, advice, looked = find_threshold(context, find_round(context.storage, round_name), request)
    if plot:
        from tasks.compare.plot import yield_curves

        yield_curves(lines, plot, chosen={one.column: one.threshold for one in advice if one.threshold is not None})
    if as_json:
        told = {"curves": [line.model_dump(mode="json") for line in lines], "advice": [one.model_dump(mode="json") for one in advice]}
        print_json({**told, "queries": looked.words, "notes": list(looked.notes)})
    else:
        print_advice(out, lines, advice, looked)


@app.command(epilog="Example: hardmine report cranfield/1 --out report.html")
def report(
    round_name: Round,
    target: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
    recipes: Annotated[str | None, typer.Option(help="Recipes to compare beside the round's own; by default plain top-K.")] = None,
    qrels: Qrels = None,
    queries: Measured = None,
    min_grade: MinGrade = 1,
    split: Split = "",
    curves: Annotated[bool, typer.Option(help="Sweep each recipe over its own setting.")] = True,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """One self-contained HTML file: funnel, scores, recipes, false negatives, examples, cost. No model runs."""
    from flows.configuration import load_recipe_list
    from flows.report import report as write
    from flows.stored import find_round

    truth = read_judgements(qrels, queries, min_grade)
    wanted = load_recipe_list(recipes) if recipes else []
    with progress_listeners() as progress, open_context(root, progress) as context:
        written = write(context, find_round(context.storage, round_name), target, wanted, truth, 500 if curves else 0, split)
    if as_json:
        print_json({"report": str(written)})
    else:
        out.print(f"report in {escape(str(written))}", highlight=False)
