"""What can be known to be wrong before anything is bought or trained, checked before anything is.

Nothing here sends a request, loads a model or writes. A mistake that only a later stage would meet (a misspelt training
argument, a folder without a tokenizer, a split without problems) is said first, while it costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from potstill.arms import Arm
from potstill.engines import running
from potstill.errors import ConfigError, StudentError, require_extra
from potstill.miniature.embedded import MINIATURE
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.recipe.whole import Recipe


def require_teachers(recipe: Recipe) -> tuple[TeacherConfig, ...]:
    """Return the recipe's teachers, or raise `ConfigError` where there is none."""
    if not recipe.teachers:
        message = "teachers: none given; give base_url and model of an endpoint, local: MODEL, or replay: FILE"
        raise ConfigError(message)
    return recipe.teachers


def require_sound_asking(recipe: Recipe) -> None:
    """Raise unless the teachers' tables, their prices, the template and the demonstrations fit together.

    Raises:
        ConfigError, DataError: As `require_price` and `load_asking` say.
    """
    from potstill.rationales.asking import load_asking
    from potstill.teachers.base import require_price
    from potstill.teachers.local import model_source

    teachers = require_teachers(recipe)
    for number, teacher in enumerate(teachers):
        where = "teachers" if len(teachers) == 1 else f"teachers.{number}"
        require_price(teacher, recipe.budget)
        if teacher.local is not None:
            require_extra("torch", "train")
            model_source(teacher.local)
        if teacher.base_url is not None and teacher.base_url != MINIATURE and not teacher.model:
            message = f"{where}.model: this key is required; name the model that the endpoint is to be asked for"
            raise ConfigError(message)
        load_asking(teacher, recipe.sample, seed=recipe.seed)


def require_endpoint(recipe: Recipe) -> None:
    """Raise `ConfigError` unless the teachers' addresses, keys, proxies and certificates can be used; sends nothing."""
    from potstill.teachers.openai import OpenAIEndpoint

    for teacher in require_teachers(recipe):
        if teacher.base_url is not None and teacher.base_url != MINIATURE:
            OpenAIEndpoint(teacher.resolved())


def require_reader(recipe: Recipe) -> TeacherConfig | None:
    """Return the teacher that reads masked rationales; `None`: nobody does (`filter.support`).

    Raises:
        ConfigError: No teacher of that name can be asked.
    """
    config = recipe.filter.support
    if config is None:
        return None
    able = [teacher for teacher in require_teachers(recipe) if teacher.replay is None]
    found = [teacher for teacher in able if config.teacher in (None, teacher.author)]
    if not found:
        names = ", ".join(teacher.author for teacher in able) or "none (recorded rationales read nothing)"
        message = f"filter.support.teacher: got {config.teacher!r}; teachers that can be asked: {names}"
        raise ConfigError(message)
    return found[0]


def require_engine(recipe: Recipe) -> None:
    """Raise unless the engine is ready and what it shares lies where it may; a cluster's workers start here.

    Raises:
        ConfigError: No cluster, none that fits this process, or a ledger on a file system where SQLite is not safe.
        MissingExtraError: Ray is not installed.
    """
    engine = running()
    if engine is not None:
        if any(teacher.replay is None for teacher in recipe.teachers):
            require_local_disk(recipe.ledger)
        if recipe.ray.processes > 1 and recipe.parallel > 1:
            message = (
                f"parallel: {recipe.parallel} trains several students here at the same time, ray.processes: "
                f"{recipe.ray.processes} one on the cluster; set one of them to 1"
            )
            raise ConfigError(message)
        engine.require()


def require_local_disk(ledger: str | None, mounts: str | None = None) -> None:
    """Raise `ConfigError` if a ledger lies on a network file system, where a cluster's shared folders are.

    Args:
        mounts: The mount table's text; `None`: this machine's.
    """
    from potstill.teachers.ledger import default_ledger_path
    from potstill.teachers.storage import NETWORK, file_system

    path = Path(ledger) if ledger else default_ledger_path()
    kind = file_system(path, mounts)
    if kind is not None and kind.startswith(NETWORK):
        message = (
            f"ledger {path}: lies on a network file system ({kind}), where SQLite is not safe; with engine: ray the "
            "ledger stays on a local disk of the machine that runs this command: give --ledger FILE there"
        )
        raise ConfigError(message)


