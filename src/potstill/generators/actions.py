"""The twelve published kinds of evolution action, by name. The words that ask a model for them live elsewhere.

Source: IDEA-MCTS, Li et al. 2024, arXiv:2410.10392, as listed by a secondary source; the names are ours.
"""

from __future__ import annotations

ACTIONS = (
    "goals", "constraints", "requirements", "skills", "reasoning", "domain",
    "life", "real_world", "emotion", "input_format", "output_format", "new",
)  # fmt: skip
"""Add global and local goals, key constraints, task requirements, problem-solving skills, reasoning complexity, domain
knowledge, life topics, real-world applications, emotional expression; change the style of the input or the output;
create a new one."""
