"""An independent, plain form of both searches, that wrote the golden trees: mutable dicts, one call at a time.

    python tests/generators/golden/reference_search.py

It shares with the package only the seeds of its draws and the toy world's scores.
"""

import json
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy_worlds import ACTIONS, number, score

from potstill.records import child_seed

GOLDEN = Path(__file__).resolve().parent
PUBLISHED = {"c": 1.0, "normal": False, "share": 0.0, "wide": 5, "a": None, "depth": 5, "top": 10.0, "rounds": 3}
TREE = {"c": 0.3, "normal": True, "share": 0.5, "wide": 1, "a": 2.0, "depth": 4, "top": None, "rounds": None}
CASES = {
    "published": (PUBLISHED, 99, 1), "published_long": ({**PUBLISHED, "rounds": None}, 60, 2),
    "tree_25": (TREE, 25, 1), "tree_60": (TREE, 60, 2),
    "tree_default": ({**TREE, "c": 0.1, "share": 0.0, "wide": 4, "a": 1.0}, 40, 4),
    "tree_raw": ({**TREE, "normal": False, "c": 2.0}, 40, 3),
}  # fmt: skip


def made(nodes, parent, action, simulated=False):
    """Apply an action in the toy world; two attempts at a judgement."""
    above = nodes[parent]
    draw = sum(n["action"] == action for n in nodes if n["parent"] == parent)
    text = above["text"] + action + "'" * draw
    node = {"parent": parent, "action": action, "text": text, "depth": above["depth"] + 1, "v": None, "bad": False,
            "sim": simulated, "N": 0, "W": 0.0, "best": None}  # fmt: skip
    if number("empty", above["text"], action, draw) < 0.08:
        return {**node, "text": "", "bad": True}
    if number("gate", text) < 0.1:
        return {**node, "bad": True}
    if any(number("judge", text, attempt) >= 0.1 for attempt in (0, 1)):
        node["v"] = sum(score(text).values())
    return node


def grow(rules, budget, seed):  # noqa: C901, PLR0915 - one plain loop, on purpose
    """Return the nodes of a whole search."""
    wide, published = rules["wide"], rules["a"] is None
    root = {"parent": None, "action": None, "text": "x", "depth": 0, "v": sum(score("x").values()), "bad": False,
            "sim": False, "N": 0, "W": 0.0, "best": None}  # fmt: skip
    nodes, calls, step, idle = [root], 0, 0, 0

    def kids(i):
        return [j for j, n in enumerate(nodes) if n["parent"] == i and not n["sim"]]

    def terminal(i):
        high = rules["top"] is not None and nodes[i]["v"] is not None and nodes[i]["v"] > rules["top"]
        return i > 0 and (nodes[i]["depth"] >= rules["depth"] or high)

    def live(i):
        return not nodes[i]["bad"] and nodes[i]["v"] is not None

    def untried(i):
        return [a for a in ACTIONS if a not in [nodes[j]["action"] for j in kids(i)]]

    def dead(i):
        if i and not live(i):
            return True
        if terminal(i):
            return not published
        return bool(kids(i) if published else not untried(i)) and all(dead(j) for j in kids(i))

    def key(i, p):
        n = nodes[i]
        if not n["N"]:
            return math.inf, n["v"]
        value = (1 - rules["share"]) * n["W"] / n["N"] + rules["share"] * n["best"]
        if rules["normal"]:
            seen = [m["v"] for m in nodes if not m["bad"] and m["v"] is not None]
            value = (value - min(seen)) / (max(seen) - min(seen)) if max(seen) > min(seen) else 0.5
        return value + rules["c"] * math.sqrt(math.log(max(1, nodes[p]["N"])) / n["N"]), n["v"]

    def back(i, reward):
        while i is not None:
            n = nodes[i]
            n["N"], n["W"] = n["N"] + 1, n["W"] + reward
            n["best"] = reward if n["best"] is None else max(n["best"], reward)
            i = n["parent"]

    while calls < budget and step != rules["rounds"] and idle < 10 and not dead(0):
        step += 1
        rng, at = random.Random(child_seed(seed, "step", step)), 0
        while True:
            width = math.ceil(rules["a"] * math.sqrt(max(1, nodes[at]["N"]))) if not published else 0
            width = max(width, 0 if kids(at) else wide)
            room = (0 if kids(at) else wide) if published else width - sum(not dead(j) for j in kids(at))
            room = min(room, wide, len(untried(at)))
            if terminal(at) or room > 0:
                break
            keys = {j: key(j, at) for j in kids(at) if not dead(j)}
            tied = [j for j in keys if keys[j] == max(keys.values())]
            at = rng.choice(tied) if len(tied) > 1 else tied[0]
        if terminal(at):
            back(at, nodes[at]["v"])
            idle += 1
            continue
        idle, free = 0, untried(at)
        fresh = []
        for action in rng.sample(free, len(free))[: min(room, budget - calls)]:
            fresh.append(made(nodes, at, action))
            calls += 1
        first = len(nodes)
        nodes += fresh
        good = [i for i in range(first, len(nodes)) if live(i)]
        if published and good:
            now, left = max(good, key=lambda i: (nodes[i]["v"], -i)), rules["depth"] - nodes[at]["depth"] - 1
            rng = random.Random(child_seed(seed, "simulation", step))
            while left and calls < budget and not terminal(now):
                nodes.append(made(nodes, now, rng.choice(ACTIONS), simulated=True))
                calls, left = calls + 1, left - 1
                now = len(nodes) - 1 if live(len(nodes) - 1) else now
            good = [now]
        for i in good:
            back(i, nodes[i]["v"])
    return nodes


if __name__ == "__main__":
    for name, case in CASES.items():
        (GOLDEN / f"{name}.json").write_text(json.dumps(grow(*case), indent=0) + "\n", encoding="utf-8")
