"""From a problem to a request: templates and demonstrations are data, this puts them together.

A template is a YAML file with one section per kind of rationale (`cot`, `pot`, `answer`) or per view (`positive`,
`positive_given`, ...: where the answer is told); demonstrations are a JSONL file of worked examples. Both are the
built-in ones of `templates/` or files of the user's, checked strictly. Nothing here reads an answer
(`potstill.rationales.answers`) or sends anything (`potstill.teachers`).
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from potstill.errors import ConfigError, DataError, shorten
from potstill.files import read_rows
from potstill.rationales.items import render_item
from potstill.rationales.ways import parse_way
from potstill.recipe.table import Table
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import ANSWER_TYPES, KINDS, VIEWS, Problem, child_seed
from potstill.teachers.base import Message, Request

BUILT_IN = Path(__file__).parent / "templates"
PLACEHOLDERS = ("form", "labels")
_PLACEHOLDER = re.compile(r"(?<![\\\w}])\{(\w+)\}")
_LETTERED = re.compile(r"^\(?([A-Za-z])[).:]\s*")


class Section(Table):
    """How one kind of rationale is asked for."""

    instruction: str = ""
    """Text before everything else; may hold {form} and {labels}."""
    system: str | None = None
    """System message, unless `sample.system` gives one."""
    rationale: bool = True
    """Whether demonstrations show their reasoning."""
    shows: Literal["question", "item"] = "question"
    """How a problem is shown: as its question, or field by field (`potstill.rationales.items`)."""
    question_prefix: str = "Q: "
    told: str = ""
    """After the question, in a section for authors who are told the answer; holds {answer}."""
    answer_prefix: str = "\nA:"
    rationale_prefix: str = " "
    marker: str = " So the answer is: "
    """Between reasoning and answer; a program is shown without an answer, which is what it computes."""
    answer_forms: dict[str, str] = Field(default_factory=dict)
    """As the template's, for this kind alone."""
    suffix: str = "\n\n"
    """After each demonstration."""
    correction: str = ""
    """After a wrong attempt, which stands where an answer would: what is asked for instead; may hold {gold}."""
    gold: str = ""
    """What {gold} stands for where the right answer is told; holds {answer}."""
    stop: tuple[str, ...] = ()
    """Sent to the completions API, unless the teacher has its own."""
    chat_stop: tuple[str, ...] = ()
    """As `stop`, for the chat API."""
    demonstration_form: Literal["text", "turns"] = "text"
    """In a chat: all demonstrations in one user message, or each as a user and an assistant message."""

    @model_validator(mode="after")
    def _known_placeholders(self) -> Section:
        _require_placeholders(self.instruction, self.system or "")
        _require_placeholders(self.correction, known=("gold",))
        _require_placeholders(self.gold, self.told, known=("answer",))
        _require_forms(self.answer_forms)
        if self.correction and self.demonstration_form == "turns":
            message = "a section with a correction shows its demonstrations as text; use demonstration_form: text"
            raise ValueError(message)
        return self


