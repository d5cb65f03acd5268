"""The architecture: which module may import which at module level."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "potstill"
LAYERS = [
    {"records", "errors", "messages", "methods"},
    {"recipe.*", "engines", "streams", "files", "teachers.base", "rationales.*", "generators.*", "students.mixing",
     "students.rendering", "students.showing", "students.exports", "students.voting", "students.curriculum",
     "ensembles", "students.losses", "evaluation.statistics", "evaluation.golds", "evaluation.rows",
     "evaluation.tables", "review.decisions", "review.agreement"},
    {"run", "sandbox.*", "teachers.*", "miniature.*", "rationales.second_opinion", "rationales.second_opinion_worker",
     "evaluation.datasets", "evaluation.sources"},
    {"rationales.sampling", "rationales.asking", "rationales.planning", "rationales.resuming", "rationales.running",
     "rationales.verification", "students.*", "evaluation.grading", "evaluation.scoring", "verdicts",
     "generators.planning", "generators.recomputing", "generators.generation",
     "generators.counterfactuals"},
    {"arms", "preflight", "purchases", "rounds", "pipeline", "evaluation.*", "review.*", "commands.*",
     "scale.*", "cli", "instructions", "counterfactuals", "juries", "augmenting", "__main__", "__init__"},
]  # fmt: skip
"""From the foundation to the surface; a pattern `folder.*` covers what no earlier or exact name does."""
EXEMPT = {("__init__", "run")}
"""The public name `run` is bound when the package is imported."""


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] != "__init__" or len(parts) == 1:
            yield ".".join(parts), path


def layer_of(name):
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    for number, layer in enumerate(LAYERS):
        if f"{name.split('.')[0]}.*" in layer:
            return number
    raise AssertionError(f"module {name} has no place in the layers: add it to LAYERS")


def imported(path):
    """Names of our modules imported at module level, outside `if TYPE_CHECKING`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("potstill."):
            yield node.module.removeprefix("potstill.")


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_from_its_own_layer_and_below(name, path):
    """Imports point towards the foundation."""
    too_high = [
        target
        for target in imported(path)
        if (PACKAGE / Path(*target.split("."))).with_suffix(".py").exists()
        and layer_of(target) > layer_of(name)
        and (name, target) not in EXEMPT
    ]
    assert too_high == []


def test_module_level_imports_form_no_cycle():
    """Within a layer too, imports follow the data flow."""
    graph = {name: [t for t in imported(path) if t != name] for name, path in modules()}
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError(f"import cycle: {' → '.join([*path[path.index(name) :], name])}")
        if name not in done and name in graph:
            path.append(name)
            for target in graph[name]:
                visit(target)
            path.pop()
            done.add(name)

    for name in graph:
        visit(name)
    assert done == set(graph)


@pytest.mark.parametrize("folder", [p for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"], ids=str)
def test_folders_export_nothing(folder):
    """A folder's `__init__.py` holds a docstring and nothing else."""
    init = folder / "__init__.py"
    if init.exists():
        assert [type(node) for node in ast.parse(init.read_text(encoding="utf-8")).body] == [ast.Expr]
