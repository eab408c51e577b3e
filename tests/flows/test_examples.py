import pyarrow as pa

from flows import examples
from tasks.truth.pictures import SUSPECTS
from tests.audit.library import library
from tests.audit.world import new_world, stage


def test_the_most_suspicious_go_by_basis_first_for_values_of_different_bases_do_not_compare(tmp_path):
    world = new_world(tmp_path)
    record = library(world)[0]
    listed = [  # as stage measure lists them: by basis, then by value
        ("q3", "d", "calibrated", 0.5),
        ("q3", "a", "label_evidence", 0.9),
        ("q1", "c", "label_evidence", 0.75),
        ("q1", "b", "label_evidence", 0.625),
        ("q2", "f", "dense ratio", 1.25),
    ]
    rows = [{"query_id": query, "doc_id": doc, "basis": basis, "suspicion": value} for query, doc, basis, value in listed]
    table = pa.Table.from_pylist([{name: row.get(name) for name in SUSPECTS.names} for row in rows], SUSPECTS)
    measures = stage(world.storage, "measure", "measure-bases", {"suspects.parquet": table})
    chosen = record.selection("s1").model_copy(update={"measures": measures})
    found = examples._pairs(world.storage, record, chosen, examples._SUSPICIOUS)
    assert found == [("q3", "d"), ("q1", "c"), ("q2", "f")]  # one a query