class Template(Table):
    """A template file: what holds for all kinds, and one section per kind."""

    about: str = ""
    needs_demonstrations: bool = False
    """Whether the form is shown by demonstrations alone."""
    answer_forms: dict[str, str] = Field(default_factory=dict)
    """Answer type -> what {form} stands for."""
    cot: Section | None = None
    pot: Section | None = None
    answer: Section | None = None
    positive: Section | None = None
    """Chains of thought that say why the answer holds."""
    positive_given: Section | None = None
    """The same, where the author is told the answer."""
    negative: Section | None = None
    """Chains of thought that rule out every other answer."""
    negative_given: Section | None = None
    name: str = Field(default="template", exclude=True)
    """Where it was read from."""

    @model_validator(mode="after")
    def _is_usable(self) -> Template:
        _require_forms(self.answer_forms)
        sections = self.sections
        if not sections:
            message = f"no section found; give at least one of {', '.join((*KINDS, *VIEWS))}"
            raise ValueError(message)
        for name, section in sections.items():
            if name.endswith("_given") != ("{answer}" in section.told):
                where = "must hold {answer}" if name.endswith("_given") else "is for sections of a told answer alone"
                message = f"{name}.told: got {section.told!r}; it {where}"
                raise ValueError(message)
            missing = [kind for kind in ANSWER_TYPES if kind not in {**self.answer_forms, **section.answer_forms}]
            if missing and "{form}" in section.instruction + (section.system or ""):
                message = f"a text uses {{form}}, but answer_forms lacks '{missing[0]}'"
                raise ValueError(message)
        return self

    @property
    def sections(self) -> dict[str, Section]:
        """The sections that there are, by name."""
        names = (*KINDS, *(f"{view}{end}" for view in VIEWS for end in ("", "_given")))
        found = {name: getattr(self, name) for name in names}
        return {name: section for name, section in found.items() if section is not None}

    def correcting(self, kind: str) -> Section:
        """Return the section of a kind if it can show a wrong attempt, or raise `ConfigError`."""
        section = self.section(kind)
        if not section.correction:
            message = (
                f"template {self.name}: section '{kind}' has no 'correction', the text that follows a wrong attempt"
            )
            raise ConfigError(message)
        return section

    def section(self, kind: str) -> Section:
        """Return the section of a way (a kind, or a kind and its view), or raise `ConfigError`."""
        way = parse_way(kind)
        name = f"{way.view}_given" if way.view and way.is_given else way.view or kind
        section = self.sections.get(name)
        if section is None:
            key = "views" if way.view else "kinds"
            message = (
                f"template {self.name}: no section '{name}' (it has {', '.join(self.sections)}); add one, or change "
                f"sample.{key}"
            )
            raise ConfigError(message)
        return section


class Demonstration(Table):
    """A worked example."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    """As it is to be written, for example (b)."""
    rationale: str = ""
    program: str = ""
    """Python that computes the answer: what kind `pot` shows."""
    options: tuple[str, ...] = ()
    attempt: str = ""
    """A wrong attempt at it, shown before the right one where attempts are corrected."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A wrong answer that is to be corrected."""

    text: str
    path_id: str
    """The id of the path that it is."""
    answer: str | None = None
    """The gold answer, where it is told; `None`: it is not."""


Attempts = Mapping[tuple[str, str], Attempt]
"""(problem id, kind) -> what is to be corrected."""


def load_template(name_or_path: str) -> Template:
    """Return a built-in template by name, or a user's by path (anything that ends in .yaml or .yml).

    Raises:
        ConfigError: There is none, or it is not a valid template; the message names the key.
    """
    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else BUILT_IN / f"{name_or_path}.yaml"
    where = f"template {name_or_path}"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.yaml")))
        message = f"{where}: not found; give the path of a .yaml file or one of {known}"
        raise ConfigError(message)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        message = f"{where}: cannot be read as YAML ({shorten(cause)})"
        raise ConfigError(message) from cause
    if not isinstance(data, dict):
        message = f"{where}: found {type(data).__name__}; expected sections such as cot and answer"
        raise ConfigError(message)
    try:
        return Template.model_validate({**data, "name": name_or_path})
    except ValidationError as cause:
        raise ConfigError(_explain(cause, where, Template)) from cause


def load_demonstrations(name_or_path: str) -> list[Demonstration]:
    """Return worked examples: a built-in set by name (docs/tasks.md), or a file of the user's.

    Raises:
        DataError: The file is missing, empty, or a row is not a demonstration; the message names file and line.
    """
    built_in = BUILT_IN / f"{name_or_path}.jsonl"
    is_name = re.fullmatch(r"\w+", name_or_path) is not None and built_in.is_file()
    found = []
    for where, row in read_rows(built_in if is_name else name_or_path):
        try:
            found.append(Demonstration.model_validate(row))
        except ValidationError as cause:
            raise DataError(_explain(cause, f"demonstrations {where}", Demonstration)) from cause
    if not found:
        message = f"demonstrations {name_or_path}: the file is empty; give rows {{question, rationale, answer}}"
        raise DataError(message)
    return found


def render_question(problem: Problem | Demonstration) -> str:
    """Return the question as it is asked: with its choices below where it has any.

    Source: Li et al. 2023, arXiv:2306.14050, released code (CommonsenseQA's form).
    """
    return "\n".join((problem.question, *_choices(problem.options)))


