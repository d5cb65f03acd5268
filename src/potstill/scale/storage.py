"""A run directory kept on shared storage: any file system that fsspec knows (a folder, NFS, S3 and its like).

    run directory ─► lines, by content id, into shards ─► objects (never rewritten) ─► index.json (replaced last)

The working copy stays on this machine, and so does the ledger. A commit writes what is new as further objects and then
replaces one small file that names them all: a reader, or a kill, sees the old run or the new, never a part. Lines of a
file that grows are divided by their id, not by who wrote them, so the number of workers may change between resumptions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, DataError, MissingExtraError, boundary, require_extra, shorten
from potstill.files import write_atomic
from potstill.messages import say

SHARDS = 16
MARK = ".storage.json"
"""In the working copy: which state of the storage it is."""
SCHEMA = 1


@contextmanager
def kept(storage: str | None, folder: str | Path, *, every_s: float = 60.0) -> Iterator[None]:
    """Keep a run directory on shared storage while the block runs: fetched before, committed now and then, and after.

    Args:
        storage: An address such as s3://bucket/runs/mine or a folder; `None`: nothing is done.

    Raises:
        ConfigError: The address cannot be used, or not written.
        DataError: Another process has gone on with this run there.
    """
    if storage is None:
        yield
        return
    store = Store(storage, Path(folder))
    store.require_writable()
    store.fetch()
    stop = threading.Event()
    thread = threading.Thread(target=_commit_on, args=(store, stop, every_s), name="potstill-storage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.commit()


def _commit_on(store: Store, stop: threading.Event, every_s: float) -> None:
    while not stop.wait(every_s):
        try:
            store.commit()
        except (DataError, OSError) as error:  # the last commit raises it; until then the work is safe here
            say("storage", shorten(error))


class Store:
    """One run on shared storage, and its working copy."""

    def __init__(self, address: str, folder: Path) -> None:
        require_extra("fsspec", "ray")
        import fsspec

        self.address = address.rstrip("/")
        self.folder = folder
        self._index: dict[str, Any] = {"schema": SCHEMA, "id": "", "files": {}}
        self._known: dict[str, tuple[int, int]] = {}
        """Whole files as they were committed: name -> (size, time of change)."""
        self._lock = threading.Lock()
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.address)
        except ImportError as cause:
            message = f"ray.storage: {shorten(cause)}; the file system of {address} needs it: pip install s3fs for S3"
            raise MissingExtraError(message) from cause
        except (ValueError, OSError) as cause:
            message = f"ray.storage: {address} cannot be used ({shorten(cause)}); give a folder or s3://BUCKET/PATH"
            raise ConfigError(message) from cause

    def require_writable(self) -> None:
        """Raise `ConfigError` unless a file can be written, read and removed there."""
        where = (
            f"ray.storage: {self.address} cannot be written; give an address that you may write, or take the line out"
        )
        try:
            with boundary(ConfigError, where):
                self._write("probe", b"1")
                self._fs.rm_file(f"{self._root}/probe")
        except DataError as cause:
            message = f"{where}: {cause}"
            raise ConfigError(message) from cause

    def fetch(self) -> None:
        """Bring the working copy to the state of the storage, unless it is that already.

        Raises:
            DataError: Both have gone on since they were the same.
        """
        found = self._read_index()
        mark = self.folder / MARK
        states = json.loads(mark.read_text(encoding="utf-8"))["states"] if mark.exists() else []
        self._index = found
        if found["id"] in states or not found["files"]:
            return
        if (self.folder / "manifest.json").exists():
            message = (
                f"ray.storage: {self.address} has been gone on with elsewhere since {self.folder} was its copy; "
                "give a new --run, which begins from there, or another storage"
            )
            raise DataError(message)
        for name, entry in found["files"].items():
            self._restore(name, entry)
        self._mark(found["id"])
        say("storage", f"{len(found['files'])} files fetched from {self.address}")

    def commit(self) -> int:
        """Write what is new since the last commit; return how many objects that were.

        Raises:
            DataError: Another process writes this run there.
        """
        with self._lock:
            if self._read_index()["id"] != self._index["id"]:
                message = (
                    f"ray.storage: another process has written {self.address} meanwhile; let it end, or give another "
                    "storage"
                )
                raise DataError(message)
            files: dict[str, Any] = {}
            count = 0
            for name, path in sorted(self._local()):
                before = self._index["files"].get(name)
                files[name], new = self._rows(name, path, before) if _grows(name) else self._whole(name, path, before)
                count += new
            if files == self._index["files"]:
                return 0
            index: dict[str, Any] = {"schema": SCHEMA, "id": uuid.uuid4().hex, "files": files}
            self._mark(self._index["id"], index["id"])  # before: a kill in between must not look like another writer
            self._write("index.json", json.dumps(index).encode())
            self._index = index
            self._sweep()
            return count

    def _local(self) -> Iterator[tuple[str, Path]]:
        """Yield the files of the working copy that belong to the run."""
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            if path.is_file() and name not in (".lock", MARK) and not name.endswith(".partial"):
                yield name, path

    def _rows(self, name: str, path: Path, before: Mapping[str, Any] | None) -> tuple[dict[str, Any], int]:
        """Write the lines that a growing file has gained; all of them where it is not what it was."""
        data = path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        size = before["size"] if before is not None and before["kind"] == "rows" else 0
        if before is None or size > len(data) or hashlib.sha256(data[:size]).hexdigest() != before.get("digest"):
            size, segments = 0, []
        else:
            segments = list(before["segments"])
        shards: dict[int, list[bytes]] = {}
        for line in data[size:].splitlines(keepends=True):
            shards.setdefault(shard_of(line), []).append(line)
        for shard, lines in sorted(shards.items()):
            content = gzip.compress(b"".join(sorted(lines)), mtime=0)
            segments.append([shard, self._object(content, f"{name}/{shard:02d}", ".jsonl.gzip")])
        digest = hashlib.sha256(data).hexdigest()
        return {"kind": "rows", "size": len(data), "digest": digest, "segments": segments}, len(shards)

    def _whole(self, name: str, path: Path, before: Mapping[str, Any] | None) -> tuple[dict[str, Any], int]:
        """Write a file that is replaced as a whole, if it has changed."""
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns)
        if before is not None and before["kind"] == "whole" and self._known.get(name) == state:
            return dict(before), 0
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[name] = state
        target = f"objects/{name}/{digest[:32]}"
        if before is not None and before.get("object") == target:
            return dict(before), 0
        self._fs.makedirs(f"{self._root}/{Path(target).parent}", exist_ok=True)
        self._fs.put_file(str(path), f"{self._root}/{target}")
        return {"kind": "whole", "object": target}, 1

    def _restore(self, name: str, entry: Mapping[str, Any]) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry["kind"] == "whole":
            self._fs.get_file(f"{self._root}/{entry['object']}", str(target))
            stat = target.stat()
            self._known[name] = (stat.st_size, stat.st_mtime_ns)
            return
        parts = [gzip.decompress(self._fs.cat_file(f"{self._root}/{part}")) for _, part in entry["segments"]]
        data = b"".join(parts)
        if len(data) != entry["size"]:
            message = f"ray.storage: {self.address}: {name} has {len(data)} bytes of {entry['size']}; it is damaged"
            raise DataError(message)
        write_atomic(target, data)
        # Lines come back in the order of shards: what is committed from here on is told apart by this digest.
        entry["digest"] = hashlib.sha256(data).hexdigest()  # type: ignore[index]

    def _object(self, content: bytes, where: str, suffix: str) -> str:
        target = f"objects/{where}/{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
        self._write(target, content)
        return target

    def _write(self, name: str, content: bytes) -> None:
        """Replace one object in one step: a rename in a folder, a PUT elsewhere."""
        path = f"{self._root}/{name}"
        if "file" in self._protocols():
            write_atomic(path, content)
        else:
            self._fs.pipe_file(path, content)

    def _protocols(self) -> tuple[str, ...]:
        found = self._fs.protocol
        return (found,) if isinstance(found, str) else tuple(found)

    def _read_index(self) -> dict[str, Any]:
        self._fs.invalidate_cache()
        try:
            found: dict[str, Any] = json.loads(self._fs.cat_file(f"{self._root}/index.json"))
        except FileNotFoundError:
            return {"schema": SCHEMA, "id": "", "files": {}}
        except ValueError as cause:
            message = f"ray.storage: {self.address}/index.json is not readable ({shorten(cause, 80)}); restore it"
            raise DataError(message) from cause
        if found.get("schema") != SCHEMA:
            message = f"ray.storage: {self.address} is of schema {found.get('schema')}; this potstill reads {SCHEMA}"
            raise DataError(message)
        return found

    def _mark(self, *states: str) -> None:
        write_atomic(self.folder / MARK, json.dumps({"storage": self.address, "states": states}))

    def _sweep(self) -> None:
        """Remove objects that no index names any more."""
        named = {entry["object"] for entry in self._index["files"].values() if entry["kind"] == "whole"}
        named |= {part for entry in self._index["files"].values() for _, part in entry.get("segments", ())}
        root = self._root.rstrip("/")
        for path in self._fs.find(f"{root}/objects"):
            if path.removeprefix(root).lstrip("/") not in named:
                self._fs.rm_file(path)


def _grows(name: str) -> bool:
    return name.endswith(".jsonl")


def shard_of(line: bytes) -> int:
    """Return the shard of a line: by its id, or that of the rationale that it is about; else by its content."""
    row = json.loads(line)
    own = row.get("id") or row.get("rationale_id")
    digest = hashlib.sha256(own.encode() if isinstance(own, str) else line).digest()
    return digest[0] % SHARDS
