"""``hardmine push``: the folder, its card, the upload to a hub on loopback, and what is said without one."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

from flows.cli import app
from flows.hub import Hub, HubError
from flows.push_card import Licence
from flows.pushing import check_push
from tasks.errors import UsageError


@pytest.fixture(scope="module")
def mined(pairs, model, root):
    from flows.drop_in import mine_hard_negatives

    dataset, corpus = pairs
    mine_hard_negatives(dataset, model, corpus=corpus, root=root, name="pushed", relative_margin=0.05, verbose=False)
    return root


def push(root, *arguments):
    result = CliRunner().invoke(app, ["push", "pushed/1", "--root", root, "--license", "cc-by-4.0", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_folder_has_what_the_card_says_and_load_dataset_reads_it(mined, tmp_path):
    from datasets import load_dataset

    folder = tmp_path / "out"
    push(mined, "--out", folder, "--format", "triplet", "--format", "ids", "--language", "en")
    card = DatasetCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert (card.data.license, card.data.language, card.data.size_categories) == ("cc-by-4.0", ["en"], ["n<1K"])
    configs = {one["config_name"]: one["data_files"][0]["path"] for one in card.data.to_dict()["configs"]}
    assert configs == {
        "triplet": "triplet/*.parquet",
        "triplet-sidecar": "triplet/sidecar/*.parquet",
        "ids": "ids/*.parquet",
        "ids-documents": "ids/lookup/documents.parquet",
        "ids-queries": "ids/lookup/queries.parquet",
        "ids-sidecar": "ids/sidecar/*.parquet",
    }
    for name in configs:
        assert len(load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path / "cache"))) > 0
    triplets = load_dataset(str(folder), "triplet", split="train", cache_dir=str(tmp_path / "cache"))
    assert triplets.column_names == ["anchor", "positive", "negative"]
    assert f"| rows of `triplet` | {len(triplets)} |" in card.text


def test_lines_of_json_are_a_repository_of_their_own(mined, tmp_path):
    from datasets import load_dataset

    push(mined, "--out", tmp_path / "out", "--format", "flagembedding")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert [one["config_name"] for one in card.data.to_dict()["configs"]] == ["flagembedding"]
    assert len(list((tmp_path / "out" / "flagembedding" / "sidecar").iterdir())) == len(
        list((tmp_path / "out/flagembedding").glob("*.jsonl"))
    )
    read = load_dataset(str(tmp_path / "out"), "flagembedding", split="train", cache_dir=str(tmp_path / "cache"))
    assert read.column_names == ["query", "pos", "neg", "pos_scores", "neg_scores", "prompt", "type"]
    with pytest.raises(UsageError, match="files of two kinds"):
        check_push("x/y", None, ["triplet", "flagembedding"], [])


def test_the_card_says_recipe_round_rates_and_licence_and_no_place_of_this_machine(mined, tmp_path):
    folder = tmp_path / "out"
    push(mined, "--out", folder)
    text = (folder / "README.md").read_text()
    for said in ("pushed/1", "sentence-transformers, 3 negatives", '"relative_margin"', "## False negatives", "## Licence", "`cc-by-4.0`"):
        assert said in text, said
    assert str(tmp_path) not in text
    assert mined not in text


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (None, "none"),
        ({"path": "/srv/models/reranker"}, "`reranker`"),
        (
            {"path": "a/b", "ensemble": [{"path": "./nli"}, {"path": "c/d", "adapter": "~/lora"}]},
            "the mean of `a/b`, `nli`, `c/d` with adapter `lora`",
        ),
        ({"train": {"body": "packaged"}, "ensemble": [{"path": "a/b"}]}, "the mean of trained in the run, from `packaged`, `a/b`"),
    ],
)
def test_the_card_names_all_teachers(mined, teacher, said):
    from flows.push_card import body
    from flows.stored import find_round
    from tasks.store.storage import open_storage

    record = find_round(open_storage(mined), "pushed/1")
    own = {"path": "/srv/retriever", "adapter": "/srv/lora"}
    record = record.model_copy(
        update={"settings": {**record.settings, "teacher": teacher, "model": own, "document_model": {"path": "x/y"}}}
    )
    text = body(record, record.selections[0], {}, Licence("mit"), {"triplet": 3})
    assert f"| teacher | {said} |" in text
    assert "| retriever | `retriever` with adapter `lora` |\n| encoder of documents | `x/y` |" in text
    assert "/srv" not in text


def test_rates_stand_with_their_intervals():
    from flows.push_card import _rates

    measures = {"estimates": {"review": [0.125, 0.09, 0.171, 2140, ""]}, "negatives": 5000}
    assert _rates(measures)[-1] == "| false negatives, by review | 12.5 % (9.0 – 17.1; 2,140 pairs) |"
    assert _rates({}) == ["No estimate: the selection was not measured."]


@pytest.mark.parametrize(
    ("licence", "message"),
    [
        (("CC BY 4.0",), "lower case"),
        (("other",), "says nothing by itself"),
        (("mit", "My own", "https://example.org"), "go with --license other"),
    ],
)
def test_licences_that_the_hub_would_not_take(licence, message):
    with pytest.raises(UsageError, match=message):
        Licence(*licence)
    assert Licence("other", "My own", "https://example.org").title == "My own"


@pytest.mark.parametrize(
    ("to", "formats", "languages", "message"),
    [
        (None, [], [], "nothing to push to"),
        ("x/y", ["trec-run"], [], "is no table"),
        ("x/y", ["tripelt"], [], "no format 'tripelt'"),
        ("x/y", [], ["English"], "no ISO 639 code"),
        ("just-a-name", [], [], "whose repository"),
        ("a/b/c", [], [], "a/b/c"),
    ],
)
def test_wrong_use_is_said_before_anything_is_written(to, formats, languages, message):
    with pytest.raises(UsageError, match=message):
        check_push(to, None, formats, languages)


def test_without_a_network_it_says_so_and_how_to_go_on(mined, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set") as offline:
        push(mined, "--to", "team/negatives", "--out", tmp_path / "out")
    assert "--out FOLDER" in offline.value.mend
    assert not (tmp_path / "out").exists()
    reach("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(HubError, match="cannot be reached") as gone:
        Hub.reached("team/negatives")
    assert "hf upload OWNER/NAME FOLDER" in gone.value.mend
    assert "hf_secret" not in f"{gone.value}{offline.value}"


def test_what_is_pushed_is_the_folder(mined, tmp_path, monkeypatch, loopback_hub):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    reach(loopback_hub.address, monkeypatch)
    result = push(mined, "--to", "team/negatives", "--out", tmp_path / "out", "--private", "--json")
    assert json.loads(result.stdout.splitlines()[-1])["pushed"].endswith("/commit/abc")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert loopback_hub.committed == files
    created = loopback_hub.created
    assert (created["name"], created["organization"], created["type"]) == ("negatives", "team", "dataset")
    assert created.get("private") is True or created["visibility"] == "private"
    assert loopback_hub.validated.startswith("---\n")


def test_the_hubs_no_is_told(mined, tmp_path, monkeypatch, loopback_hub):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    reach(loopback_hub.address, monkeypatch)
    loopback_hub.refuses = 'license "cc-by-4.0" is not known'
    with pytest.raises(HubError, match=r"does not take the card: .*is not known"):
        push(mined, "--to", "team/negatives")
    assert loopback_hub.committed == set()
    loopback_hub.token = "another"
    with pytest.raises((HubError, UsageError), match=r"401|token"):
        push(mined, "--to", "team/negatives")


def reach(address, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)


class LoopbackHub:
    """As much of the hub's interface as an upload asks, over HTTP."""

    def __init__(self):
        self.committed, self.created, self.validated, self.refuses, self.token = set(), {}, "", "", "hf_secret"
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self, b"")

            def do_POST(self):
                hub.answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, *_):
                """Nothing is logged."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request, content):
        path = request.path.split("?")[0]
        if path.endswith("/validate-yaml"):  # the one question that is asked without a token
            self.validated = json.loads(content)["content"]
            return self._send(request, 400 if self.refuses else 200, self.refuses or {})
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._send(request, 401, {"error": "Invalid credentials"})
        if path.endswith("/repos/create"):
            self.created = json.loads(content)
            return self._send(request, 200, {"url": f"{self.address}/datasets/team/negatives"})
        if "/preupload/" in path:
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(content)["files"]]
            return self._send(request, 200, {"files": files})
        if "/commit/" in path:
            lines = [json.loads(line) for line in content.splitlines()]
            self.committed = {line["value"]["path"] for line in lines if line["key"] == "file"}
            address = f"{self.address}/datasets/team/negatives/commit/abc"
            return self._send(request, 200, {"success": True, "commitUrl": address, "commitOid": "abc"})
        return self._send(request, 200, {"name": "me", "type": "user", "sha": "0", "id": "team/negatives", "siblings": []})

    @staticmethod
    def _send(request, status, content):
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        request.send_response(status)
        request.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


@pytest.fixture
def loopback_hub():
    hub = LoopbackHub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