def build_request(
    problem: Problem,
    kind: str,
    teacher_config: TeacherConfig,
    sample_config: SampleConfig,
    demonstrations: Sequence[Demonstration] = (),
    *,
    seed: int = 0,
    template: Template | None = None,
    attempt: Attempt | None = None,
) -> Request:
    """Return the request that asks a teacher about one problem.

    Args:
        attempt: A wrong answer to it, which the teacher is shown and asked to correct.
        template: The loaded `sample_config.template`; `None` loads it now.
        demonstrations: Worked examples; their order is drawn anew for each problem from `seed`.

    Raises:
        ConfigError: The template has no section for `kind`, or a demonstration lacks the rationale that it shows.

    Source: Li et al. 2023, arXiv:2306.14050, section 2; the order of demonstrations is shuffled per query.
    """
    template = template or load_template(sample_config.template)
    section = template.section(kind) if attempt is None else template.correcting(kind)
    shown = _ordered(demonstrations, problem, sample_config, seed)
    _require_shown(shown, section, kind, template)
    is_chat = teacher_config.api != "completions"
    system = sample_config.system
    if system is None:
        system = _filled(section.system or "", section, template, problem)
    messages: tuple[Message, ...] = ()
    prompt = None
    if is_chat:
        messages = _chat(kind, section, template, problem, shown, system, attempt)
    else:
        prompt = (f"{system}\n\n" if system else "") + _text(kind, section, template, problem, shown, attempt)
    temperature = teacher_config.temperature if sample_config.temperature is None else sample_config.temperature
    return Request(
        model=teacher_config.model,
        messages=messages,
        prompt=prompt,
        temperature=temperature,
        top_p=teacher_config.top_p,
        max_tokens=teacher_config.max_tokens,
        stop=teacher_config.stop or (section.chat_stop if is_chat else section.stop),
        seed=teacher_config.seed,
        logprobs=teacher_config.logprobs,
        extra=dict(teacher_config.extra_body),
        problem_id=problem.id,
        kind=kind,
    )


def _ordered(
    demonstrations: Sequence[Demonstration], problem: Problem, config: SampleConfig, seed: int
) -> list[Demonstration]:
    count = config.n_demonstrations
    if count is not None and count > len(demonstrations):
        message = f"sample.n_demonstrations: got {count}; there are {len(demonstrations)} demonstrations"
        raise ConfigError(message)
    shown = list(demonstrations[:count])
    if shown and config.shuffle_demonstrations:
        random.Random(child_seed(seed, problem.id, "demonstrations")).shuffle(shown)
    return shown


def _require_shown(shown: Sequence[Demonstration], section: Section, kind: str, template: Template) -> None:
    field = "program" if kind == "pot" else "rationale"
    for demonstration in shown if section.rationale else ():
        if not getattr(demonstration, field).strip():
            message = (
                f"demonstrations: {shorten(repr(demonstration.question), 60)} has no '{field}'; kind '{kind}' of "
                f"template {template.name} shows one; add it, or use kind answer"
            )
            raise ConfigError(message)
        if section.correction and not demonstration.attempt.strip():
            message = (
                f"demonstrations: {shorten(repr(demonstration.question), 60)} has no 'attempt', the wrong answer that "
                f"template {template.name} shows before the right one; add it"
            )
            raise ConfigError(message)


def _text(
    kind: str, section: Section, template: Template, problem: Problem, shown: Sequence[Demonstration],
    attempt: Attempt | None = None,
) -> str:  # fmt: skip
    instruction = _filled(section.instruction, section, template, problem)
    parts = [f"{instruction.rstrip()}\n\n"] if instruction else []
    for d in shown:
        wrong = None if attempt is None else Attempt(d.attempt, "", attempt.answer and d.answer)
        parts.append(
            _asked(section, _shown(section, d), wrong, told=d.answer) + _target(kind, section, d) + section.suffix
        )
    return "".join([*parts, _asked(section, _shown(section, problem), attempt, told=_told(section, problem))])


def _chat(
    kind: str, section: Section, template: Template, problem: Problem, shown: Sequence[Demonstration], system: str,
    attempt: Attempt | None = None,
) -> tuple[Message, ...]:  # fmt: skip
    messages = [{"role": "system", "content": system}] if system else []
    if section.demonstration_form == "text" or not shown:
        return (*messages, {"role": "user", "content": _text(kind, section, template, problem, shown, attempt)})
    instruction = _filled(section.instruction, section, template, problem)
    before = f"{instruction.rstrip()}\n\n" if instruction else ""
    for demonstration in shown:
        messages.append({"role": "user", "content": before + section.question_prefix + render_question(demonstration)})
        messages.append({"role": "assistant", "content": _target(kind, section, demonstration).strip()})
        before = ""
    return (*messages, {"role": "user", "content": section.question_prefix + render_question(problem)})


