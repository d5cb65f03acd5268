"""Asking students: which paths, in which form, and what becomes of a prompt that does not fit."""

import asyncio
import json

import pytest
import torch
from tiny_students import save_student, sums

from potstill.errors import ConfigError, StudentError
from potstill.recipe.students import InferConfig, MixConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem
from potstill.students.encoding import encode_prefix, encode_prompt
from potstill.students.inference import infer, plan_asks
from potstill.students.loading import open_student
from potstill.students.rendering import render_prompt

SHORT = {"max_new_tokens": 8, "temperature": 1.0}


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / "tiny")


def ask(problems, student, paths, **options):
    return list(infer(problems, student, InferConfig(paths=paths, **SHORT), **options))


def keys(rationales):
    return [(r.problem_id, r.kind, r.index, r.meta["path"]) for r in rationales]


def test_one_path_is_greedy(student):
    """Index 0, with the teacher's record type: author, request, usage, finish, log-probability, problem."""
    rows = ask(sums(2), student, {"cot": 1})
    assert sorted(keys(rows)) == [("train0", "cot", 0, "greedy"), ("train1", "cot", 0, "greedy")]
    row = rows[0]
    assert (row.author, row.finish, row.usage) == ("tiny", "length", {"prompt_tokens": 5, "completion_tokens": 8})
    assert row.logprob < 0
    assert row.request.startswith("sha256:")
    assert row.problem.id == row.problem_id
    assert len(row.text.split()) == 8


def test_several_paths_are_sampled_beside_the_greedy_one(student):
    """Indices 1 to k; without `greedy` only those."""
    rows = ask(sums(1), student, {"cot": 3, "answer": 1})
    assert keys(rows) == [
        ("train0", "cot", 0, "greedy"), ("train0", "cot", 1, "sampled"), ("train0", "cot", 2, "sampled"),
        ("train0", "cot", 3, "sampled"), ("train0", "answer", 0, "greedy"),
    ]  # fmt: skip
    assert len({row.id for row in rows}) == 5
    bare = list(infer(sums(1), student, InferConfig(paths={"cot": 2}, greedy=False, **SHORT)))
    assert [row.index for row in bare] == [1, 2]


def test_paths_depend_on_the_seed_alone(student):
    """Not on the batch size, the other problems or the order."""

    def texts(problems, **options):
        seed = options.pop("seed", 0)
        config = InferConfig(paths={"cot": 4}, **{**SHORT, **options})
        return {(r.problem_id, r.index): r.text for r in infer(problems, student, config, seed=seed)}

    whole = texts(sums(6))
    assert texts(sums(6)[::-1], batch_tokens=30) == whole
    assert texts(sums(6)[2:4]) == {key: text for key, text in whole.items() if key[0] in ("train2", "train3")}
    assert texts(sums(6), seed=1) != whole


def test_what_is_done_is_not_asked_again(student):
    """Resuming asks for the missing paths only, and gets what it would have got."""
    whole = ask(sums(3), student, {"cot": 2})
    done = {(r.problem_id, r.kind, r.index) for r in whole if r.index != 2}
    rest = ask(sums(3), student, {"cot": 2}, done=done)
    assert sorted((r.problem_id, r.text) for r in rest) == sorted((r.problem_id, r.text) for r in whole if r.index == 2)
    assert ask(sums(3), student, {"cot": 1}, done={(p.id, "cot", 0) for p in sums(3)}) == []


def test_a_prompt_longer_than_the_context_is_recorded_with_a_reason(student):
    """It is not cut, and the others are asked all the same."""
    long = Problem(id="long", question="1 plus " * 90 + "1", answer="91", answer_type="number")
    rows = ask([long, *sums(1)], student, {"cot": 2})
    refused = [row for row in rows if row.problem_id == "long"]
    assert [(row.text, row.finish, row.index) for row in refused] == [("", "error", index) for index in range(3)]
    assert refused[0].reason == "prompt_too_long: 183 tokens, the student's context holds 128"
    assert [row.finish for row in rows if row.problem_id == "train0"] == ["length"] * 3


def test_a_stop_text_ends_a_path_and_is_cut_off(student):
    """As in a plain completion."""
    plain = ask(sums(1), student, {"cot": 1})[0].text
    mark = plain.split()[3]
    row = ask(sums(1), student, {"cot": 1}, stop=[mark])[0]
    assert (row.text, row.finish) == (plain[: plain.index(mark)], "stop")


def test_options_are_listed_in_the_prompt_as_in_training():
    """By the same function that mixing uses."""
    problem = Problem(id="c", question="Which?", options=("ink", "sand"), answer_type="choice")
    prompt = next(plan_asks([problem], InferConfig(), MixConfig())).prompt
    assert prompt == "Q: Which?\nAnswer Choices:\n(a) ink\n(b) sand\nA:"


def test_a_running_event_loop_may_use_it_too(student):
    """`async for`, with a progress callback."""

    async def count():
        seen = []
        config = InferConfig(paths={"cot": 1}, **SHORT)
        return len([row async for row in infer(sums(3), student, config, progress=seen.append)]), len(seen)

    assert asyncio.run(count()) == (3, 3)


