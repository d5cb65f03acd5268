"""`rounds`: further rationales after the first sampling, from what the run has learnt by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from potstill.recipe.table import Table

if TYPE_CHECKING:
    from potstill.recipe.teachers import TeacherConfig
    from potstill.recipe.whole import Recipe


class RoundConfig(Table):
    """One round; what it yields is verified and joins the rationales that the arms are made of."""

    by: Literal["refresh", "errors"]
    """refresh: a local teacher is fine-tuned on its own kept rationales and samples again. errors: a student is
    trained on the rationales so far, and the teacher is shown what it gets wrong on the training problems."""
    n: int | None = Field(default=None, ge=1)
    """refresh: samples per problem and kind (`None`: sample.n); errors: corrections of each wrong path (`None`: 1)."""
    teacher: str | None = None
    """Its name; `None`: the local one (refresh), the first that can be asked (errors)."""
    train: dict[str, Any] = {}
    """refresh: changes of the `train` table for the teacher."""
    arm: str | None = None
    """errors: whose student; `None`: the first arm that is trained."""
    paths: int = Field(default=1, ge=1)
    """errors: paths of the student per problem and kind; 1: the greedy one. The first wrong one is shown."""
    show_answer: bool = False
    """errors: also tell the teacher the gold answer."""
    template: str = "correction"
    """errors: a built-in template's name or the path of a template file whose sections have a `correction`."""
    demonstrations: str | None = None
    """errors: JSONL of worked corrections {question, attempt, rationale, answer}."""


def teacher_of(recipe: Recipe, number: int) -> TeacherConfig:
    """Return the teacher of a round (numbered from 1), or raise `ValueError` where there is none."""
    config = recipe.rounds[number - 1]
    able = [t for t in recipe.teachers if (t.local is not None if config.by == "refresh" else t.replay is None)]
    found = [t for t in able if config.teacher in (None, t.author)]
    if found:
        return found[0]
    who = "a local teacher (teachers.local: MODEL)" if config.by == "refresh" else "a teacher that can be asked"
    names = ", ".join(t.author for t in able) or "none"
    said = f"{config.teacher!r} is not {who}" if config.teacher else f"by: {config.by} needs {who}"
    message = f"rounds.{number - 1}: {said}; found: {names}"
    raise ValueError(message)


def refreshed(teacher: TeacherConfig, number: int, folder: str | None = None) -> TeacherConfig:
    """Return a local teacher as a round leaves it, under its new name; `folder`: where it lies, once it is trained."""
    own = {"local": folder or teacher.local, "model": "", "name": f"{teacher.author}@{number}"}
    return teacher.model_copy(update=own)


def arm_of(recipe: Recipe, number: int) -> str:
    """Return the name of the arm whose errors a round is about, or raise `ValueError` where there is none."""
    trained = [name for name, arm in recipe.arms.items() if arm.train is not None and not arm.ensemble]
    trained = trained or ([] if recipe.arms else [recipe.method])
    wanted = recipe.rounds[number - 1].arm
    found = [name for name in trained if wanted in (None, name)]
    if not found:
        message = f"rounds.{number - 1}.arm: got {wanted!r}; arms with a student of their own: {', '.join(trained)}"
        raise ValueError(message)
    return found[0]


def kinds_of(recipe: Recipe, number: int) -> tuple[str, ...]:
    """Return the kinds in which a student is asked and the teacher corrects it, or raise `ValueError`."""
    own = recipe.for_arm(arm_of(recipe, number))
    kinds = tuple(kind for kind in recipe.sample.kinds if kind in own.infer.paths and kind in own.mix.kinds)
    if not kinds:
        message = (
            f"rounds.{number - 1}: arm {arm_of(recipe, number)} is taught and asked for no kind that is sampled "
            f"({', '.join(recipe.sample.kinds)}); name another arm"
        )
        raise ValueError(message)
    return kinds