def _shown(section: Section, problem: Problem | Demonstration) -> str:
    """Return a problem as the section shows it."""
    if section.shows == "question":
        return render_question(problem)
    fields = problem.fields if isinstance(problem, Problem) else {}
    return render_item(fields, render_question(problem), _choices(problem.options))


def _choices(options: Sequence[str]) -> list[str]:
    """Return the lines that show options by letter; none where there are none."""
    lettered = [f"({chr(97 + i)}) {option}" for i, option in enumerate(_unlettered(options))]
    return ["Answer Choices:", *lettered] if lettered else []


def _told(section: Section, problem: Problem) -> str:
    """Return the gold answer where the section tells it."""
    if not section.told:
        return ""
    if problem.answer is None:
        message = f"problem {problem.id}: has no answer, and the prompt tells it; set sample.view_labels: free"
        raise ConfigError(message)
    is_letter = problem.answer_type == "choice" and len(problem.answer.strip()) == 1
    return f"({problem.answer.strip().lower()})" if is_letter else problem.answer


def _asked(section: Section, question: str, attempt: Attempt | None = None, *, told: str = "") -> str:
    label = section.told.replace("{answer}", told)
    asked = f"{section.question_prefix}{question}{label}{section.answer_prefix}"
    if attempt is None:
        return asked
    gold = "" if attempt.answer is None else section.gold.replace("{answer}", attempt.answer)
    correction = section.correction.replace("{gold}", gold)
    return f"{asked}{section.rationale_prefix}{attempt.text.strip()}{correction}{section.answer_prefix}"


def _target(kind: str, section: Section, demonstration: Demonstration) -> str:
    if kind == "pot":
        return section.rationale_prefix + demonstration.program.strip()
    reasoning = section.rationale_prefix + demonstration.rationale.strip() if section.rationale else ""
    return f"{reasoning}{section.marker}{demonstration.answer}"


def _filled(text: str, section: Section, template: Template, problem: Problem) -> str:
    """Put the answer type's form and the label set into a text; other braces stay as they are."""
    if "{" not in text:
        return text
    forms = {**template.answer_forms, **section.answer_forms}
    text = text.replace("{form}", forms.get(problem.answer_type, ""))
    return text.replace("{labels}", ", ".join(problem.labels))


def _unlettered(options: Sequence[str]) -> list[str]:
    """Return the choice texts without letters of their own, where all of them carry theirs (A) to (E) in order."""
    matches = [_LETTERED.match(option) for option in options]
    letters = [match[1].lower() if match else "" for match in matches]
    if letters != [chr(97 + i) for i in range(len(options))]:
        return list(options)
    return [option[match.end() :] for option, match in zip(options, matches, strict=True) if match]


def _require_forms(forms: dict[str, str]) -> None:
    unknown = sorted(set(forms) - set(ANSWER_TYPES))
    if unknown:
        message = f"answer_forms has '{unknown[0]}'; expected answer types: {', '.join(ANSWER_TYPES)}"
        raise ValueError(message)
    _require_placeholders(*forms.values())


def _require_placeholders(*texts: str, known: Sequence[str] = PLACEHOLDERS) -> None:
    for text in texts:
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                allowed = ", ".join(f"{{{each}}}" for each in known)
                message = f"the text holds {{{name}}}; known placeholders: {allowed}"
                raise ValueError(message)


def _explain(error: ValidationError, where: str, model: type[Table]) -> str:
    """Say what the first problem is, with the nearest key for an unknown one."""
    first = error.errors()[0]
    location: tuple[Any, ...] = first["loc"]
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = [*(Section if len(location) > 1 else model).model_fields]
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(k for k in known if k != 'name')}"
        return f"{where}: {key}: unknown key; {hint}"
    if first["type"] == "missing":
        return f"{where}: {key}: this key is required"
    found = "" if isinstance(first["input"], dict) else f"got {shorten(repr(first['input']), 80)}; "
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key + ': ' if key else ''}{found}{reason}"
