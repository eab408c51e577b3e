"""Labels besides the user's own that the next round of a dataset takes: reviews, then promotions."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from flows.chunk_labels import promoted_texts, reviewed_texts
from tasks.audit.promotions import promotion_manifests, standing_pairs
from tasks.corpus.reviewed import labels_source
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source
from tasks.review.records import review_manifests, sure_labels
from tasks.schema import PROMOTED, REVIEWED
from tasks.sql import run
from tasks.store.storage import Storage

_LABELS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("relevant", pa.bool_())])
_STANDING = """
SELECT query_id, doc_id, true AS relevant FROM promoted
ANTI JOIN (SELECT query_id, doc_id FROM reviewed WHERE NOT relevant) USING (query_id, doc_id) ORDER BY query_id, doc_id"""


def further_labels(storage: Storage, settings: DatasetSettings) -> list[Source]:
    """The sources to read after the user's own; a promoted pair that reviewers call not relevant is in none.

    Labels that were given of chunks come apart from those of whole documents: what was said of a text goes with that text.

    Args:
        storage: the root.
        settings: of the dataset; ``reviews`` and ``promoted`` say what is taken.
    """
    is_reviewed, is_promoted = bool(review_manifests(storage, settings.name)), bool(promotion_manifests(storage, settings.name))
    if not (is_reviewed or (settings.promoted and is_promoted)):
        return []
    if settings.chunk is not None:
        return _of_chunks(storage, settings)
    nothing = _LABELS.empty_table()
    reviewed = sure_labels(storage, settings.name) if is_reviewed else nothing
    promoted = nothing
    if settings.promoted and is_promoted:
        promoted = run(_STANDING, {"promoted": standing_pairs(storage, settings.name), "reviewed": reviewed})
    given = {REVIEWED: reviewed if settings.reviews else nothing, PROMOTED: promoted}
    found = [labels_source(labels, provenance, settings, storage) for provenance, labels in given.items()]
    return [source for source in found if source is not None]


def _of_chunks(storage: Storage, settings: DatasetSettings) -> list[Source]:
    """The same of a dataset whose documents are cut: first what was said of whole documents, then what was of chunks."""
    reviewed = reviewed_texts(storage, settings.name)
    given = {
        REVIEWED: reviewed if settings.reviews else reviewed.slice(0, 0),
        PROMOTED: promoted_texts(storage, settings.name, reviewed) if settings.promoted else reviewed.slice(0, 0),
    }
    whole = {provenance: labels.filter(pc.is_null(labels["chunk"])).drop_columns(["chunk"]) for provenance, labels in given.items()}
    cut = {provenance: labels.filter(pc.is_valid(labels["chunk"])) for provenance, labels in given.items()}
    found = [labels_source(labels, provenance, settings, storage) for each in (whole, cut) for provenance, labels in each.items()]
    return [source for source in found if source is not None]
