"""The smaller commands, as a user runs them."""

import json
import subprocess
import sys
import urllib.request

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import round_settings


@pytest.fixture(scope="module")
def mined(tmp_path_factory, prefect_server, collection):
    from tests.e2e.conftest import CommandLine

    hardmine = CommandLine(tmp_path_factory.mktemp("commands"), prefect_server)
    hardmine.json("mine", hardmine.write(**round_settings(collection)))
    return hardmine


def test_ingest_reads_and_counts_without_models(mined, collection):
    facts = mined.json("ingest", mined.write("other.yaml", **round_settings(collection, root="other")))
    assert (facts["documents"], facts["queries"], facts["rejected"]) == (144, 48, 0)
    assert not (mined.folder / "other/manifests/embed-documents").exists()


def test_bad_rows_are_counted_and_too_many_stop_the_run_with_the_first_ten(mined, collection, tmp_path):
    import shutil

    shutil.copytree(collection, tmp_path / "beir")
    with (tmp_path / "beir/queries.jsonl").open("a") as queries:
        queries.write('{"_id": "x", "text": "unfinished\n')
        queries.write("".join(f'{{"_id": "empty{n}", "text": ""}}\n' for n in range(20)))
    run = mined.write("bad.yaml", **round_settings(tmp_path / "beir", root="bad"))
    _, err = mined("ingest", run, code=1)
    assert "queries.jsonl:49" in err
    assert err.count("queries.jsonl:") == 10
    assert "Traceback" not in err
    facts = mined.json("ingest", run, "--set", "dataset.max_rejected=0.5")
    assert facts["rejected"] >= 1
    assert facts["queries"] == 48


def test_sql_outputs(mined, tmp_path):
    query = "SELECT decision, count(*) AS n FROM decisions GROUP BY 1 ORDER BY 1"
    rows = json.loads(mined("sql", query, "--format", "json")[0])
    csv = mined("sql", query, "--format", "csv")[0]
    assert csv.splitlines()[0].replace('"', "") == "decision,n"
    assert len(csv.splitlines()) == len(rows) + 1
    mined("sql", query, "--format", "parquet", "--out", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == rows
    assert "negative" in mined("sql", query)[0]
    assert "give one SELECT" in mined("sql", "DROP TABLE decisions", code=2)[1]
    assert "--out" in mined("sql", query, "--format", "parquet", code=2)[1]


def test_sql_prompt(mined):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "sql"],
        input="SELECT count(*) AS candidates\nFROM candidates;\nSELECT nothing;\nSELECT 42 AS answer;\n",
        cwd=mined.folder, env=mined.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "candidates" in done.stdout
    assert "nothing" in done.stdout
    assert "42" in done.stdout


def test_doctor(mined):
    findings = {finding["what"]: finding for finding in mined.json("doctor")}
    assert findings["duckdb"]["state"] == "ok"
    assert findings["packaged model"]["state"] == "ok"
    assert "conditional puts honoured" in findings["storage root"]["detail"]
    assert "cores" in findings["cpu"]["detail"]
    (mined.folder / "file").write_text("")
    failed = json.loads(mined("doctor", "--root", "file", "--json", code=1)[0])
    assert any(finding["state"] == "failed" and "file" in finding["detail"] for finding in failed)


def test_the_run_and_its_progress_are_in_prefect(mined, prefect_server):
    def ask(path, body):
        request = urllib.request.Request(f"{prefect_server}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=20))

    flows = ask("flow_runs/filter", {"flow_runs": {"name": {"any_": ["mine-small"]}}})
    assert any(run["state_type"] == "COMPLETED" for run in flows)
    names = {run["name"].split(", ")[0] for run in ask("task_runs/filter", {"limit": 200})}
    assert {"ingest", "embed-documents", "candidates", "select", "gate", "shards"} <= names
    artifacts = ask("artifacts/filter", {"artifacts": {"type": {"any_": ["progress"]}}})
    assert {"progress-embed-documents", "progress-select"} <= {artifact["key"] for artifact in artifacts}
    assert all(artifact["data"] == 100.0 for artifact in artifacts if artifact["key"] == "progress-shards")
