import csv
import json

import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.review.cells import mask, unmask
from tasks.review.export import COLUMNS, EVIDENCE, export_review, manifest_path, rows_of
from tasks.review.labels import load_manifest, read_manifest
from tasks.review.sample import manifest_of, pair_id
from tasks.review.settings import ExportSettings
from tasks.store.keys import digest


def test_csv_is_for_spreadsheets(sample, origin, tmp_path):
    manifest = export_review(sample, origin, tmp_path / "r.csv")
    data = (tmp_path / "r.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfpair,label,note,query,positives,title,text,query_id,doc_id\r\n")
    rows = {(row["query_id"], row["doc_id"]): row for row in csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True))}
    assert rows["q1", "d1"] | {"pair": ""} == {
        "pair": "", "label": "", "note": "", "query": "'=SUM(A1)", "positives": "'+1\n\nx", "title": "", "text": 'one, "two"\nthree',
        "query_id": "q1", "doc_id": "d1",
    }  # fmt: skip
    assert rows["q1", "d2"]["text"] == "''=quoted"
    assert rows["'-q2", "'@d1"]["pair"] == pair_id(origin, "-q2", "@d1")
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows.values() for cell in row.values())
    assert load_manifest(tmp_path / "r.review.json") == manifest


def test_without_a_mark_and_as_json_lines(sample, origin, tmp_path):
    export_review(sample, origin, tmp_path / "plain.csv", ExportSettings(bom=False))
    assert (tmp_path / "plain.csv").read_bytes().startswith(b"pair,")
    export_review(sample, origin, tmp_path / "r.jsonl", ExportSettings(format="jsonl", evidence=True))
    rows = {row["doc_id"]: row for row in map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())}
    assert tuple(rows["d1"]) == COLUMNS + EVIDENCE
    assert rows["d1"]["query"] == "=SUM(A1)"
    assert rows["d1"]["positives"] == ["+1", "x"]
    assert (rows["d2"]["inclusion"], rows["d2"]["teacher_score"], rows["d2"]["recipes"]) == (0.5, None, ["b"])


def test_the_order_tells_nothing_and_the_names_stay(sample, origin, tmp_path):
    manifest = manifest_of(sample, origin)
    shuffled = sample.take([2, 0, 1])
    assert manifest_of(shuffled, origin).checksum == manifest.checksum
    rows = rows_of(sample, manifest, ExportSettings())
    assert rows == rows_of(shuffled, manifest_of(shuffled, origin), ExportSettings())
    assert [row["pair"] for row in rows] == sorted((one.pair for one in manifest.pairs), key=lambda pair: digest("order", 7, pair))
    again = origin.model_copy(update={"round": 4})
    assert not {one.pair for one in manifest_of(sample, again).pairs} & {one.pair for one in manifest.pairs}
    assert all(one.pair.startswith("p") and len(one.pair) == 17 for one in manifest.pairs)


def test_the_manifest_holds_the_draw(sample, origin, tmp_path):
    export_review(sample, origin, tmp_path / "r.csv")
    content = json.loads((tmp_path / "r.review.json").read_text())
    assert content["origin"] == {
        "dataset": "tiny", "round": 3, "candidate_set_id": "abc", "seed": 7, "budget": 3,
        "strata": [{"number": 0, "size": 10, "draws": 2}, {"number": 1, "size": 2, "draws": 1}],
        "selections": [
            {"selection_id": "id-a", "recipe": "a", "key": "key-a"}, {"selection_id": "id-b", "recipe": "b", "key": "key-b"},
        ],
    }  # fmt: skip
    assert content["pairs"][1] == {
        "pair": pair_id(origin, "q1", "d2"), "query_id": "q1", "doc_id": "d2", "stratum": 1, "inclusion": 0.5,
        "teacher_score": None, "dense_rank": None, "dense_score": None, "recipes": ["b"],
    }  # fmt: skip
    content["pairs"][1]["inclusion"] = 0.9
    (tmp_path / "r.review.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed since the export"):
        load_manifest(tmp_path / "r.review.json")
    (tmp_path / "r.review.json").write_text("{}")
    with pytest.raises(InputError, match="no manifest of a review"):
        load_manifest(tmp_path / "r.review.json")


