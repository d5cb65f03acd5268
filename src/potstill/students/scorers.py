"""A small model that scores texts: a regression head on any encoder or decoder, trained on judgements.

    judgements ──hold out groups──► Trainer (squared error of scores, log-loss of choices) ──► folder ──Scorer──► scores

A folder is a Hugging Face one (`AutoModelForSequenceClassification`, one output per term) with `scorer.json`: terms,
scale, and how well it ranks what was held out. `evolve.judge.scorer` takes such a folder in place of a language model.

Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392, has scorers trained on a language model's scores; choices:
Bradley and Terry 1952.
Differs: any model and size; one model with an output per term; texts too long for it have no score, where the code
published with Deita (arXiv:2312.15685) gives 3.0.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from potstill.errors import ConfigError, StudentError, boundary, require_extra
from potstill.files import write_atomic
from potstill.generators.calibration import Estimate, estimated
from potstill.messages import say
from potstill.recipe.students import StudentConfig, TrainConfig
from potstill.records import child_seed, content_id
from potstill.students.arguments import batch_shape, trainer_arguments
from potstill.students.judged import Judged, terms_of
from potstill.students.loading import context_length, load_tokenizer, quiet_bars, resolve_source, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECORD = "scorer.json"
LOWEST, HIGHEST = 1.0, 6.0
"""The scale on which scores are given."""
HELD_OUT = 0.1
BATCH = 64


@dataclass(frozen=True, slots=True)
class Ranked:
    """A held-out text or pair: what was given and what the scorer says."""

    group: str
    given: float
    said: float


class Scorer:
    """A trained scorer, ready to be asked."""

    def __init__(self, folder: str | Path) -> None:
        """Open a folder that `train_scorer` has written.

        Raises:
            StudentError: It is not one.
        """
        require_extra("torch", "train")
        from transformers import AutoModelForSequenceClassification

        path = Path(folder)
        try:
            record = json.loads((path / RECORD).read_text(encoding="utf-8"))
            self.terms: tuple[str, ...] = tuple(record["terms"])
            self._means, self._spreads = record["means"], record["spreads"]
        except (OSError, ValueError, KeyError, TypeError) as cause:
            message = f"scorer {path}: no readable {RECORD} in it; give a folder that `potstill train --judged` made"
            raise StudentError(message) from cause
        with boundary(StudentError, f"scorer {path}: the model cannot be loaded"), quiet_bars():
            self._model = AutoModelForSequenceClassification.from_pretrained(str(path)).eval()
        self._tokenizer = load_tokenizer(str(path), StudentConfig(model=str(path)))
        self._limit = context_length(self._model)

    def scores(self, texts: Sequence[str]) -> list[dict[str, float] | None]:
        """Return the scores of each text by term, from 1 to 6; `None` where it is longer than the model reads."""
        encoded = [encode_text(self._tokenizer, text) for text in texts]
        fitting = [at for at, ids in enumerate(encoded) if self._limit is None or len(ids) <= self._limit]
        found: list[dict[str, float] | None] = [None] * len(texts)
        for start in range(0, len(fitting), BATCH):
            places = fitting[start : start + BATCH]
            for at, row in zip(places, self._outputs([encoded[at] for at in places]), strict=True):
                found[at] = {term: self._scaled(term, value) for term, value in zip(self.terms, row, strict=True)}
        return found

    def _outputs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        import torch

        with torch.inference_mode():
            logits = self._model(**padded(rows, self._tokenizer.pad_token_id)).logits
        outputs: list[list[float]] = logits.float().tolist()
        return outputs

    def _scaled(self, term: str, value: float) -> float:
        return float(round(min(HIGHEST, max(LOWEST, self._means[term] + self._spreads[term] * value)), 4))


def train_scorer(
    rows: Sequence[Judged],
    config: TrainConfig | None = None,
    *,
    student: StudentConfig,
    out: str | Path = "students/scorer",
    seed: int = 0,
    threads: int | None = None,
) -> Path:
    """Train a scorer and return its folder; the same call again returns at once.

    Scores are standardised by term; a scale that goes beyond 6 is mapped to 1 to 6. What is said of a pair alone has
    no scale: its mean becomes 3.5, its standard deviation 1.

    Args:
        student: A model of Hugging Face by folder or name, or `scratch` with `config`.
        config: The Trainer's arguments; `problems_per_step` judgements make a step.

    Raises:
        StudentError: The model cannot be opened, or too few judgements fit into it.
        ConfigError: An argument is unknown.
    """
    require_extra("torch", "train")
    import torch

    config, out, began = config or TrainConfig(), Path(out), time.process_time()
    mark = content_id("scorer", [[*row.texts, dict(row.scores), row.choice, row.term, row.group] for row in rows],
                      config.model_dump(mode="json"), student.model_dump(mode="json"), seed)  # fmt: skip
    if (out / RECORD).exists() and json.loads((out / RECORD).read_text(encoding="utf-8")).get("fingerprint") == mark:
        return out
    if threads is not None:
        torch.set_num_threads(threads)
    terms = terms_of(rows)
    model, tokenizer = open_scorer(student, terms, [text for row in rows for text in row.texts], seed)
    learnt, held, too_long = divide(rescaled(rows, terms), tokenizer, context_length(model), seed)
    means, spreads = scale_of(learnt, terms)
    _fit(model, tokenizer, learnt, config, out, seed=seed, scale=(terms, means, spreads))
    workshop = out.with_name(f".{out.name}.partial")
    shutil.rmtree(workshop, ignore_errors=True)
    model.save_pretrained(str(workshop))
    tokenizer.save_pretrained(str(workshop))
    record = {"fingerprint": mark, "terms": terms, "means": means, "spreads": spreads, "judgements": len(learnt),
              "too_long": too_long, "seed": seed, "cpu_s": round(time.process_time() - began, 1)}  # fmt: skip
    write_atomic(workshop / RECORD, json.dumps(record))
    found = worth_of(Scorer(workshop), held)
    record |= {"held_out": found}
    write_atomic(workshop / RECORD, json.dumps(record, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    workshop.replace(out)
    say("train", f"{out.name}: {len(learnt)} judgements learnt, {len(held)} held out: {_said(found)}")
    return out


def open_scorer(
    student: StudentConfig, terms: Sequence[str], texts: Sequence[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return an untrained head on a model, and its tokenizer; errors as `train_scorer`."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if student.model == "scratch":
            settings = dict(student.config)
            if "model_type" not in settings:
                message = "student.config: 'scratch' needs model_type and sizes, e.g. {model_type: bert, …}"
                raise ConfigError(message)
            tokenizer = train_tokenizer(texts, int(settings.get("vocab_size", 4096)))
            settings |= {"vocab_size": len(tokenizer), "num_labels": len(terms)}
            with boundary(ConfigError, "student.config: no scorer can be made of it"):
                made = AutoConfig.for_model(settings.pop("model_type"), **settings)
                made.pad_token_id = tokenizer.pad_token_id
                return AutoModelForSequenceClassification.from_config(made), tokenizer
        source = resolve_source(student.model)
        tokenizer = load_tokenizer(source, student)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        with boundary(StudentError, f"student {source}: no scorer can be made of it"), quiet_bars():
            model = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=len(terms), trust_remote_code=student.trust_remote_code
            )
        model.config.pad_token_id = tokenizer.pad_token_id
        return model, tokenizer


def divide(
    rows: Sequence[Judged], tokenizer: Any, limit: int | None, seed: int
) -> tuple[list[Judged], list[Judged], int]:
    """Return the judgements to learn from, those held out by whole groups, and how many do not fit into the model.

    Raises:
        StudentError: Fewer than ten are left to learn from.
    """
    fitting = [
        row for row in rows if limit is None or all(len(encode_text(tokenizer, text)) <= limit for text in row.texts)
    ]
    groups = sorted({row.group for row in fitting})
    drawn = random.Random(child_seed(seed, "held out")).sample(groups, round(HELD_OUT * len(groups)))
    held = [row for row in fitting if row.group in set(drawn)]
    learnt = [row for row in fitting if row.group not in set(drawn)]
    if len(learnt) < 10:
        message = f"{len(learnt)} judgements to learn from, of {len(rows)} given; at least 10 that fit are needed"
        raise StudentError(message)
    return learnt, held, len(rows) - len(fitting)


def rescaled(rows: Sequence[Judged], terms: Sequence[str]) -> list[Judged]:
    """Return the judgements with every term's scores on the scale from 1 to 6: those of a longer one are mapped."""
    tops = {term: max((row.scores[term] for row in rows if term in row.scores), default=HIGHEST) for term in terms}
    stretch = {term: (HIGHEST - LOWEST) / (max(top, HIGHEST) - LOWEST) for term, top in tops.items()}

    def mapped(scores: Mapping[str, float]) -> dict[str, float]:
        return {term: LOWEST + (score - LOWEST) * stretch[term] for term, score in scores.items()}

    return [replace(row, scores=mapped(row.scores)) for row in rows]


