"""A student as an OpenAI-compatible server, asked by potstill's own client and by plain HTTP."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
import torch
from tiny_students import examples_of, save_student, sums

from potstill.rationales.sampling import sample
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.students.inference import infer, mix_of
from potstill.students.loading import open_student
from potstill.students.serving import Served, serving
from potstill.students.training import train

SHORT = {"max_new_tokens": 8}
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<s> ' + m['role'] + ' ' + m['content'] + ' </s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' <s>' }}{% endif %}"
)


@pytest.fixture(scope="module", params=["llama", "mt5"])
def folder(request, tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / request.param, request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("students") / "tiny")


def served_by(folder, **options):
    options = {"mix": MixConfig(), "config": InferConfig(**SHORT), "is_trained": True, **options}
    return Served(loaded=open_student(folder), name=folder.name, **options)


@asynccontextmanager
async def asking(served):
    """Yield a function that posts a body to a path of the served student: (status, decoded answer)."""

    def post(address, path, body):
        request = urllib.request.Request(address + path, json.dumps(body).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    async with serving(served) as address:
        yield lambda path, **body: asyncio.to_thread(post, address, path, {"model": "m", **body})


def texts(answer):
    return [choice["text"] for choice in answer["choices"]]


async def test_a_served_student_gives_the_answers_of_the_local_one(folder):
    """Greedy over HTTP by potstill's own client, a prefix forced, for a causal student and an encoder-decoder."""
    config, mix = InferConfig(paths={"cot": 1}, **SHORT), MixConfig(prefixes={"cot": " plus of", "pot": " is"})
    async with serving(served_by(folder, mix=mix)) as address:
        teacher = TeacherConfig(base_url=address, model=folder.name, api_key_env=None)
        remote = [row async for row in infer(sums(6), teacher, config, mix=mix)]
    local = [row async for row in infer(sums(6), folder, config, mix=mix)]
    assert {row.problem_id: row.text for row in remote} == {row.problem_id: row.text for row in local}
    assert {row.author for row in remote} == {folder.name}
    ends = [
        {r.problem_id: (r.finish, r.usage["completion_tokens"]) for r in rows if r.text} for rows in (remote, local)
    ]
    assert ends[0] == ends[1] != {}


async def test_a_served_student_teaches_like_any_other_endpoint(llama):
    """Sampled by the stage that asks teachers, with log-probabilities; every row has its text and its n differ."""
    async with serving(served_by(llama)) as address:
        teacher = TeacherConfig(base_url=address, model="tiny", api_key_env=None, logprobs=True, max_tokens=8)
        config = SampleConfig(n=4, template="zero_shot")
        rows = [row async for row in sample(sums(3), teacher, config)]
    assert sorted((row.problem_id, row.index) for row in rows) == [(f"train{i}", k) for i in range(3) for k in range(4)]
    assert all(row.text and row.logprob < 0 for row in rows)
    assert len({(row.problem_id, row.text) for row in rows}) >= 10


async def test_requests_that_come_together_are_written_in_one_batch(llama):
    """And give what they give alone."""
    prompts = [f"Q: {n} plus 1 A:" for n in range(8)]
    async with asking(served_by(llama)) as post:
        together = await asyncio.gather(*(post("/completions", prompt=prompt, seed=3, n=2) for prompt in prompts))
        alone = [await post("/completions", prompt=prompt, seed=3, n=2) for prompt in prompts]
    assert [texts(answer) for _, answer in together] == [texts(answer) for _, answer in alone]
    assert len({tuple(texts(answer)) for _, answer in alone}) > 1


async def test_seed_n_and_temperature_mean_what_they_say(llama):
    """The same seed gives the same texts, no seed others; temperature 0 is greedy and all choices are one."""
    async with asking(served_by(llama)) as post:
        ask = {"prompt": "Q: 1 plus 2 A:", "n": 3}
        first, again, other = [(await post("/completions", **ask, seed=seed))[1] for seed in (1, 1, 2)]
        unseeded = [(await post("/completions", **ask))[1] for _ in range(2)]
        greedy = (await post("/completions", **ask, temperature=0))[1]
    assert texts(first) == texts(again) != texts(other)
    assert len(set(texts(first))) > 1
    assert texts(unseeded[0]) != texts(unseeded[1])
    assert len(texts(greedy)) == 3
    assert len(set(texts(greedy))) == 1
    assert greedy["usage"]["prompt_tokens"] == 5


async def test_max_tokens_stop_and_logprobs(llama):
    """A stop text is cut off; each token's log-probability is the model's own."""
    async with asking(served_by(llama)) as post:
        ask = {"prompt": "Q: 1 plus 2 A:", "temperature": 0, "max_tokens": 6}
        whole = (await post("/completions", **ask, logprobs=1))[1]
        tokens, likely = whole["choices"][0]["logprobs"].values()
        word = next(word for word in whole["choices"][0]["text"].split()[1:])
        cut = (await post("/completions", **ask, stop=word))[1]["choices"][0]
    assert (whole["usage"]["completion_tokens"], whole["choices"][0]["finish_reason"]) == (6, "length")
    assert cut["text"] == whole["choices"][0]["text"].partition(word)[0]
    assert cut["finish_reason"] == "stop"
    loaded = open_student(llama)
    prompt = loaded.tokenizer(ask["prompt"])["input_ids"]
    written = loaded.tokenizer.convert_tokens_to_ids(tokens)
    with torch.no_grad():
        logprobs = loaded.model(torch.tensor([[*prompt, *written]])).logits[0].log_softmax(-1)
    expected = [float(logprobs[len(prompt) + at - 1, token]) for at, token in enumerate(written)]
    assert likely == pytest.approx(expected, abs=1e-4)


