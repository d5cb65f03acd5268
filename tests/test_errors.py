"""The error tree."""

import pickle

import pytest

from potstill.errors import (
    BudgetError,
    ConfigError,
    DataError,
    MissingExtraError,
    PotstillError,
    RefusedError,
    TeacherError,
    TooManyFailures,
    boundary,
    require_extra,
    shorten,
)


def test_exit_codes_are_those_of_the_interface():
    """1 user's error, 3 failure budget, 4 money or token budget."""
    assert [e.exit_code for e in (ConfigError, DataError, TooManyFailures, BudgetError)] == [1, 1, 3, 4]


def test_errors_replace_the_standard_ones_they_inherit():
    """`except ValueError` and `except ImportError` still catch ours."""
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DataError, ValueError)
    assert issubclass(MissingExtraError, ImportError)
    assert issubclass(RefusedError, TeacherError)


def test_a_teacher_error_pickles_whole():
    """An error raised in a worker process arrives with its status."""
    error = pickle.loads(pickle.dumps(RefusedError("no such model", 404, retryable=False)))
    assert (type(error), str(error), error.status, error.retryable) == (RefusedError, "no such model", 404, False)


def test_a_boundary_turns_foreign_exceptions_into_ours_and_leaves_ours_alone():
    """The cause is kept, and the message says what was being done."""
    with pytest.raises(DataError, match=r"reading a: bad value") as caught, boundary(DataError, "reading a"):
        raise ValueError("bad value")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ConfigError, match="mine"), boundary(DataError, "reading a"):
        raise ConfigError("mine")
    with pytest.raises(KeyError), boundary(DataError, "reading a", ValueError):
        raise KeyError("other")


def test_a_missing_extra_names_the_command_that_installs_it():
    """The user reads what to type."""
    with pytest.raises(MissingExtraError, match=r"pip install 'potstill\[train\]'"):
        require_extra("no_such_module_at_all", "train")
    require_extra("json", "train")


def test_messages_are_cut_to_one_line():
    """A page of output inside a message does not hide the message."""
    assert shorten("a\n b" * 500).endswith("…")
    assert len(shorten("x" * 999)) == 200
    assert issubclass(TooManyFailures, PotstillError)
