"""Small workflows of many users, drawn from a seed.

`test_workflow_service.py` has a tenth of what `benchmarks/many_workflows.py` has, by the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

SEED = 13

_SHAPES: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"task": "vote_mix"},),
    ({"task": "stack_top_any", "stack": {"top_n": 2}},),
    ({"task": "stack_top_any", "stack": {"top_n": 2}}, {"task": "vote_weight"}),
    ({"task": "route_feature", "route": {"feature": "kind"}}, {"task": "vote_mix", "depends_on": ["route_feature"]}),
)


def drawn(rng: random.Random, users: Sequence[str], count: int) -> list[tuple[str, tuple[dict[str, Any], ...]]]:
    """So many workflows: whose each is, in turn, and its tasks."""
    return [(users[number % len(users)], rng.choice(_SHAPES)) for number in range(count)]