async def test_a_chat_is_asked_as_the_student_was_trained(llama):
    """In its own prompt where it was trained so; in the template of a student that has one."""
    question = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: 1 plus 2\nA:"}]
    async with asking(served_by(llama)) as post:
        chat = (await post("/chat/completions", messages=question, temperature=0))[1]
        plain = (await post("/completions", prompt="Q: 1 plus 2\nA:", temperature=0))[1]
    assert chat["choices"][0]["message"]["content"] == texts(plain)[0].strip()
    served = served_by(llama, is_trained=False)
    served.loaded.tokenizer.chat_template = CHAT_TEMPLATE
    async with asking(served) as post:
        templated = (await post("/chat/completions", messages=question[1:], temperature=0))[1]
        same = (await post("/completions", prompt="<s> user Q: 1 plus 2\nA: </s> <s>", temperature=0))[1]
    assert templated["choices"][0]["message"]["content"] == texts(same)[0].strip()
    assert templated["usage"]["prompt_tokens"] == same["usage"]["prompt_tokens"]


async def test_a_chat_of_a_student_of_two_views_begins_with_the_positive_one(llama):
    """As where it is asked for the problem: the same text, behind its view token."""
    mix = MixConfig(prompt="Q: {question} A:", prefixes={"positive": " plus", "negative": " of"})
    [local] = infer(sums(1, "test"), str(llama), InferConfig(**SHORT), mix=mix)
    question = [{"role": "user", "content": f"Q: {sums(1)[0].question}"}]
    async with asking(served_by(llama, mix=mix)) as post:
        status, answer = await post("/chat/completions", messages=question, temperature=0, max_tokens=8)
    assert (status, local.view) == (200, "positive")
    assert answer["choices"][0]["message"]["content"] == local.text.strip()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/completions", {"prompt": "Q", "stream": True}, "'stream' is not served by a local student; leave it out"),
        ("/completions", {"prompt": "Q", "temperature": -1}, "'temperature' must be 0 or more"),
        ("/completions", {"prompt": "Q", "top_p": 0}, r"'top_p' in \(0, 1\]"),
        ("/completions", {"prompt": "Q", "n": 5000}, "'n' is 5000; at most 1024"),
        ("/completions", {"prompt": "1 " * 200}, "prompt_too_long: 200 tokens, the student's context holds 128"),
        ("/completions", {"prompt": ""}, "the prompt has no tokens"),
        ("/completions", {}, "'prompt' must be one string"),
        ("/chat/completions", {"messages": []}, "'messages' must be a list of at least one message"),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [1]}, "'tools' is not served"),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json"}},
         "'response_format' must be text"),
    ],
)  # fmt: skip
async def test_what_is_not_served_is_refused(llama, path, body, message):
    """400 with the field, never an answer as if it had been heard."""
    async with asking(served_by(llama)) as post:
        status, answer = await post(path, **body)
    assert status == 400
    assert re.search(message, answer["error"]["message"])


async def test_the_list_of_models_names_the_student(llama):
    """As clients ask first."""
    async with serving(served_by(llama)) as address:

        def get():
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(address + "/models", timeout=60) as answer:
                return json.load(answer)

        found = await asyncio.to_thread(get)
    assert [row["id"] for row in found["data"]] == ["tiny"]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A student that has learnt four sums."""
    folder = tmp_path_factory.mktemp("students")
    base, mix = save_student(folder / "base"), MixConfig(prompt="Q: {question} A:")
    config = TrainConfig(max_steps=60, learning_rate=1e-2, problems_per_step=4, rationales_per_problem=2)
    student = StudentConfig(model=str(base))
    return train(examples_of(sums(4), n=1), config, student=student, out=folder / "taught", mix=mix)


async def test_an_answer_can_be_the_students_vote(taught):
    """The text of a path of the winning answer, and the count of the votes."""
    config = InferConfig(paths={"cot": 9}, temperature=1.0, max_new_tokens=20)
    served = served_by(taught, config=config, votes=True, answer_type="number", mix=mix_of(taught))
    async with asking(served) as post:
        ask = {"messages": [{"role": "user", "content": "1 plus 7"}], "seed": 5}
        first, again = [(await post("/chat/completions", **ask))[1] for _ in range(2)]
        refused, _ = await post("/chat/completions", **ask, n=2)
    assert (first["vote"], first["choices"]) == (again["vote"], again["choices"])
    assert refused == 400
    tally, said = first["vote"], first["choices"][0]["message"]["content"]
    assert (tally["answer"], tally["n_paths"]) == ("8", 9)
    assert said.endswith("So the answer is: 8")
    assert 5 <= tally["support"] <= tally["n_valid"] <= 9
    assert first["usage"]["completion_tokens"] > 9 * 5


def test_the_command_serves_until_it_is_told_to_stop(llama):
    """One line with the address, a foreign Host refused, SIGTERM ends it."""
    command = [sys.executable, "-m", "potstill", "serve", str(llama), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        request = urllib.request.Request(address + "/models", headers={"Host": "evil.example"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(request, timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
