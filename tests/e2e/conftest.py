"""A small collection, a small cross-encoder, a Prefect server, and the command line as a user runs it."""

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
SUBJECTS = ["wing", "boundary layer", "shock wave", "heat shield", "propeller", "jet nozzle", "fuselage", "turbine blade"]
ASPECTS = ["pressure", "temperature", "drag", "stability", "vibration", "fatigue"]
VERBS = ["measured", "computed", "predicted"]


def write_collection(folder, positives_each=2):
    """A BEIR folder: 144 documents, 48 queries (subject × aspect), each with some of its three documents labelled."""
    folder.mkdir(parents=True)
    (folder / "qrels").mkdir()
    combinations = list(itertools.product(SUBJECTS, ASPECTS))
    with (
        gzip.open(folder / "corpus.jsonl.gz", "wt") as corpus,
        (folder / "queries.jsonl").open("w") as queries,
        (folder / "qrels" / "test.tsv").open("w") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for number, (subject, aspect) in enumerate(combinations):
            queries.write(json.dumps({"_id": f"q{number}", "text": f"how is the {aspect} of a {subject} found?"}) + "\n")
            for which, verb in enumerate(VERBS):
                name = f"d{number}-{which}"
                text = f"The {aspect} of the {subject} was {verb} in experiment {number} at {which + 2} speeds, and the {subject} held."
                corpus.write(json.dumps({"_id": name, "title": f"{subject} {verb}", "text": text}) + "\n")
                if which < positives_each:
                    qrels.write(f"q{number}\t{name}\t1\n")
    return folder


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory):
    """A cross-encoder of two layers with seeded weights: real files, quick to run."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    from tasks.models.location import packaged

    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(packaged(), num_labels=1, num_hidden_layers=2, initializer_range=0.2)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """A real Prefect server, so that each run need not start its own."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1)
            break
        except OSError:
            if process.poll() is not None:
                pytest.fail((home / "log").read_text()[-3000:])
            time.sleep(0.25)
    yield url
    process.terminate()
    process.wait(20)


class CommandLine:
    """``hardmine`` in a process of its own."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server

    @property
    def environment(self):
        """The environment of the next command."""
        own = {"PREFECT_HOME": str(self.folder / "prefect"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        return {**inherited, **own, **({"PREFECT_API_URL": self.server} if self.server else {})}

    def start(self, *arguments):
        """Start a command in a process group of its own, so that it can be killed with its workers."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )

    def __call__(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=280)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return out, err

    def json(self, *arguments):
        """The last line of standard output, parsed."""
        return json.loads(self(*arguments, "--json")[0].splitlines()[-1])

    def write(self, name="run.yaml", **settings):
        """A run.yaml in this folder."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(settings))
        return path


@pytest.fixture
def hardmine(tmp_path, prefect_server):
    return CommandLine(tmp_path, prefect_server)


@pytest.fixture
def hardmine_alone(tmp_path):
    """Without a Prefect server."""
    return CommandLine(tmp_path, None)


def round_settings(collection, cross_encoder=None, **changes):
    """Settings of a quick round over the small collection."""
    settings = {
        "root": "mining",
        "dataset": {"name": "small", "format": "beir", "path": str(collection), "near_duplicates": None},  # its queries are of one mould
        "model": {"path": "packaged", "max_length": 64, "dtype": "float32"},
        "retrieve": {"dense": {"top_k": 30}, "bm25": {"top_k": 20}},
        "recipe": "nv-retriever" if cross_encoder is None else {"name": "rocketqa", "depth": 20, "ceiling": 0.9, "backfill_depth": 30},
        "num_negatives": 3,
        "formats": ["triplet", "labeled-list"],
        "planted": 0,
        "seed": 1,
    }
    if cross_encoder is not None:
        settings["teacher"] = {"path": str(cross_encoder), "depth": 20, "max_length": 64, "dtype": "float32"}
    return {**settings, **changes}


def shard_bytes(folder):
    """Content of all files under a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
