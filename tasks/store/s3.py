"""An S3 prefix as a storage root, by s3fs: one put a file, conditional puts for pointers.

Credentials come from the environment or the instance, never from settings. ``AWS_ENDPOINT_URL`` names another
S3 server than Amazon's.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from typing_extensions import override

from tasks.errors import StorageError
from tasks.store.explained import explained, mend_of
from tasks.store.keys import file_checksum
from tasks.store.seen import SeenFile
from tasks.store.storage import Storage

TIMEOUT = "HARDMINE_S3_TIMEOUT"  # seconds without a byte of an answer, after which a request is tried again
_WRITERS = 16  # moves of a pointer that it remembers
_CONFLICT = ("PreconditionFailed", "ConditionalRequestConflict", "pre-conditions", "internal error", "412", "409")


class S3Storage(Storage):
    """Objects under ``s3://bucket/prefix``. See :class:`tasks.store.storage.Storage`."""

    is_local = False

    def __init__(self, root: str) -> None:
        import s3fs

        self.root = root.rstrip("/")
        self._base = self.root.removeprefix("s3://")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options = {"endpoint_url": endpoint} if endpoint else {}
        patience = {
            "connect_timeout": 10,
            "read_timeout": float(os.environ.get(TIMEOUT) or 60),
            "retries": {"mode": "standard", "max_attempts": 6},
        }
        self._fs = s3fs.S3FileSystem(client_kwargs=options, config_kwargs=patience, use_listings_cache=False)
        self._cache = Path(tempfile.gettempdir()) / f"hardmine-{os.getuid()}" / "objects"
        with explained("write", self._cache):
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __reduce__(self) -> tuple[Any, ...]:
        return S3Storage, (self.root,)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _error(self, doing: str, name: str, error: Exception) -> StorageError:
        mend = "check the endpoint, the bucket and the credentials in the environment"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            mend = f"{self._cache.parent}: {mend_of(error)}"
        return StorageError(f"cannot {doing} {self.root}/{name}: {error}", mend)

    @override
    def read_bytes(self, name: str) -> bytes:
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            raise StorageError(f"{self.root}/{name} is missing", "run again: it is rebuilt from its inputs") from None
        except Exception as error:
            raise self._error("read", name, error) from error

    @override
    def put_file(self, name: str, local: Path) -> None:
        try:
            self._fs.put_file(str(local), self._path(name))
        except Exception as error:
            raise self._error("write", name, error) from error
        local.unlink(missing_ok=True)

    @override
    def put_bytes(self, name: str, data: bytes) -> None:
        try:
            self._fs.pipe_file(self._path(name), data)
        except Exception as error:
            raise self._error("write", name, error) from error

    @override
    def remove(self, name: str) -> None:
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass
        except Exception as error:
            raise self._error("delete", name, error) from error

    @override
    def set_aside(self, name: str) -> None:
        try:
            self._fs.mv(self._path(name), self._path(f"damaged/{name}"))
        except FileNotFoundError:
            pass
        except Exception as error:
            raise self._error("move", name, error) from error

    @override
    def size(self, name: str) -> int | None:
        try:
            return int(self._fs.info(self._path(name), refresh=True)["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._error("look at", name, error) from error

    @override
    def _names(self, prefix: str) -> list[str]:
        try:
            found = self._fs.find(self._path(prefix), refresh=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._error("list", prefix, error) from error
        return [path.removeprefix(f"{self._base}/") for path in found]

    @override
    def walk(self) -> list[SeenFile]:
        try:
            found = self._fs.find(self._base, detail=True, refresh=True)
        except Exception as error:
            raise self._error("list", "", error) from error
        return [
            SeenFile(
                name=path.removeprefix(f"{self._base}/"),
                size=int(info["size"]),
                mark=f"{info['ETag']} {info['LastModified'].timestamp()}",
                written=float(info["LastModified"].timestamp()),
            )
            for path, info in sorted(found.items())
            if path != self._base and not path.endswith("/")
        ]

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object that others wrote to a local file.

        Raises:
            StorageError: it is gone, or cannot be read.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._fs.get_file(self._path(name), str(target))
        except Exception as error:
            raise self._error("read", name, error) from error

    @override
    def checksum(self, name: str) -> str:
        fetched = self.scratch() / uuid.uuid4().hex
        try:
            self.fetch(name, fetched)
            return file_checksum(fetched)
        finally:
            fetched.unlink(missing_ok=True)

    @override
    def local_copy(self, name: str, size: int, checksum: str) -> Path:
        target = self._cache / checksum
        if not target.exists() or target.stat().st_size != size:
            fetched = self._cache / f".{uuid.uuid4().hex}"
            try:
                self._fs.get_file(self._path(name), str(fetched))
            except FileNotFoundError:
                raise StorageError(f"{self.root}/{name} is missing", "run again: it is rebuilt from its inputs") from None
            except Exception as error:
                raise self._error("read", name, error) from error
            fetched.replace(target)
        return target

    @override
    def scratch(self) -> Path:
        folder = self._cache.parent / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @override
    def read_pointer(self, name: str) -> tuple[bytes | None, str]:
        # The tag is read before the content: if somebody moves the pointer in between, the tag is old and a move by it fails.
        try:
            tag, writers = self._head(name)
            return bytes(self._fs.cat_file(self._path(name))), " ".join([tag, *writers])
        except FileNotFoundError:
            return None, ""
        except Exception as error:
            raise self._error("read", name, error) from error

    @override
    def move_pointer(self, name: str, data: bytes, token: str) -> bool:
        writer = uuid.uuid4().hex
        tag, *before = token.split() or [""]
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        known = " ".join([writer, *before][:_WRITERS])
        try:
            self._fs.call_s3("put_object", Body=data, Metadata={"writers": known}, **self._place(name), **condition)
        except Exception as error:
            if not isinstance(error, FileExistsError | FileNotFoundError) and not any(code in str(error) for code in _CONFLICT):
                raise self._error("write", name, error) from error
            # A put that was answered with an error and tried again finds its own first try in the way, or what others made of it since.
            try:
                return writer in self._head(name)[1]
            except FileNotFoundError:
                return False
        return True

    def _head(self, name: str) -> tuple[str, list[str]]:
        """A pointer's tag, and who moved it last, the newest first."""
        found = self._fs.call_s3("head_object", **self._place(name))
        return str(found["ETag"]), str(found.get("Metadata", {}).get("writers", "")).split()

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket(), "Key": self._object_key(name)}

    def _bucket(self) -> str:
        return self._base.split("/", 1)[0]

    def _object_key(self, name: str) -> str:
        return self._path(name).split("/", 1)[1]