def test_a_student_that_cannot_be_loaded_is_an_error(tmp_path):
    """At the first row that is asked for."""
    with pytest.raises(StudentError, match=r"no config\.json"):
        ask(sums(1), tmp_path, {"cot": 1})


def test_an_endpoint_is_asked_over_the_teachers_protocol(teacher_server):
    """Greedy at temperature 0, sampled paths with their indices; the author is the model."""
    server = teacher_server(canned=40)
    rows = ask(sums(2), TeacherConfig(base_url=server.base_url, model="served"), {"cot": 2})
    assert sorted(keys(rows)) == sorted(
        (f"train{n}", "cot", index, "sampled" if index else "greedy") for n in range(2) for index in range(3)
    )
    assert {row.author for row in rows} == {"served"}
    assert {row.finish for row in rows} <= {"stop", "length"}
    assert all(row.text for row in rows)
    by_url = ask(sums(1), server.base_url, {"cot": 1}, author="mine")
    assert [row.author for row in by_url] == ["mine"]


def test_a_failing_endpoint_row_keeps_its_reason(teacher_server):
    """Empty contents are rows with a reason, not answers."""
    server = teacher_server(canned=40, p_empty=1.0)
    rows = ask(sums(1), TeacherConfig(base_url=server.base_url, model="served", max_retries=0), {"cot": 1})
    assert [(row.text, row.finish) for row in rows] == [("", "empty")]
    assert rows[0].reason


PREFIXES = MixConfig(prefixes={"cot": " 1 2", "pot": " 3"})


def test_a_prefix_is_forced_and_its_likelihood_recorded(student):
    """The text is what follows the prefix; the greedy path says how likely the student would have begun so."""
    rows = ask(sums(1), student, {"cot": 2, "pot": 1}, mix=PREFIXES)
    greedy = {row.kind: row for row in rows if row.index == 0}
    loaded = open_student(student)
    for kind, row in greedy.items():
        prompt = encode_prompt(render_prompt(sums(1)[0], PREFIXES, kind), loaded.tokenizer)
        prefix = encode_prefix(PREFIXES.prefixes[kind], loaded.tokenizer)
        assert row.usage["prompt_tokens"] == len(prompt) + len(prefix)
        with torch.no_grad():
            logprobs = loaded.model(torch.tensor([[*prompt, *prefix]])).logits[0].log_softmax(-1)
        at = range(len(prompt) - 1, len(prompt) + len(prefix) - 1)
        expected = sum(float(logprobs[i, token]) for i, token in zip(at, prefix, strict=True))
        assert row.meta["prefix_logprob"] == pytest.approx(expected, abs=1e-4)
    assert all("prefix_logprob" not in row.meta for row in rows if row.index > 0)


def test_the_prefix_of_an_encoder_decoder_is_what_its_decoder_begins_with(tmp_path):
    """Forced after its start token; its likelihood is that of the decoder, given the encoded prompt."""
    folder = save_student(tmp_path / "mt5", "mt5")
    rows = ask(sums(1), folder, {"cot": 2, "pot": 1}, mix=PREFIXES)
    loaded = open_student(folder)
    prompt = encode_prompt(render_prompt(sums(1)[0], PREFIXES), loaded.tokenizer, apart=True)
    for row in (row for row in rows if row.index == 0):
        prefix = encode_prefix(PREFIXES.prefixes[row.kind], loaded.tokenizer)
        with torch.no_grad():
            inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([[0, *prefix]])}
            logprobs = loaded.model(**inputs).logits[0].log_softmax(-1)
        expected = sum(float(logprobs[at, token]) for at, token in enumerate(prefix))
        assert row.meta["prefix_logprob"] == pytest.approx(expected, abs=1e-4)
        written = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, 1 + len(prefix) :]
        assert row.text == loaded.tokenizer.decode(written, skip_special_tokens=True)


def test_one_kind_alone_is_no_choice(student):
    """Nor are kinds without prefixes, or with prompts of their own."""
    assert "prefix_logprob" not in ask(sums(1), student, {"cot": 1}, mix=PREFIXES)[0].meta
    assert "prefix_logprob" not in ask(sums(1), student, {"cot": 1, "pot": 1})[0].meta


def test_a_chat_endpoint_cannot_be_made_to_begin():
    """Said before anything is sent."""
    address = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m", api_key_env=None)
    mix = MixConfig(format="chat", prefixes={"cot": "So"})
    with pytest.raises(ConfigError, match="a chat endpoint cannot be made to begin its answer with 'So'; give each"):
        list(infer(sums(1), address, InferConfig(paths={"cot": 1}), mix=mix))


def test_a_student_is_asked_in_the_form_that_it_was_trained_in(tmp_path):
    """Its folder says so; what is given goes over it, and a folder that says nothing gets the default."""
    folder = save_student(tmp_path / "tiny")
    plain = [row.text for row in ask(sums(2), folder, {"cot": 1})]
    mix = MixConfig(prompt="Please: {question} =")
    (folder / "training.json").write_text(json.dumps({"mix": mix.model_dump(mode="json")}))
    told = [row.text for row in ask(sums(2), folder, {"cot": 1})]
    assert told == [row.text for row in ask(sums(2), folder, {"cot": 1}, mix=mix)]
    assert plain == [row.text for row in ask(sums(2), folder, {"cot": 1}, mix=MixConfig())]
    assert told != plain
