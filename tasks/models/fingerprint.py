"""A model's identity: everything that decides its output, and nothing else. No torch is imported here."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.models import causal_prompt
from tasks.models.hardware import resolve_backend, resolve_device, resolve_dtype
from tasks.models.location import locate, locate_adapter
from tasks.models.settings import ModelSettings, TeacherSettings, TeacherTraining
from tasks.models.stored import is_reference, model_files, stored_part
from tasks.remote.settings import RemoteSettings
from tasks.store.keys import digest, file_checksum
from tasks.store.manifest import Part
from tasks.store.storage import Storage

_LATER = {"label", "causal"}  # fields that a fingerprint has only where they are set
_DEFAULT_TOKENS = {"cpu": 1024, "cuda": 16_384}
_OTHER_SUFFIXES = {
    ".md",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".tflite",
    ".png",
    ".csv",
    ".log",
    ".bin",
    ".pt",
    ".pth",
    ".gitattributes",
    ".lock",
}
_OTHER_FOLDERS = {"onnx", "openvino", "runs", "eval", "__pycache__"}
_OTHER_NAMES = {".gitattributes", ".gitignore", "README", "LICENSE", "trainer_state.json", "_SUCCESS"}


class ModelSpec(BaseModel):
    """How to load and run a model: JSON that crosses process borders.

    ``path``, ``adapter`` and their revisions say where it is and are no part of the identity; ``weights`` says what it is, adapter and all.
    ``batch_tokens`` and ``device`` are part of it: kernels that are chosen by a batch's shape differ in the last bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    revision: str | None = None
    trust_remote_code: bool = False
    weights: str
    prompt: str = ""
    title_template: str = "{text}"
    max_length: int
    dtype: str
    device: str
    batch_tokens: int
    truncate_dim: int | None = None
    similarity: str = "none"
    backend: str = "torch"
    adapter: str | None = None
    adapter_revision: str | None = None
    label: str | int | None = None
    causal: dict[str, str] | None = None
    remote: RemoteSettings | None = None  # where it is served; ``weights`` holds its name and declared revision then

    @property
    def fingerprint(self) -> str:
        """32 hex digits: the same for equal content wherever it lies."""
        found = self.model_dump(mode="json", exclude={"path", "revision", "trust_remote_code", "adapter", "adapter_revision", "remote"})
        return digest({name: value for name, value in found.items() if name not in _LATER or value is not None})


def folder_digest(folder: Path) -> str:
    """Digest of the names and contents of a model folder's files that matter.

    Weights, adapter, tokenizer, configurations, pooling and code count; read-me files, pickles, training state and
    other backends' files do not. The folder's own name and place do not.
    """
    files = sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    return digest([[name, _checksum(file)] for name, file in files if matters(Path(name))])


