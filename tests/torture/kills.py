"""Kill the work at every commit point and at random moments, run it again, and compare with a run that nobody disturbed.

What must hold: the same training files, trained model and labels; no finished partition written again; after every kill, what is published
is whole.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
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
FOLLOWS = ("pointers/audit.json", "pointers/latest/")


@dataclass
class Tally:
    """What came of the kills. ``places``: kills by the stage whose file was next, or was just written."""

    kills: int = 0
    runs: int = 0
    roots: int = 0
    places: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Torture:
    """The work in children of one zygote.

    Args:
        folder: an empty one.
        process: the zygote.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self._process, self._runs = folder, process, 0

    def run(self, root: Path | str, **how: Any) -> dict[str, Any]:
        """Do the work under a root; ``how``: where the child dies, or what it does (:class:`tests.torture.zygote.Request`)."""
        self._runs += 1
        own = self.folder / f"run-{self._runs}"
        request = {"folder": self.folder, "root": str(root), "scratch": own / "review", "log": own / "log", **how}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        for key, name in (("error", "log.error"), ("first", "log.first"), ("first_error", "first.error")):
            answer[key] = (own / name).read_text() if (own / name).exists() else ""
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


def kill_often(one: Torture, undisturbed: dict[str, Any], kills: int, seed: int, each: int = 20) -> Tally:
    """Kill ``kills`` times, mostly at a commit point, sometimes at any moment; at most ``each`` times in a root before its work may end."""
    draw, tally = random.Random(seed), Tally()
    count = len(undisturbed["commits"])

    def random_end(left: int) -> dict[str, Any]:
        if draw.random() < 0.6:
            step = max(1, left // max(1, each // 2))  # so that a root's kills reach from its first file to its last
            return {"at": draw.randint(1, step), "when": draw.choice(["before", "after"])}
        return {"cpu": draw.uniform(0.02, 2.0)}

    while tally.kills < kills:
        _one_root(one, undisturbed, tally, min(each, kills - tally.kills), lambda written: random_end(count - len(written)))
    return tally


def kill_everywhere(one: Torture, undisturbed: dict[str, Any]) -> Tally:
    """Kill once after each file that becomes visible, which is before the next one does; all in one root."""
    tally = Tally()
    _one_root(one, undisturbed, tally, 2 * len(undisturbed["commits"]), lambda _: {"fresh": True})
    return tally


def _one_root(one: Torture, undisturbed: dict[str, Any], tally: Tally, kills: int, end: Any) -> None:
    """Kill so often, then let it end, and look."""
    tally.roots += 1
    root, written = one.folder / f"root-{tally.roots}", Counter[str]()
    for _ in range(kills):
        ended = one.run(root, **end(written))
        tally.runs += 1
        written.update(ended["commits"])
        if ended["code"] != KILLED:
            tally.wrong += [f"root {tally.roots}: {ended['error']}"] if ended["code"] else []
            break
        tally.kills += 1
        tally.places[_place(ended["commits"], undisturbed["commits"])] += 1
        tally.wrong += [f"root {tally.roots}, kill {tally.kills}: not whole: {fault}" for fault in _faults(root)]
    last = one.run(root)
    tally.runs += 1
    written.update(last["commits"])
    tally.wrong += [f"root {tally.roots}: {problem}" for problem in _problems(root, last, undisturbed["found"], written)]
    shutil.rmtree(root)


def _place(seen: list[str], commits: list[str]) -> str:
    """The stage that the child was at: that of the file after the last one it wrote."""
    own = [name for name in seen if not name.startswith("leases/")]
    others = [name for name in commits if not name.startswith("leases/")]
    last = others.index(own[-1]) + 1 if own and own[-1] in others else 0
    folder, stage, *_ = others[min(last, len(others) - 1)].split("/")
    return folder if folder == "audit" else f"{folder}/{stage}"


def _faults(root: Path) -> Iterator[str]:
    """What a record or a pointer names and is not there as it was written; but for what follows a round, and may be yet to be made."""
    if root.exists():
        faults = verify(open_storage(str(root))).faults
        yield from (str(fault) for fault in faults if not (fault.kind == "missing" and fault.name.startswith(FOLLOWS)))


def _problems(root: Path, last: dict[str, Any], expected: dict[str, str], written: Counter[str]) -> Iterator[str]:
    if last["code"] != 0:
        yield f"the run after the kills ended with {last['code']}: {last['error']}"
        return
    found = {name: value for name, value in last["found"].items() if name in expected}
    if found != expected:
        yield f"another result: {found}, not {expected}"
    again = [name for name, times in written.items() if "/parts/" in name and times > 1]
    if again:
        yield f"finished partitions were computed again: {again}"
    yield from (f"not whole: {fault}" for fault in verify(open_storage(str(root))).faults)