def test_which_selections_it_was_drawn_from_is_sealed_too(sample, origin, tmp_path):
    export_review(sample, origin, tmp_path / "r.csv")
    content = json.loads((tmp_path / "r.review.json").read_text())
    content["origin"]["selections"][0]["key"] = "another"
    (tmp_path / "r.review.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed since the export"):
        load_manifest(tmp_path / "r.review.json")


def test_a_manifest_from_before_selections_were_listed(sample, origin, tmp_path):
    pairs = manifest_of(sample, origin).pairs
    stated = origin.model_dump(mode="json", exclude={"selections"})
    seal = digest("review", stated, [one.model_dump(mode="json") for one in sorted(pairs, key=lambda one: one.pair)])
    text = json.dumps({"origin": stated, "pairs": [one.model_dump(mode="json") for one in pairs], "checksum": seal})
    (tmp_path / "r.review.json").write_text(text)
    assert load_manifest(tmp_path / "r.review.json").origin.selections == ()


def test_a_manifest_is_found_beside_the_file(sample, origin, tmp_path):
    manifest = export_review(sample, origin, tmp_path / "r.csv")
    assert read_manifest(tmp_path / "r.tsv") == manifest
    assert read_manifest(tmp_path / "r by Anna.csv") == manifest
    export_review(sample, origin, tmp_path / "s.csv")
    assert read_manifest(tmp_path / "s.txt") == manifest
    with pytest.raises(InputError, match="there are 2 manifests"):
        read_manifest(tmp_path / "r by Anna.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "empty" / "r.csv")


def test_labels_are_never_overwritten(sample, origin, tmp_path):
    (tmp_path / "r.csv").write_text("labels")
    with pytest.raises(InputError, match="is there already"):
        export_review(sample, origin, tmp_path / "r.csv")
    (tmp_path / "r.csv").unlink()
    manifest_path(tmp_path / "r.csv").write_text("x")
    with pytest.raises(InputError, match="is there already"):
        export_review(sample, origin, tmp_path / "r.csv")


def test_long_texts_fit_a_cell(sample, origin):
    long = sample.set_column(4, "text", pa.array(["x" * 50_000, "y", "z"]))
    texts = {row["doc_id"]: row["text"] for row in rows_of(long, manifest_of(long, origin), ExportSettings())}
    assert texts["d1"] == "x" * 31_999 + "…"
    assert len(rows_of(long, manifest_of(long, origin), ExportSettings(max_text=0))[0]["text"]) in (1, 50_000)


def test_a_sample_must_fit_its_strata(sample, origin):
    with pytest.raises(InputError, match="'q1' with document 'd1' twice"):
        manifest_of(pa.concat_tables([sample, sample.slice(0, 1)]), origin)
    with pytest.raises(InputError, match="stratum 0 are not as many"):
        manifest_of(sample.slice(1), origin)
    with pytest.raises(InputError, match="stratum 1 are not as many"):
        manifest_of(sample, origin.model_copy(update={"strata": origin.strata[:1]}))
    with pytest.raises(InputError, match="no column recipes"):
        manifest_of(sample.drop_columns(["recipes"]), origin)


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1", "'=1"), ("+1", "'+1"), ("-", "'-"), ("@x", "'@x"), ("\tx", "'\tx"), ("\rx", "'\rx"), ("'=1", "''=1"), ("''@", "'''@")]
    + [(plain, plain) for plain in ("", "a=b", "'quoted'", "'", "1", " =1")],
)
def test_formulas_are_masked(text, cell):
    assert mask(text) == cell
    assert unmask(cell) == text
