"""What one judgement costs: the events of a crowded video, folded one at a time."""

import time
from statistics import median
from typing import Final

from streams.core.events import Admit, Policy
from streams.core.fold import fold
from streams.core.state import PartitionState
from streams.lab.load import Load, Shape
from streams.runtime.codec import decode_interaction

EVENTS: Final = 10_000
"""Of one video, in every crowd that it may reach."""


def judgement_micros(policy: Policy) -> float:
    """Return by how much an event that is judged takes longer than one that is not: medians."""
    load = Load("judged", 1, shape=Shape(1, everywhere=True), policy=policy)
    made = [out.value or b"" for _, some, _ in load.feedback(EVENTS, 1, policy.ts) for out in some]
    events = [decode_interaction(value) for value in made]
    name = events[0].video
    state = PartitionState(0, 1, EVENTS, telling=False)
    state.load(name, {})
    admission = Admit("admit", name, policy.ts, seq=1, commercial=False, limited=False, fits={})
    fold(state, [policy, admission], [0, 1], [0, 0])
    video = state.videos[name]
    nanos: dict[bool, list[int]] = {False: [], True: []}
    for offset, event in enumerate(events, 2):
        video.judged = False
        began = time.perf_counter_ns()
        fold(state, [event], [offset], [0])
        nanos[video.judged].append(time.perf_counter_ns() - began)
    return round((median(nanos[True]) - median(nanos[False])) / 1_000, 1)
