import subprocess
import sys

import numpy as np
import pytest

from tasks.errors import UsageError
from tasks.features.registry import FEATURES, check
from tasks.features.task import features
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.schema import OPTIONAL_FEATURES
from tasks.store.storage import open_storage
from tasks.store.tables import read_table
from tests.features.world import values, world
from tests.retrieve.build import Silent, context

WORDS = "the boundary layer over a flat plate at zero incidence is laminar up to some point"


def collection():
    """40 documents, some of them copies in pairs, and 6 queries with 12 candidates each."""
    random = np.random.default_rng(0)
    docs = [
        {
            "doc_id": f"d{number:02d}",
            "title": "" if number % 3 else f"title {number}",
            "text": f"{WORDS} {number // 2} {'x ' * (number % 5)}",
            "group_id": None if number % 7 == 0 else f"g{number % 4}",
            "language": ("de", "en", None)[number % 3],
            "position": number,
            "vector": random.standard_normal(2),
        }
        for number in range(40)
    ]
    queries = [
        {"query_id": f"q{number}", "answers": (["x x"], [], None, [f"some point {number}"])[number % 4], "language": "en",
         "vector": random.standard_normal(2)}
        for number in range(6)
    ]  # fmt: skip
    rows = []
    for query in range(6):
        chosen = sorted(random.choice(40, 12, replace=False).tolist())
        ranks = random.permutation(12) + 1
        rows += [
            {"query_id": f"q{query}", "doc_id": f"d{doc:02d}", "is_positive": place % 5 == query % 5 and query != 4,
             "dense_rank": None if place == 3 else int(ranks[place])}
            for place, doc in enumerate(chosen)
        ]  # fmt: skip
    return docs, queries, rows


def everything(root, doc_parts=1, query_parts=1, threads=1):
    setting = context(root, threads)
    inputs = world(setting.storage, *collection(), doc_parts, query_parts)
    wanted = {name: {} for name in FEATURES} | {"clusters": {"documents": 5, "queries": 3}, "rank-weights": {"window": 3}}
    return setting, inputs, features(setting, wanted, inputs)


def checksums(manifests):
    return {name: [part.file("features.parquet").checksum for part in manifest.parts] for name, manifest in manifests.items()}


def test_features_are_those_of_the_schema():
    assert set(FEATURES) <= set(OPTIONAL_FEATURES)
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature.stages[-1].name == f"feature-{name}"
        assert feature.columns == OPTIONAL_FEATURES[name]
        assert feature.settings().model_dump(mode="json") is not None


def test_every_feature_writes_its_columns_beside_each_part_and_runs_no_model(tmp_path):
    setting, inputs, manifests = everything(tmp_path, doc_parts=3, query_parts=3)
    assert list(manifests) == sorted(FEATURES)
    for name, manifest in manifests.items():
        assert manifest.stage == f"feature-{name}"
        assert manifest.counters == {"model_calls": 0}
        for part, scored in zip(manifest.parts, inputs.scored, strict=True):
            table = read_table(setting.storage, part.file("features.parquet"))
            assert [(field.name, field.type) for field in table.schema] == OPTIONAL_FEATURES[name]
            assert (part.index, table.num_rows) == (scored.index, scored.file("scored.parquet").rows)
        assert setting.progress.units[manifest.stage] == 72


def test_equal_bytes_whenever_and_on_however_many_threads(tmp_path):
    first, second = (everything(tmp_path / str(threads), 3, 2, threads)[2] for threads in (1, 2))
    assert checksums(first) == checksums(second)