NEEDS_DEVICE = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval")
"""Training arguments that are right or wrong by the machine they meet."""


def require_sound_arms(arms: Iterable[Arm], *, is_plan: bool = False) -> None:
    """Raise unless every arm has templates that can be filled, arguments that the Trainer knows, and a student.

    Args:
        is_plan: Nothing will be trained here: a GPU's precision is not held against a laptop that counts the cost.

    Raises:
        ConfigError, StudentError: As `require_placeholders`, `trainer_arguments` and `require_student` say; or a
            trained student is asked for kinds alone that it was not taught.
        MissingExtraError: torch or transformers is not installed.
    """
    from potstill.students.rendering import require_placeholders
    from potstill.students.showing import read_shown

    require_extra("torch", "train")
    require_extra("transformers", "train")
    seen: list[object] = []
    for arm in arms:
        read_shown(arm.recipe.infer)
        own = (arm.recipe.mix, arm.recipe.student, arm.recipe.train if arm.is_trained else None)
        if own in seen:  # another seed
            continue
        seen.append(own)
        require_placeholders(arm.recipe.mix)
        require_student(arm.recipe.student, is_chat=arm.recipe.mix.format == "chat", is_plan=is_plan)
        if arm.is_trained:
            from potstill.students.arguments import trainer_arguments

            config = arm.recipe.train
            if is_plan:
                config = TrainConfig(**config.model_dump(exclude=set(NEEDS_DEVICE)))
            trainer_arguments(config, Path("students"), seed=0, steps_per_epoch=1, has_dev=False)
            _require_taught_skills(arm)


def _require_taught_skills(arm: Arm) -> None:
    """Raise if nothing that a trained student is asked for was taught: its checkpoint could not be chosen either."""
    asked, taught = arm.recipe.infer.paths, arm.recipe.mix.kinds
    if not set(asked) & set(taught):
        message = (
            f"arm {arm.name}: infer.paths asks for {', '.join(asked)}, mix.kinds teaches {', '.join(taught)}; ask for "
            f"what it learns, for example infer: {{paths: {{{taught[0]}: 1}}}}"
        )
        raise ConfigError(message)


def require_student(student: StudentConfig, *, is_chat: bool = False, is_plan: bool = False) -> None:
    """Raise `StudentError` if a folder cannot be a student: no configuration, weights, tokenizer or chat template, or
    a kind of model that writes no text; also of one from scratch.

    A name on the Hugging Face hub is believed until it is loaded; what a plan needs no library for is not asked for.
    """
    from potstill.students.loading import model_class, read_config, resolve_source, scratch_config

    if student.quantization is not None and not is_plan:
        require_extra("bitsandbytes", "qlora")
    if student.model == "scratch":
        scratch_config(student)
        return
    folder = Path(resolve_source(student.model))
    if folder.is_dir():
        model_class(read_config(str(folder), student), str(folder))
    if folder.is_dir() and is_chat and not _has_chat_template(folder):
        message = f"student {folder}: mix.format is 'chat' but it has no chat template; use format: plain, or another"
        raise StudentError(message)


def require_splits(named: Mapping[str, Sequence[str]], found: Collection[str]) -> None:
    """Raise `ConfigError` if a split that is asked for holds no problem.

    Args:
        named: Recipe key -> the splits that it names.
        found: The splits that hold problems.
    """
    for key, splits in named.items():
        missing = [split for split in splits if split not in found]
        if missing:
            message = (
                f"{key}: {missing[0]!r} holds no problem; splits found: {', '.join(sorted(found))}; name one of them, "
                "or make it with problems.splits or problems.holdout"
            )
            raise ConfigError(message)


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("*chat_template*")):
        return True
    path = folder / "tokenizer_config.json"
    try:
        return "chat_template" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # what is damaged is said by the tokenizer itself
