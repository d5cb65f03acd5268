"""Clients of others for `bench_sampling`, each run by the Python of its own environment in `benchmarks/.peers`.

    .peers/NAME/bin/python peer_clients.py NAME URL ROWS FOLDER

Each asks the same questions with as many requests in flight as our own, and prints one JSON line: requests a second,
CPU seconds per 1,000 requests with those of its child processes, and memory. What a first run of 8 rows took is taken
off, so that starting a pipeline costs the peer nothing here. Nothing of potstill is imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

IN_FLIGHT = 64
FIRST = 8
SYSTEM = "Answer step by step."


def questions(wanted: range) -> list[str]:
    return [f"Question {n}: Anna has {n} apples and buys {n + 3} more. How many has she?" for n in wanted]


def openai(url: str, wanted: range, folder: str) -> int:
    """The SDK with its defaults; what is bought is kept in memory only."""
    from openai import AsyncOpenAI

    async def run() -> int:
        numbers = iter(questions(wanted))
        texts = []
        async with AsyncOpenAI(base_url=url, api_key="none") as client:

            async def work() -> None:
                for question in numbers:
                    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
                    answer = await client.chat.completions.create(
                        model="m", messages=messages, temperature=1.0, max_tokens=512
                    )
                    texts.append(answer.choices[0].message.content)

            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return len(texts)

    return asyncio.run(run())


class QuarterTokens:
    """Stands in for tiktoken, which downloads its tables: a token for every four characters, at no cost."""

    def encode(self, text: str, **_: object) -> list[int]:
        return [0] * (len(text) // 4)


def curator(url: str, wanted: range, folder: str) -> int:
    """Bespoke Curator: its cache on disk, no limit of requests or tokens a minute that would slow it."""
    import tiktoken

    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: QuarterTokens()
    from bespokelabs import curator

    limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10, "max_concurrent_requests": IN_FLIGHT}
    llm = curator.LLM(
        model_name="m", backend="openai", generation_params={"temperature": 1.0, "max_tokens": 512},
        backend_params={"base_url": url, "api_key": "none", **limits},
    )  # fmt: skip
    answered = llm(questions(wanted), working_dir=folder)
    return len(getattr(answered, "dataset", answered))


def distilabel(url: str, wanted: range, folder: str) -> int:
    """distilabel: a pipeline of one step, batches of as many rows as may be in flight."""
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(name="bench", cache_dir=folder) as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": q} for q in questions(wanted)], batch_size=IN_FLIGHT)
        llm = OpenAILLM(
            model="m", base_url=url, api_key="none", generation_kwargs={"temperature": 1.0, "max_new_tokens": 512}
        )
        rows >> TextGeneration(llm=llm, system_prompt=SYSTEM, input_batch_size=IN_FLIGHT)
    made = pipeline.run(use_cache=False)
    return sum(text is not None for text in made["default"]["train"]["generation"])


SYSTEMS: dict[str, Callable[[str, range, str], int]] = {"openai": openai, "curator": curator, "distilabel": distilabel}


def spent() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def timed(name: str, url: str, wanted: range, folder: Path) -> tuple[float, float, int]:
    """Return the seconds and CPU seconds of one run, and how many rows were answered."""
    folder.mkdir()
    wall, cpu = time.perf_counter(), spent()
    answered = SYSTEMS[name](url, wanted, str(folder))
    return time.perf_counter() - wall, spent() - cpu, answered


def main() -> None:
    name, url, rows, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    own = 1_000_000 + 1000 * os.getpid()
    timed(name, url, range(own - 8, own), folder / "imports")
    first_wall, first_cpu, _ = timed(name, url, range(own, own + FIRST), folder / "first")
    wall, cpu, answered = timed(name, url, range(rows), folder / "rows")
    peak = sum(resource.getrusage(kind).ru_maxrss for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    more = rows - FIRST
    print(json.dumps({"requests_per_s": more / (wall - first_wall), "cpu_s_per_1000": 1000 * (cpu - first_cpu) / more,
                      "peak_mb": peak, "answered": answered, "fixed_s": first_wall}))  # fmt: skip


if __name__ == "__main__":
    main()
