"""Programs without their names: equal for two programs that differ only in names, layout, comments and docstrings.

Comparing programs needs their syntax trees, and a parser can be made to exhaust the process that it runs in. So the
sources travel into the sandbox as data, many at a time, and a program of ours parses them there. One that kills the
parser takes its batch with it; the others of the batch are then asked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from potstill.messages import say
from potstill.recipe.rationales import SandboxConfig
from potstill.sandbox.running import Sandbox

BATCH_PROGRAMS, BATCH_BYTES = 64, 100_000
_NONE = "-"
_READER = """
import ast

class Renamer(ast.NodeTransformer):
    def __init__(self, bound):
        self.names = {}
        self.bound = bound

    def new(self, name):
        return self.names.setdefault(name, "_%d" % len(self.names)) if name in self.bound else name

    def generic_visit(self, node):
        for field in ("id", "arg", "asname", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not (field == "name" and isinstance(node, ast.alias)):
                setattr(node, field, self.new(name))
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [self.new(name) for name in node.names]
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not is_remark(each)] or [ast.Pass()]
        return super().generic_visit(node)

def is_remark(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

def bound_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)):
            yield node.name

def form(source):
    try:
        tree = ast.parse(source)
        text = ast.dump(Renamer(set(bound_names(tree))).visit(tree), annotate_fields=False)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "-"
    return "%x.%x" % (hash(text) & (2**64 - 1), len(text))

ans = " ".join([form(bytes.fromhex(source).decode("utf-8", "surrogatepass")) for source in SOURCES])
"""
"""Hash seed 0 and one interpreter make `hash` the same for every batch; nothing is imported but `ast`."""


def canonical_forms(programs: Sequence[str], config: SandboxConfig | None = None) -> list[str | None]:
    """Return for each program a text that two programs share only if they differ in names, layout and comments alone.

    Only names that a program binds itself are replaced, each by the number of its first appearance. `None` where a
    program does not parse, or where this machine cannot run the reader (which is said once).

    Raises:
        SandboxError: No tier of the sandbox can run here at all.
    """
    found: list[str | None] = []
    with Sandbox(config) as sandbox:
        for batch in _batches(programs):
            found += _read(batch, sandbox)
    return found


def _batches(programs: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for program in programs:
        if batch and (len(batch) >= BATCH_PROGRAMS or size + len(program) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(program)
        size += len(program)
    if batch:
        yield batch


def _read(batch: list[str], sandbox: Sandbox) -> list[str | None]:
    sources = [program.encode("utf-8", "surrogatepass").hex() for program in batch]
    result = sandbox.run(f"SOURCES = {sources!r}\n{_READER}")
    forms = (result.answer or "").split(" ")
    if result.ok and len(forms) == len(batch):
        return [None if form == _NONE else form for form in forms]
    if result.status == "unsupported":
        say("filter", f"programs cannot be compared without their names here: {result.error}")
        return [None] * len(batch)
    if len(batch) == 1:
        return [None]
    return [form for program in batch for form in _read([program], sandbox)]
