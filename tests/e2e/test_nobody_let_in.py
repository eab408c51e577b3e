"""A whole run with secrets in the environment and hostile texts in the collection: what is on the disk and on the terminal afterwards."""

import gzip
import json
import shutil

import pytest

from tests.e2e.conftest import CommandLine, round_settings

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-8f1d-secret", "AWS_SESSION_TOKEN": "session-77aa-secret", "HF_TOKEN": "hf_55bbsecret",
    "OPENAI_API_KEY": "sk-91c2-secret",
    "PREFECT_API_KEY": "pnu_33ddsecret", "HARDMINE_TEST_PASSWORD": "password-62ee-secret", "PGPASSWORD": "postgres-08ff-secret",
}  # fmt: skip
SCRIPT = "<script>alert('let in')</script>"


class Watched(CommandLine):
    @property
    def environment(self):
        return {**super().environment, **SECRETS, "TMPDIR": str(self.folder / "tmp"), "HARDMINE_CACHE": str(self.folder / "cache")}


@pytest.mark.slow
@pytest.mark.fault(
    "secrets in the environment, scripts in documents", "a whole run, its report, a failed run; all files and output are searched"
)
def test_no_secret_and_no_script_gets_out(tmp_path, collection):
    (tmp_path / "tmp").mkdir()
    beir = shutil.copytree(collection, tmp_path / "beir")
    rows = [json.loads(line) for line in gzip.decompress((beir / "corpus.jsonl.gz").read_bytes()).splitlines()]
    with gzip.open(beir / "corpus.jsonl.gz", "wt") as corpus:
        for row in rows:
            corpus.write(json.dumps({**row, "title": f"{SCRIPT} {row['title']}", "text": f"{row['text']} {SCRIPT}"}) + "\n")
    hardmine = Watched(tmp_path, None)
    told = [hardmine("mine", hardmine.write(**round_settings(beir)))]
    told.append(hardmine("report", "small/1", "--root", "mining", "--out", "report.html"))
    told.append(hardmine("evaluate", "small/1", "--root", "mining", "--set", "model.path=nowhere/at-all", code=2))
    told.append(hardmine("mine", hardmine.write("bad.yaml", **round_settings(beir, model={"path": "no/such-model"})), code=1))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "corpus.jsonl.gz"]
    assert any(path.suffix == ".db" for path in files), "the server's own database is among what is searched"
    assert len(files) > 60
    for name, secret in SECRETS.items():
        assert not [path for path in files if secret.encode() in path.read_bytes()], name
        assert secret not in str(told), name
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(&#39;let in&#39;)" in page
