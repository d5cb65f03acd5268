"""The run directory: every file a run leaves, its lock, its manifest, and what a changed recipe invalidates.

    recipe.yaml  manifest.json  problems.jsonl  rationales.jsonl  verdicts.jsonl  dropped.jsonl  examples.jsonl
    students/NAME/  predictions/NAME.jsonl  scores.json  report.html

A run is resumable after a kill at any moment: files that grow are appended line by line and read back by id, files
that are whole are replaced atomically, and a stage is `done` in the manifest only after its last line is on disk.
What to do in which order is decided in `potstill.pipeline`, not here.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, DataError, PotstillError, shorten
from potstill.files import Appender, drop_torn_line, read_records, write_atomic, write_records, writing
from potstill.records import SCHEMA_VERSION, R, Record, content_id

if TYPE_CHECKING:
    from potstill.pipeline import Outcome
    from potstill.recipe.whole import Recipe

PACKAGES = (
    "potstill",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "aiohttp",
    "pydantic",
    "math-verify",
    "ray",
)

FREE = ("problems", "verify", "filter", "examples", "evaluate")
"""Stages that buy nothing and train nothing."""


def run(
    recipe: Recipe | str | Path,
    run_dir: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    force: bool = False,
) -> Outcome:
    """Run all stages of a recipe and return the run with its scores.

    Args:
        recipe: A recipe, or the path of one.
        run_dir: The run directory (default `runs/<recipe name>`); an existing one resumes.
        overrides: `table.key=value` changes, applied to a recipe given by path.
        force: Redo what a changed recipe invalidates.

    Raises:
        PotstillError: As its subclasses say; everything done so far is kept and the same call resumes.
    """
    from potstill.pipeline import run_recipe

    return run_recipe(recipe, run_dir, overrides=overrides, force=force)


class Run:
    """One run directory, locked while it is open."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: Any = None
        self.manifest: dict[str, Any] = {}

    def __enter__(self) -> Run:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.manifest = read_manifest(self.folder)
        except PotstillError:
            self._lock.close()
            raise
        except OSError as cause:
            self._lock.close()
            message = f"{self.folder}: another process is writing this run; wait for it to end or choose another --run"
            raise DataError(message) from cause
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.close()

    def path(self, name: str) -> Path:
        """Return the path of a file of this run."""
        return self.folder / name

    def read(self, name: str, cls: type[R]) -> Iterator[R]:
        """Yield the records of a file; none if it does not exist yet. A line torn by a kill is cut off first."""
        path = self.path(name)
        if path.exists():
            drop_torn_line(path)
            yield from read_records(path, cls)

    def write(self, name: str, records: Iterable[Record]) -> int:
        """Replace a whole file of records; return how many."""
        return write_records(self.path(name), records)

    def appender(self, name: str) -> Appender:
        """Open a growing file of records."""
        return Appender(self.path(name))

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file."""
        write_atomic(self.path(name), json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Return a JSON file's value, or `None` if it does not exist."""
        path = self.path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether a stage has been completed with exactly this configuration and input."""
        return bool(self.manifest["stages"].get(stage, {}).get("done") == fingerprint)

    def begin(self, stage: str, fingerprint: str, files: Sequence[str]) -> None:
        """Start or resume a stage; what an earlier configuration wrote into its files is set aside first."""
        entry = self.manifest["stages"].get(stage)
        if entry is not None and entry.get("fingerprint") != fingerprint:
            self._set_aside(stage, files)
        if entry is None or entry.get("fingerprint") != fingerprint:
            self.manifest["stages"][stage] = {"fingerprint": fingerprint, "done": None}
        self.manifest["stages"][stage]["files"] = list(files)
        self.manifest["stages"][stage].setdefault("began", _now())
        self.write_manifest()

    def finish(self, stage: str, fingerprint: str, counts: Mapping[str, Any]) -> None:
        """Mark a stage done, with its counts."""
        entry = self.manifest["stages"][stage]
        entry.update(done=fingerprint, ended=_now(), counts=dict(counts))
        self.write_manifest()

    def stale(self, fingerprints: Mapping[str, str]) -> list[str]:
        """Return the stages that hold results of another configuration."""
        stages = self.manifest["stages"]
        return [name for name, mark in fingerprints.items() if name in stages and stages[name]["fingerprint"] != mark]

    def require_fresh(
        self,
        fingerprints: Mapping[str, str],
        *,
        force: bool,
        decided_before: Mapping[str, str] | None = None,
    ) -> None:
        """Raise `ConfigError` if a changed recipe would redo what cost something, unless forced.

        Stages that buy nothing and train nothing (problems, verdicts, filter, examples, scores) are simply redone, as
        is a stage that has not written anything yet.

        Args:
            decided_before: What the fingerprints would be by the decisions in `review.jsonl` that this run was made
                with; `None`: they are the same. It tells whether the recipe is to blame.
        """
        stale = self.stale(fingerprints)
        if not force and any(self._holds_work(name) for name in stale):
            changed = "the recipe has"
            if decided_before is not None:
                decided = "what people decided in review.jsonl"
                changed = f"the recipe and {decided} have" if self.stale(decided_before) else f"{decided} has"
            message = (
                f"{self.folder}: {changed} changed since this run was made; that invalidates: {', '.join(stale)}. "
                "Use --force to redo them (bought completions stay in the ledger), or another --run"
            )
            raise ConfigError(message)

    def _holds_work(self, stage: str) -> bool:
        """Whether redoing a stage would throw away what was bought, trained or predicted."""
        if stage.split("/")[0] in FREE:
            return False
        files = self.manifest["stages"][stage].get("files")
        return files is None or any(_holds_something(self.path(name)) for name in files)

    def describe(self, recipe_text: str, **facts: Any) -> None:
        """Write the resolved recipe and the facts about this environment into the manifest."""
        write_atomic(self.path("recipe.yaml"), recipe_text)
        self.manifest.update(environment(), **facts)
        self.write_manifest()

    def write_manifest(self) -> None:
        """Replace `manifest.json`."""
        self.write_json("manifest.json", self.manifest)

    def _set_aside(self, stage: str, files: Iterable[str]) -> None:
        folder = self.path(f"superseded/{stage.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        for name in files:
            source = self.path(name)
            if source.exists():
                with writing(folder):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    source.replace(folder / name)


def _holds_something(path: Path) -> bool:
    """Whether a file has content, or a student's folder, or its unfinished one, any file."""
    if path.is_file():
        return path.stat().st_size > 0
    folders = (path, path.with_name(f".{path.name}.partial"))
    return any(part.is_file() for folder in folders for part in folder.rglob("*"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a run's manifest; a new one where there is none.

    Raises:
        DataError: It is damaged, or of a schema that this version does not read.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return {"schema_version": SCHEMA_VERSION, "created": _now(), "stages": {}}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        message = f"{path}: cannot be read ({shorten(cause, 80)}); restore it or start another --run"
        raise DataError(message) from cause
    found = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if found != SCHEMA_VERSION:
        message = (
            f"{path}: schema version {found!r}; this potstill reads {SCHEMA_VERSION}; use the version that made the run"
        )
        raise DataError(message)
    return manifest  # type: ignore[no-any-return]


def environment() -> dict[str, Any]:
    """Return versions, git revision and host, as the manifest keeps them."""
    return {
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "host": {"system": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "git": _git_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def chain(stages: Iterable[tuple[str, Any]], start: str = "") -> dict[str, str]:
    """Return each stage's fingerprint: a hash of its configuration and of everything before it."""
    marks: dict[str, str] = {}
    for name, config in stages:
        start = marks[name] = content_id(start, name, config)
    return marks


def read_text_if(path: Path, make: Callable[[], str]) -> str:
    """Return a file's text, or `make()` if it does not exist."""
    return path.read_text(encoding="utf-8") if path.exists() else make()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
