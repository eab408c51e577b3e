"""How many of the pairs that are to be scored a teacher has scored before."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.score.pair_store import lookup, segments
from tasks.score.pairs import unique_pairs
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table
from tasks.teacher import to_score


def known_share(storage: Storage, candidates: Sequence[Part], teacher: str, depth: int, sources: Sequence[str]) -> float:
    """Share of the different pairs within the depth that the pair store holds; 0 where there is no pair.

    Args:
        storage: the root; nothing of it changes.
        candidates: committed parts.
        teacher: fingerprint.
        depth: worst rank that is scored.
        sources: whose ranks count.
    """
    files = segments(storage, teacher)
    columns = ["query_hash", "doc_hash", "is_positive", *(f"{source}_rank" for source in sources)]
    wanted = found = 0
    for part in candidates if files else ():
        table = read_table(storage, part.file("candidates.parquet"), columns)
        table = table.filter(pa.array(to_score(table, depth, sources)))
        pairs, _ = unique_pairs(table["query_hash"], table["doc_hash"])
        wanted += pairs.num_rows
        found += lookup(storage, files, pairs).num_rows
    return found / max(1, wanted)
