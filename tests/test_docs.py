"""The documents are true: help texts, layout, papers, and nothing that names a machine."""

import importlib
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "potstill"
PAPERS = (ROOT / "PAPERS.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_command_lines_page_is_the_real_help():
    """`make docs` was run after the last change of an option."""
    spec = importlib.util.spec_from_file_location("write_cli_docs", ROOT / "scripts" / "write_cli_docs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.render() == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_readme_shows_the_folders_that_exist():
    """The layout in the README names every folder of the package, and only those."""
    block = README.split("## Layout")[1].split("```")[1]
    named = set(re.findall(r"^  (\w+)/", block, re.MULTILINE))
    assert named == {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}


def test_readme_shows_the_two_commands_first():
    """A new user sees them without scrolling."""
    first_screen = "\n".join(README.splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("document", ["README.md", "PAPERS.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document):
    """Every relative link of a document names a file of the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith("http")]
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_every_function_named_in_papers_exists():
    """`module.function` in PAPERS.md can be imported."""
    named = set(re.findall(r"`((?:rationales|students|evaluation|teachers|generators)\.\w+)\.(\w+)`", PAPERS))
    assert len(named) >= 5
    missing = [f"{m}.{f}" for m, f in named if not hasattr(importlib.import_module(f"potstill.{m}"), f)]
    assert missing == []


def test_every_source_block_names_a_paper_of_papers_md():
    """A docstring's `Source:` gives an arXiv id that PAPERS.md lists."""
    blocks = []
    for path in PACKAGE.rglob("*.py"):
        blocks += re.findall(r"^ *Source: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ids = [found for block in blocks for found in re.findall(r"arXiv:(\d{4}\.\d{5})", block)]
    assert ids
    assert [i for i in ids if i not in PAPERS] == []


def test_nothing_committed_names_a_machine():
    """No path of a build machine and no package registry's host is in a tracked file."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(?<![\w.])/(?:work|farm|opt/wheels)/|pypi\.org|files\.pythonhosted")
    found = []
    for name in files:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".yaml", ".toml", ".txt", ".json", "")
            and path.is_file()
            and name != "LICENSE"
        ):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {m[0]}" for m in pattern.finditer(text) if path != Path(__file__).resolve()]
    assert found == []