def _checksum(file: Path) -> str:
    """A file's checksum, read once a process unless the file was written meanwhile."""
    seen = file.stat()
    return _known_checksum(file, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


@lru_cache(maxsize=4096)
def _known_checksum(file: Path, *_: int) -> str:
    return file_checksum(file)


def part_digest(part: Part) -> str:
    """:func:`folder_digest` of a model in the root, as its manifest has it: no file is read."""
    return digest([[name, record.checksum] for name, record in sorted(model_files(part).items()) if matters(Path(name))])


def weights_of(
    path: str,
    revision: str | None = None,
    storage: Storage | None = None,
    adapter: str | None = None,
    adapter_revision: str | None = None,
) -> str:
    """The digest of the model that ``path`` names, with its adapter.

    Args:
        path: what :func:`tasks.models.location.locate` takes, or a name of :mod:`tasks.models.stored`.
        revision: of a hub model.
        storage: the root, for such a name.
        adapter: what :func:`tasks.models.location.locate_adapter` takes; none: there is none.
        adapter_revision: of a hub adapter.

    Raises:
        ModelError: there is no such model or adapter.
    """
    base = part_digest(stored_part(storage, path)) if is_reference(path) else folder_digest(locate(path, revision))
    return base if adapter is None else digest([base, folder_digest(locate_adapter(adapter, adapter_revision))])


def remote_weights(name: str, remote: RemoteSettings) -> str:
    """What stands for the weights of a model behind an endpoint: its name there and its declared revision."""
    return digest("remote", name, remote.revision)


def matters(name: Path) -> bool:
    """Whether a file of a model's folder, by its name there, is part of the model's identity."""
    folders = name.parts[:-1]
    if any(part in _OTHER_FOLDERS or part.startswith((".", "checkpoint-")) for part in folders):
        return False
    return name.suffix not in _OTHER_SUFFIXES and name.name not in _OTHER_NAMES


def document_spec(settings: ModelSettings, storage: Storage | None = None) -> ModelSpec:
    """The retriever as it embeds documents; ``storage``: the root, where the model may lie in it."""
    return _embedder(settings, settings.document_prompt, settings.title_template, storage)


def query_spec(settings: ModelSettings, storage: Storage | None = None) -> ModelSpec:
    """The retriever as it embeds queries (they have no title); ``storage``: the root, where the model may lie in it."""
    return _embedder(settings, settings.query_prompt, "{text}", storage)


def teacher_spec(settings: TeacherSettings, folder: Path | None = None, storage: Storage | None = None) -> ModelSpec:
    """The cross-encoder: of ``settings.path``, or of the folder that a training stage wrote; ``storage``: where it may lie in the root.

    Raises:
        ModelError: there is no such model.
    """
    path = str(folder) if folder is not None else str(settings.path)
    if settings.remote is not None and folder is None:
        return _served(path, settings.remote, settings.prompt, settings.title_template)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    return ModelSpec(
        path=path,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        weights=weights_of(path, settings.revision, storage, settings.adapter, settings.adapter_revision),
        adapter=settings.adapter,
        adapter_revision=settings.adapter_revision,
        label=settings.label,
        causal=_causal(settings, path) if settings.causal else None,
        prompt=settings.prompt,
        title_template=settings.title_template,
        max_length=settings.max_length,
        dtype=dtype,
        device=device,
        batch_tokens=settings.batch_tokens or _DEFAULT_TOKENS[device],
        backend=resolve_backend(settings.backend, device, dtype),
    )


def _causal(settings: TeacherSettings, path: str) -> dict[str, str]:
    """A language model's prompt; what cannot be asked with it is refused here, before a model runs."""
    assert settings.causal is not None
    folder = locate(path, settings.revision)
    found = causal_prompt.resolved(settings.causal, folder, path)
    causal_prompt.check(found, folder, settings.max_length, path)
    return found


def body_spec(settings: TeacherTraining, storage: Storage | None = None) -> ModelSpec:
    """The encoder that a teacher is trained from. Training runs on the CPU or the GPU that ``auto`` finds."""
    device = resolve_device("auto")
    return ModelSpec(
        path=settings.body,
        revision=settings.revision,
        weights=weights_of(settings.body, settings.revision, storage),
        max_length=settings.max_length,
        dtype=resolve_dtype(settings.dtype, device),
        device=device,
        batch_tokens=_DEFAULT_TOKENS[device],
    )


def _served(path: str, remote: RemoteSettings, prompt: str, template: str, dim: int | None = None, similarity: str = "none") -> ModelSpec:
    """A model behind an endpoint: what decides how it is run is decided there."""
    return ModelSpec(
        path=path,
        weights=remote_weights(path, remote),
        prompt=prompt,
        title_template=template,
        max_length=0,
        dtype="remote",
        device="remote",
        batch_tokens=0,
        truncate_dim=dim,
        similarity=similarity,
        backend="remote",
        remote=remote,
    )


def _embedder(settings: ModelSettings, prompt: str, template: str, storage: Storage | None) -> ModelSpec:
    if settings.remote is not None:
        return _served(settings.path, settings.remote, prompt, template, settings.truncate_dim, settings.similarity)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    return ModelSpec(
        path=settings.path,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        weights=weights_of(settings.path, settings.revision, storage, settings.adapter, settings.adapter_revision),
        adapter=settings.adapter,
        adapter_revision=settings.adapter_revision,
        prompt=prompt,
        title_template=template,
        max_length=settings.max_length,
        dtype=dtype,
        device=device,
        batch_tokens=settings.batch_tokens or _DEFAULT_TOKENS[device],
        truncate_dim=settings.truncate_dim,
        similarity=settings.similarity,
        backend=resolve_backend(settings.backend, device, dtype),
    )