def scale_of(rows: Sequence[Judged], terms: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean and the standard deviation of each term."""
    means, spreads = {}, {}
    for term in terms:
        values = [row.scores[term] for row in rows if term in row.scores]
        means[term] = fmean(values) if values else (LOWEST + HIGHEST) / 2
        spreads[term] = (pstdev(values) if len(values) > 1 else 1.0) or 1.0
    return means, spreads


def worth_of(scorer: Scorer, held: Sequence[Judged]) -> dict[str, dict[str, float | int | None]]:
    """Return, by term, the rank correlation with what was held out, and the share of held-out choices made alike."""
    found: dict[str, dict[str, float | int | None]] = {}
    for term in scorer.terms:
        scored = [row for row in held if term in row.scores]
        said = scorer.scores([row.texts[0] for row in scored])
        ranked = [
            Ranked(row.group, row.scores[term], one[term])
            for row, one in zip(scored, said, strict=True) if one is not None
        ]  # fmt: skip
        chosen = [row for row in held if row.term == term and row.choice]
        sides = [scorer.scores(row.texts) for row in chosen]
        alike = [
            Ranked(row.group, float(row.choice or 0), a[term] - b[term])
            for row, (a, b) in zip(chosen, sides, strict=True) if a is not None and b is not None
        ]  # fmt: skip
        for name, rows, statistic in (("rank_correlation", ranked, spearman), ("choices_alike", alike, _share_alike)):
            if rows:
                found[f"{term}_{name}"] = _shown(estimated(rows, statistic))
    return found


def spearman(rows: Sequence[Ranked]) -> float | None:
    """Return the rank correlation of given and said values; `None` where one of them does not vary."""
    given, said = ranks([row.given for row in rows]), ranks([row.said for row in rows])
    if pstdev(given) == 0 or pstdev(said) == 0:
        return None
    middle = fmean(given)
    return fmean((a - middle) * (b - middle) for a, b in zip(given, said, strict=True)) / (pstdev(given) * pstdev(said))


def ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank; equal ones share the mean of theirs.

    >>> ranks([3.0, 1.0, 3.0])
    [1.5, 0.0, 1.5]
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    found, at = [0.0] * len(values), 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for place in order[at : end + 1]:
            found[place] = (at + end) / 2
        at = end + 1
    return found


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text; where the tokenizer adds no mark of its own, with an end mark."""
    ids: list[int] = tokenizer(text)["input_ids"]
    end = tokenizer.eos_token_id
    return ids if end is None or (ids and ids[-1] in (end, tokenizer.sep_token_id)) else [*ids, end]


def padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Any]:
    """Return the rows as one batch, padded on the right."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def _fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Judged],
    config: TrainConfig,
    out: Path,
    *,
    seed: int,
    scale: tuple[Sequence[str], Mapping[str, float], Mapping[str, float]],
) -> None:
    """Train the model in place."""
    import torch
    from transformers import PrinterCallback, Trainer

    terms, means, spreads = scale
    shuffled = random.Random(child_seed(seed, "scorer")).sample(list(rows), len(rows))
    size = batch_shape(config)[0]
    steps = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
    checkpoints = out.with_name(f".{out.name}.checkpoints")
    args = trainer_arguments(
        TrainConfig.model_validate({**config.model_dump(), "save_strategy": "no"}), checkpoints, seed=seed,
        steps_per_epoch=len(steps), has_dev=False,
    )  # fmt: skip

    def collate(batch: Sequence[Sequence[Judged]]) -> dict[str, Any]:
        own = batch[0]
        ids = [encode_text(tokenizer, text) for row in own for text in row.texts]
        return {"inputs": padded(ids, tokenizer.pad_token_id), "judged": own}

    class ScorerTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            logits = model(**{name: value.to(model.device) for name, value in inputs["inputs"].items()}).logits
            loss = judged_loss(logits.float(), inputs["judged"], terms, means, spreads)
            return (loss, None) if return_outputs else loss

    model.train()
    with quiet_bars():
        trainer = ScorerTrainer(model=model, args=args, train_dataset=steps, data_collator=collate)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    shutil.rmtree(checkpoints, ignore_errors=True)
    model.to(torch.device("cpu")).eval()


def judged_loss(
    logits_BK: Any, rows: Sequence[Judged], terms: Sequence[str], means: Mapping[str, float],
    spreads: Mapping[str, float],
) -> Any:  # fmt: skip
    """Return the mean loss of a step: squared error of standardised scores, log-loss of choices; a tie is half of each.

    Args:
        logits_BK: Outputs by text and term; a pair's two texts stand next to each other.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

    losses, at = [], 0
    for row in rows:
        if row.choice is None:
            for term, score in row.scores.items():
                target = (score - means[term]) / spreads[term]
                losses.append((logits_BK[at, terms.index(term)] - target) ** 2)
        else:
            column = terms.index(row.term)
            gap = logits_BK[at, column] - logits_BK[at + 1, column]
            losses.append(log_loss(gap, torch.tensor((row.choice + 1) / 2, device=gap.device)))
        at += len(row.texts)
    return torch.stack(losses).mean()


def _share_alike(rows: Sequence[Ranked]) -> float | None:
    return fmean(float(row.given * row.said > 0) for row in rows) if rows else None


def _shown(found: Estimate) -> dict[str, float | int | None]:
    values = {"value": found.value, "low": found.low, "high": found.high}
    return {**{name: None if value is None else round(value, 4) for name, value in values.items()}, "n": found.n}


def _said(held_out: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {one['value']} [{one['low']}, {one['high']}]" for name, one in held_out.items()) or "none"
