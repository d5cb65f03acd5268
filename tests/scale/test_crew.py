"""Which workers may work with this process."""

from dataclasses import replace

from potstill.scale.crew import misfit, missing_module
from potstill.scale.workers import own_facts


def test_a_worker_of_another_version_is_refused_with_both_versions():
    """It would find other results."""
    found = misfit("n1", replace(own_facts(), potstill="9.9"), own_facts())
    assert found == (
        f"ray: the worker on n1 runs potstill 9.9, this process {own_facts().potstill}; install the same version on "
        "every node"
    )


def test_a_worker_without_an_extra_that_this_process_has_is_refused():
    """The module and the command that installs it are named."""
    own = replace(own_facts(), modules=frozenset({"aiohttp", "sympy", "torch"}))
    assert "lacks sympy, torch" in misfit("n1", replace(own, modules=frozenset({"aiohttp"})), own)
    assert misfit("n1", own, replace(own, modules=frozenset({"aiohttp"}))) is None


def test_the_module_that_a_worker_misses_is_read_from_its_error():
    """Quoted either way."""
    assert missing_module("ModuleNotFoundError: No module named 'potstill' and more") == "potstill"
    assert missing_module("The actor died") is None