def test_values_do_not_depend_on_partitions(tmp_path):
    made = [everything(tmp_path / f"{number}", *parts) for number, parts in enumerate([(1, 1), (2, 1), (5, 4)])]
    bytes_of = [checksums(manifests) for _, _, manifests in made[:2]]
    assert all(bytes_of[0][name] == bytes_of[1][name] for name in FEATURES if name != "duplicates")
    found = [{name: values(setting.storage, inputs, one) for name, one in manifests.items()} for setting, inputs, manifests in made]
    relations = []
    for one in found:
        cluster = {doc: number for (_, doc), number in one.pop("duplicates")["duplicate_cluster"].items()}
        relations.append({(a, b) for a in cluster for b in cluster if cluster[a] == cluster[b]})
    assert found[0] == found[1] == found[2]
    assert relations[0] == relations[1] == relations[2]
    assert len(relations[0]) > 40


def test_empty_tables_and_empty_partitions(tmp_path):
    setting = context(tmp_path)
    docs, queries, rows = collection()
    inputs = world(setting.storage, docs[:2], queries[:1], [], doc_parts=4, query_parts=2)
    for manifest in features(setting, {name: {} for name in FEATURES}, inputs).values():
        assert [part.file("features.parquet").rows for part in manifest.parts] == [0, 0]
    some = [row for row in rows if row["query_id"] == "q0"][:1]
    inputs = world(setting.storage, [doc for doc in docs if doc["doc_id"] == some[0]["doc_id"]], queries[:1], some, 4, 2)
    for manifest in features(setting, {name: {} for name in FEATURES}, inputs).values():
        assert sorted(part.file("features.parquet").rows for part in manifest.parts) == [0, 1]


def test_a_stage_that_two_features_share_runs_once(tmp_path):
    class Counting(Silent):
        finished = ()

        def finish(self, manifest, cached):
            self.finished = (*self.finished, (manifest.stage, cached))

    progress = Counting()
    setting = Context(open_storage(str(tmp_path)), lambda: InlineExecutor(1), progress)
    inputs = world(setting.storage, *collection())
    features(setting, {"duplicates": {}, "containment": {}}, inputs)
    names = ["signatures", "feature-containment", "feature-duplicates-clusters", "feature-duplicates"]
    assert progress.finished == tuple((name, False) for name in names)
    features(setting, {"containment": {}}, inputs)
    assert progress.finished[4:] == (("signatures", True), ("feature-containment", True))


def test_the_settings_are_in_the_key(tmp_path):
    setting = context(tmp_path)
    inputs = world(setting.storage, *collection())
    keys = {
        features(setting, {name: values}, inputs)[name].key
        for name, values in [
            ("answers", {}), ("answers", {"method": "regex"}), ("clusters", {"documents": 2}), ("clusters", {"documents": 3}),
            ("rank-weights", {}), ("rank-weights", {"degree": 1}),
        ]
    }  # fmt: skip
    assert len(keys) == 6


def test_unknown_features_and_settings_name_the_nearest():
    with pytest.raises(UsageError, match="there is no feature 'cluster'") as caught:
        check({"size": {}, "cluster": {}})
    assert caught.value.mend == "did you mean 'clusters'?"
    with pytest.raises(UsageError, match=r"features.clusters.document: there is no setting 'document' here: did you mean 'documents'"):
        check({"clusters": {"document": 3}})
    with pytest.raises(UsageError, match=r"features.clusters.documents: input should be greater than or equal to 1 \(given: 0\)"):
        check({"clusters": {"documents": 0}})
    with pytest.raises(UsageError, match=r"features.size.x: there is no setting 'x' here"):
        check({"size": {"x": 1}})


def test_rank_weights_need_a_dense_source(tmp_path):
    setting = context(tmp_path)
    inputs = world(setting.storage, *collection())
    with pytest.raises(UsageError, match="weighs dense ranks"):
        features(setting, {"rank-weights": {}}, type(inputs)(**{**vars(inputs), "sources": ["bm25"]}))


def test_definitions_import_nothing_heavy():
    heavy = "{'sklearn', 'scipy', 'torch', 'faiss', 'transformers', 'datasets', 'prefect', 'duckdb'}"
    code = f"import sys, tasks.features.task; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
