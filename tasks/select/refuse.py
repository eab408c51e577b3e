"""Who may use a document as a negative, and a positive for a training row, when there are too many: pure functions on tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.sql import run as run_sql

PAIRS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string())])
WANTED = pa.schema([*PAIRS, ("score", pa.float64()), ("u", pa.float64())])  # u: uniform, breaks ties

Again = Callable[[pa.Table, pa.Table], pa.Table]
"""(queries to select for again, all banned pairs so far) → what they want now, as :data:`WANTED`; each pair once."""

_WANTED_MOST = 20


@dataclass(frozen=True)
class Refused:
    """The outcome of the deferred acceptance.

    Args:
        banned: :data:`PAIRS`, sorted: the pairs that were refused.
        most: the 20 most wanted documents: (doc_id, queries that wanted it, cap).
        rounds: how often some queries selected again.
    """

    banned: pa.Table
    most: list[tuple[str, int, int]]
    rounds: int


def refuse(wanted: pa.Table, cap: int, again: Again) -> Refused:
    """Deferred acceptance (Gale and Shapley 1962; certainty: paper): no document is wanted by more than ``cap`` queries.

    A document that too many queries want keeps the best by score (ties: by hash, then query_id) and refuses the others for good. They
    select again without it, until no document is over the cap. All refusals of a round are made together, so that the outcome does
    not depend on any order.

    Args:
        wanted: :data:`WANTED`: what every query selects at first; each pair once.
        cap: queries a document.
        again: how refused queries select.
    """
    banned = PAIRS.empty_table()
    rounds = 0
    fresh = wanted
    while True:
        refused = _over(wanted, fresh, cap)
        if refused.num_rows == 0:
            break
        rounds += 1
        banned = pa.concat_tables([banned, refused])
        queries = refused.group_by("query_id").aggregate([]).sort_by("query_id")
        fresh = again(queries, banned).select(WANTED.names).cast(WANTED)
        kept = run_sql("SELECT * FROM wanted ANTI JOIN queries USING (query_id)", {"wanted": wanted, "queries": queries})
        wanted = pa.concat_tables([kept.select(WANTED.names).cast(WANTED), fresh])
    return Refused(banned.sort_by([("query_id", "ascending"), ("doc_id", "ascending")]), _most(wanted, banned, cap), rounds)


def surplus(anchors: pa.Table, most: int) -> pa.Table:
    """The training rows beyond the first ``most`` of each positive, by hash.

    Args:
        anchors: query_id, doc_id (the positive), u.
        most: rows a positive.

    Returns:
        :data:`PAIRS`, sorted.
    """
    found = run_sql(
        """SELECT query_id, doc_id FROM (SELECT *, row_number() OVER (PARTITION BY doc_id ORDER BY u, query_id) AS place FROM anchors)
        WHERE place > $most ORDER BY query_id, doc_id""",
        {"anchors": anchors},
        {"most": most},
    )
    return found.select(PAIRS.names).cast(PAIRS)


def _over(wanted: pa.Table, fresh: pa.Table, cap: int) -> pa.Table:
    """Pairs that their documents refuse; only those that were just asked for can be over the cap."""
    asked = fresh.group_by("doc_id").aggregate([])
    found = run_sql(
        """SELECT query_id, doc_id FROM (
          SELECT query_id, doc_id, row_number() OVER (PARTITION BY doc_id ORDER BY score DESC NULLS LAST, u, query_id) AS place
          FROM wanted SEMI JOIN asked USING (doc_id))
        WHERE place > $cap""",
        {"wanted": wanted, "asked": asked},
        {"cap": cap},
    )
    return found.select(PAIRS.names).cast(PAIRS)


def _most(wanted: pa.Table, banned: pa.Table, cap: int) -> list[tuple[str, int, int]]:
    pairs: Sequence[pa.Table] = [wanted.select(PAIRS.names), banned]
    found = run_sql(
        "SELECT doc_id, count(DISTINCT query_id) AS queries FROM pairs GROUP BY doc_id ORDER BY queries DESC, doc_id LIMIT $most",
        {"pairs": pa.concat_tables(pairs)},
        {"most": _WANTED_MOST},
    )
    return [(row["doc_id"], row["queries"], cap) for row in found.to_pylist()]
