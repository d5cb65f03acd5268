"""A student that thinks first: taught a reasoning teacher's thoughts, asked, verified by what follows the thought."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import potstill as ps
from potstill.recipe.evaluation import EvaluateConfig
from potstill.recipe.problems import SourceConfig
from potstill.recipe.students import InferConfig, MixConfig, StudentConfig, TrainConfig
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.students.loading import train_tokenizer
from potstill.students.training import train

QWEN = (  # writes the thought of an answer from its own field
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
R1 = (  # begins the thought in the prompt and keeps none of finished turns
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|assistant|>"
    "{{ m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


def student_of(folder, template, texts):
    """Write a small random student whose tokenizer can spell the texts."""
    tokenizer = train_tokenizer(texts, 400)
    tokenizer.chat_template = template
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=len(tokenizer), max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("template", [QWEN, R1], ids=["written by the template", "opened by the prompt"])
def test_thoughts_are_learnt_and_the_answer_is_what_follows_them(teacher_server, tmp_path, template):
    """From a server that returns `reasoning_content` to the score, two questions by heart."""
    server = teacher_server(canned=40, reasoning=True, wrong=0.0)
    rows = [{"id": f"p{n}", "question": f"What is {n} and {n}?"} for n in (3, 4)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = ps.load_problems(SourceConfig(source=str(tmp_path / "q.jsonl"), answer_type="number"))
    teacher = TeacherConfig(base_url=server.base_url, model="thinker", api_key_env=None)
    said = list(ps.sample(problems, teacher, SampleConfig(n=1, template="zero_shot")))
    assert all(row.reasoning_content for row in said)

    mix = MixConfig(format="chat", reasoning="think")
    examples = ps.mix(ps.verify(said, problems), mix, problems=problems, filter=None)
    assert all(example.target.startswith("<think>\n") for example in examples)
    base = student_of(tmp_path / "base", template, [e.prompt + e.target for e in examples])
    config = TrainConfig(max_steps=70, learning_rate=1e-2, problems_per_step=2, rationales_per_problem=1)
    out = train(examples, config, student=StudentConfig(model=str(base)), out=tmp_path / "s", mix=mix)

    paths = list(ps.infer(problems, out, InferConfig(paths={"cot": 1}, max_new_tokens=120)))
    assert sorted(path.text for path in paths) == sorted(example.target for example in examples)
    taught = {row.problem_id: row.verdict.answer for row in ps.verify(said, problems)}
    gold = [replace(problem, answer=taught[problem.id]) for problem in problems]
    [score] = [s for s in ps.evaluate(paths, gold, EvaluateConfig(bootstrap=100)) if s.metric == "accuracy"][:1]
    assert (score.value, score.n) == (1.0, 2)
    cut_off = list(ps.infer(problems, out, InferConfig(paths={"cot": 1}, max_new_tokens=8)))
    assert {row.verdict.status for row in ps.verify(cut_off, gold)} == {ps.Status.NO_ANSWER}
