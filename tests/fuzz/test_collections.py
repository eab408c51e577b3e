"""Collections of any bytes: bad rows are set aside by name, planted good rows all come out, and nothing but a named error stops a run."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.readers import arrow, delimited, jsonl
from tasks.corpus.readers.rows import Cursor, Dialect, shown
from tasks.errors import HardmineError, InputError
from tests.corpus.conftest import make_site, site  # noqa: F401
from tests.fuzz.material import FEW, MUCH, ODD_IDS, ODD_TEXTS, bad_lines, line_ends, odd_ids, odd_rows, odd_texts, spoilt, values

fault = pytest.mark.fault


def known(name, text):
    return json.dumps({"doc_id": name, "text": text}).encode()


@fault("bad rows in JSON lines", "any bytes, spoilt rows and odd values around planted good rows")
@MUCH
@given(around=st.lists(bad_lines | odd_rows, max_size=12), end=line_ends, every=st.integers(1, 4))
def test_json_lines_keep_every_good_row_among_any_others(make_site, around, end, every):  # noqa: F811
    site = make_site()  # noqa: F811
    lines, planted = [b""], {}  # a file is told by its first bytes: those of gzip are refused
    for number, line in enumerate([*around, b""]):
        lines.append(line)
        if number % every == 0 or number == len(around):
            planted[f"planted-{number}"] = f"good text {number}"
            lines.append(known(f"planted-{number}", f"good text {number}"))
    corpus = site.write("c.jsonl", end.join(lines))
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": ["planted-0"]}])
    dataset = site.ingest(corpus=corpus, queries=queries)
    kept = {row["doc_id"]: row["text"] for row in site.docs(dataset).to_pylist()}
    assert planted.items() <= kept.items()
    aside = site.rejected(dataset)
    blank = [line for number, line in enumerate(lines) if not (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).strip()]
    assert len(kept) + len(aside) == len(lines) - len(blank), "a row was neither kept nor set aside"
    assert all(row["line"] >= 1 and row["reason"] for row in aside)


@fault("any lines of text", "JSON lines, CSV and TSV of any bytes and line ends")
@MUCH
@given(lines=st.lists(bad_lines | odd_rows, max_size=10), end=line_ends, name=st.sampled_from(["a.jsonl", "a.csv", "a.tsv"]))
def test_any_lines_of_text_are_rows_or_a_named_error(tmp_path, lines, end, name):
    path = tmp_path / name
    path.write_bytes(end.join(lines))
    dialect = Dialect("\t" if name.endswith("tsv") else ",")
    try:
        for raw in (jsonl.read if name.endswith("jsonl") else delimited.read)(path, dialect, Cursor()):
            assert raw.line >= 1
            shown(raw).encode()
    except InputError as error:
        assert str(path) in error.message and error.mend


@fault("bad rows in CSV", "records that are not UTF-8, wrongly quoted, or of another width, around planted good ones")
@MUCH
@given(
    around=st.lists(
        st.sampled_from([b"\xff,x", b"a", b"a,b,c,d", b'"a"b,c', b"\0,\0", b"x" * 200_000 + b",y", b",", b"\xed\xa0\x80,y"]), max_size=10
    ),
    end=line_ends,
)
def test_csv_keeps_every_good_record(tmp_path, around, end):
    lines = [b"doc_id,text"]
    for number, line in enumerate(around):
        lines += [line, b'planted-%d,"good, text"' % number]
    path = tmp_path / "c.csv"
    path.write_bytes(end.join(lines))
    rows = list(delimited.read(path, Dialect(), Cursor()))
    assert len(rows) == 2 * len(around)
    good = {row.values["doc_id"] for row in rows if not row.reason}
    assert {f"planted-{number}" for number in range(len(around))} <= good


@st.composite
def binary_file(draw, ending):
    ids = draw(st.lists(odd_ids | st.integers(0, 9).map(str), min_size=1, max_size=5))
    table = pa.table({"doc_id": ids, "text": [f"t{number}" for number in range(len(ids))]})
    sink = io.BytesIO()
    if ending == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return draw(spoilt(sink.getvalue()))


@fault("damaged Parquet and Arrow files", "bytes of a collection cut, changed, inserted, doubled, dropped")
@MUCH
@given(data=st.data(), ending=st.sampled_from(["parquet", "arrow"]))
def test_spoilt_binary_files_are_rows_or_a_named_error(tmp_path, data, ending):
    path = tmp_path / f"c.{ending}"
    path.write_bytes(data.draw(binary_file(ending)))
    try:
        for raw in (arrow.read_parquet if ending == "parquet" else arrow.read_arrow)(path, Dialect(), Cursor()):
            shown(raw).encode()
    except InputError as error:
        assert str(path) in error.message and error.mend


@fault("ids that look like paths, SQL or markup", "documents and queries under 50 such ids")
def test_ids_are_kept_as_they_are_and_become_no_path(make_site):  # noqa: F811
    site = make_site()  # noqa: F811
    corpus = site.jsonl("c.jsonl", [{"doc_id": name, "text": f"text {number}"} for number, name in enumerate(ODD_IDS)])
    queries = site.jsonl(
        "q.jsonl", [{"query_id": name, "query": f"query {number}", "positive_ids": [name]} for number, name in enumerate(ODD_IDS)]
    )
    dataset = site.ingest(corpus=corpus, queries=queries, document_partitions=3, query_partitions=2)
    assert set(site.docs(dataset)["doc_id"].to_pylist()) == set(ODD_IDS)
    assert set(site.queries(dataset)["query_id"].to_pylist()) == set(ODD_IDS)
    assert {(row["query_id"], row["doc_id"]) for row in site.qrels(dataset).to_pylist()} == {(name, name) for name in ODD_IDS}
    root = site.data.parent / "root"
    written = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert not [path for path in written for name in ODD_IDS if len(name) > 3 and name in path]
    assert sorted(path.name for path in site.data.parent.iterdir()) == ["data", "root"], "something was written beside the root"


@fault("texts of any kind", "NULs, lone surrogates, 100 kB words, right-to-left, emoji, markup: kept or set aside with a reason")
def test_texts_of_any_kind_are_kept_or_set_aside(make_site):  # noqa: F811
    site = make_site()  # noqa: F811
    texts = [*ODD_TEXTS, "y" * 1_000_000, "long word " * 100_000]
    corpus = site.jsonl("c.jsonl", [{"doc_id": f"d{number}", "text": text} for number, text in enumerate(texts)])
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": [f"d{len(texts) - 1}"]}])
    dataset = site.ingest(corpus=corpus, queries=queries)
    kept = {row["doc_id"]: row["text"] for row in site.docs(dataset).to_pylist()}
    aside = site.rejected(dataset)
    assert len(kept) + len(aside) == len(texts)
    assert {row["reason"] for row in aside} == {"empty text"}
    for number, text in enumerate(texts):
        if text.strip("\0 \t\r\n\x0b\u2028") and "\0" not in text and text.isprintable():
            assert kept[f"d{number}"] == text


CASES = {
    "an empty corpus": ([], [{"query_id": "q", "query": "x", "positive_ids": ["d"]}]),
    "no queries": ([{"doc_id": "d", "text": "x"}], []),
    "queries without positives": ([{"doc_id": "d", "text": "x"}], [{"query_id": "q", "query": "x"}]),
    "positives that are nowhere": ([{"doc_id": "d", "text": "x"}], [{"query_id": "q", "query": "x", "positive_ids": ["e"]}]),
    "nothing but bad rows": ([{"doc_id": "", "text": "x"}, {"doc_id": "d"}], [{"query": "x"}]),
    "one document": ([{"doc_id": "d", "text": "x"}], [{"query_id": "q", "query": "x", "positive_ids": ["d"]}]),
    "ids given twice": (
        [{"doc_id": "d", "text": "x"}, {"doc_id": "d", "text": "y"}],
        [{"query_id": "q", "query": "x", "positive_ids": ["d"]}] * 2,
    ),
}


@fault("collections with little in them", "an empty corpus, no queries, no positives, one document, ids given twice")
@pytest.mark.parametrize("case", CASES)
def test_collections_with_little_in_them(make_site, case):  # noqa: F811
    site = make_site()  # noqa: F811
    corpus, queries = CASES[case]
    given = {"corpus": site.jsonl("c.jsonl", corpus), "queries": site.jsonl("q.jsonl", queries)}
    if case in ("one document", "ids given twice"):
        dataset = site.ingest(**given)
        assert site.docs(dataset).num_rows == site.queries(dataset).num_rows == site.qrels(dataset).num_rows == 1
        return
    with pytest.raises(InputError) as error:
        site.ingest(**given)
    assert error.value.mend


@fault("judgements of any values", "any ids and scores, NaN and infinite ones too, beside a good row")
@FEW
@given(rows=st.lists(st.fixed_dictionaries({"query-id": values, "corpus-id": values, "score": values}), max_size=6), text=odd_texts)
def test_qrels_of_any_values(make_site, rows, text):  # noqa: F811
    site = make_site()  # noqa: F811
    corpus = site.jsonl("c.jsonl", [{"doc_id": "sure", "text": "x"}, {"doc_id": "odd", "text": text}])
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x"}])
    qrels = site.jsonl("r.jsonl", [*rows, {"query-id": "q", "corpus-id": "sure", "score": 1}])
    dataset = site.ingest(corpus=corpus, queries=queries, qrels=qrels)
    assert ("q", "sure", 1) in {
        tuple(row.values())[:3] for row in site.qrels(dataset).select(["query_id", "doc_id", "relevance"]).to_pylist()
    }


@fault("pairs of any values", "anchors and positives of any values beside a good row")
@FEW
@given(rows=st.lists(st.fixed_dictionaries({"anchor": values, "positive": values}), max_size=6))
def test_pairs_of_any_values(make_site, rows):  # noqa: F811
    site = make_site()  # noqa: F811
    pairs = site.jsonl("p.jsonl", [*rows, {"anchor": "planted question", "positive": "planted answer"}])
    try:
        dataset = site.ingest(format="pairs", pairs=pairs)
    except HardmineError as error:
        pytest.fail(str(error))
    assert "planted answer" in site.docs(dataset)["text"].to_pylist()


@fault("odd ids and texts in CSV", "quotes, separators, right-to-left, emoji, markup")
@FEW
@given(rows=st.lists(st.tuples(odd_ids, odd_texts), min_size=1, max_size=8))
def test_csv_gives_back_odd_ids_and_texts(make_site, rows):  # noqa: F811
    site = make_site()  # noqa: F811
    unique = {name: text for name, text in rows if text.strip() and text.isprintable()} | {"sure": "x"}
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("doc_id", "text"), *unique.items()])
    queries = io.StringIO(newline="")
    csv.writer(queries).writerows([("query_id", "query", "positive_ids"), ("q", "x", "sure")])
    dataset = site.ingest(format="csv", corpus=site.write("c.csv", text.getvalue()), queries=site.write("q.csv", queries.getvalue()))
    assert {row["doc_id"]: row["text"] for row in site.docs(dataset).to_pylist()} == unique


@fault("damaged descriptions of a saved dataset", "state.json and dataset_dict.json of any values, cut, or nested without end")
@MUCH
@given(state=values, splits=values, cut=st.booleans())
def test_descriptions_of_saved_datasets_of_any_values(make_site, state, splits, cut):  # noqa: F811
    site = make_site()  # noqa: F811
    site.write("saved/train/state.json", json.dumps({"_data_files": state})[: -3 if cut else None].encode())
    site.write("saved/dataset_dict.json", json.dumps({"splits": splits}).encode())
    site.write("saved/train/README.md", "[" * 100_000)
    for path in (site.data / "saved", site.data / "saved/train"):
        with pytest.raises(HardmineError) as error:
            site.ingest(format="huggingface", path=str(path))
        assert error.value.mend
