"""Kill the work at every commit point and at random moments, run it again, and compare with a run that nobody disturbed.

    python -m tests.torture.kills [--kills 200] [--seed 0] [--folder FOLDER]

What must hold: the same training files, trained model and labels; no finished partition written again; what is published is whole.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.keeping.verify import verify
from tasks.store.storage import open_storage
from tests.e2e.conftest import write_collection
from tests.torture.work import make_models

ROOT = Path(__file__).parents[2]
KILLED = -9


@dataclass
class Tally:
    """What came of the kills. ``places``: kills by the stage whose file was next, or was just written."""

    kills: int = 0
    runs: int = 0
    roots: int = 0
    places: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Markdown."""
        lines = ["| killed at | kills |", "|---|---|", *(f"| {place} | {count} |" for place, count in sorted(self.places.items()))]
        return "\n".join([*lines, f"| all, in {self.roots} roots and {self.runs} runs | {self.kills} |"])


class Torture:
    """The work in children of one zygote.

    Args:
        folder: an empty one.
        process: the zygote.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self._process, self._runs = folder, process, 0

    def run(self, root: Path, **end: Any) -> dict[str, Any]:
        """Do the work under a root; ``end``: where the child dies."""
        self._runs += 1
        own = self.folder / f"run-{self._runs}"
        request = {"folder": self.folder, "root": root, "scratch": own / "review", "log": own / "log", **end}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        error = own / "log.error"
        answer["error"] = error.read_text() if error.exists() else ""
        return answer


@contextmanager
def torture(folder: Path) -> Iterator[Torture]:
    """A folder with a collection and models, and a zygote."""
    write_collection(folder / "beir")
    make_models(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.torture.zygote"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Torture(folder, process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)


def kill_often(one: Torture, kills: int, seed: int, each: int = 6) -> Tally:
    """Kill ``kills`` times, at most ``each`` times in a root before its work may end."""
    draw, tally = random.Random(seed), Tally()
    undisturbed = one.run(one.folder / "undisturbed")
    assert undisturbed["code"] == 0, undisturbed["error"]
    expected, commits = undisturbed["found"], undisturbed["commits"]
    while tally.kills < kills:
        tally.roots += 1
        root = one.folder / f"root-{tally.roots}"
        written: Counter[str] = Counter()
        for _ in range(min(each, kills - tally.kills)):
            ended = one.run(root, **_end(draw, len(commits) - len(written)))
            tally.runs += 1
            written.update(ended["commits"])
            if ended["code"] != KILLED:
                tally.wrong += [f"root {tally.roots}: {ended['error']}"] if ended["code"] else []
                break
            tally.kills += 1
            tally.places[_place(ended["commits"], commits)] += 1
        last = one.run(root)
        tally.runs += 1
        written.update(last["commits"])
        tally.wrong += [f"root {tally.roots}: {problem}" for problem in _problems(root, last, expected, written)]
        shutil.rmtree(root)
    return tally


def _end(draw: random.Random, left: int) -> dict[str, Any]:
    """Where the next child dies: mostly at a commit point that is left, sometimes at any moment."""
    if draw.random() < 0.7:
        return {"at": draw.randint(1, max(left, 1)), "when": draw.choice(["before", "after"])}
    return {"seconds": draw.uniform(0.05, 6.0)}


def _place(seen: list[str], commits: list[str]) -> str:
    """The stage that the child was at: that of the file after the last one it wrote."""
    last = commits.index(seen[-1]) + 1 if seen and seen[-1] in commits else 0
    name = commits[min(last, len(commits) - 1)]
    return "/".join(name.split("/")[:2])


def _problems(root: Path, last: dict[str, Any], expected: dict[str, str], written: Counter[str]) -> Iterator[str]:
    if last["code"] != 0:
        yield f"the run after the kills ended with {last['code']}: {last['error']}"
        return
    if last["found"] != expected:
        yield f"another result: {last['found']}, not {expected}"
    again = [name for name, times in written.items() if "/parts/" in name and times > 1]
    if again:
        yield f"finished partitions were computed again: {again}"
    faults = verify(open_storage(str(root))).faults
    if faults:
        yield f"not whole: {faults}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty folder; by default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, torture(given.folder or Path(temporary)) as one:
        tally = kill_often(one, given.kills, given.seed)
    print(tally.table())  # noqa: T201
    for wrong in tally.wrong:
        print(wrong, file=sys.stderr)  # noqa: T201
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
