"""What happens in a life besides its processes: drawn from the seed, told in words, droppable."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from simulation.processes import PARTITIONS, SLICES

CREW: Final = ("worker-1", "worker-2", "plane-1", "plane-2", "feed-1")
"""Whose processes run from the beginning."""
HOSTS: Final = ("redis", "producers", *CREW)
"""Whose clocks may jump."""
GUESTS: Final = ("worker-3", "plane-3", "feed-2")
"""Whose processes may join for a while."""
LED: Final = (
    *(
        (topic, partition)
        for topic in ("interactions", "decisions", "uploads", "reviews", "dossiers", "traffic")
        for partition in range(PARTITIONS)
    ),
    ("policies", 0),
)
"""Partitions that may lose their leader."""
WIRES: Final = ("redis", "index", "kafka")
HOLDINGS: Final = ("all", "index", *(f"partition {p}" for p in range(PARTITIONS)), *SLICES)
"""What of Redis may fall back or be emptied: everything, all slices, one shard, or one slice."""


class Step(NamedTuple):
    """One thing that befalls a life; `number` is a count, or the seed of what it brings."""

    at: float
    kind: str
    who: str = ""
    number: int = 0
    span: float = 0.0

    def words(self) -> str:
        """Say it."""
        what = WORDS[self.kind].format(who=self.who, number=self.number, span=self.span)
        return f"at {self.at:6.2f} s {what}"


WORDS: Final[dict[str, str]] = {
    # life
    "upload": "{who} is uploaded",
    "tags": "a recogniser sees something in {who}",
    "verdict": "a moderator gives a verdict on {who}",
    "look": "a moderator wants another look at {who}",
    "word": "a person speaks about the slice {who}",
    "crowd": "a crowd of {number} watches {who}",
    "over": "the live room {who} is over",
    "longer": "generations are {number} records long from now on",
    "keys": "a second key may sign, by the change of keys {number}",
    "files": "the files of the policy change to number {number}",
    "ages": "snapshots are taken, and {span:.1f} s later the log lacks what they make needless",
    "moves": "in the end it goes over to {number} partitions",
    # what is written badly
    "again": "the last {number} records of partition {who} are written again",
    "astray": "{number} records about {who} are written to another partition",
    "bad": "{number} records that nobody can read are written about {who}",
    # what is done too late
    "falters": "whoever writes to {who} next stands still for {span:.1f} s before it does",
    # what breaks
    "dies": "{who} is killed at its {number}th step from here",
    "freezes": "{who} stands still for {span:.1f} s",
    "slows": "the calls of {who} take up to {span:.2f} s each way, for a while",
    "stops": "{who} is stopped in good order and started again",
    "joins": "{who} joins for {span:.1f} s",
    "away": "{who} refuses every call for {span:.1f} s",
    "deaf": "the replies to the next {number} calls of {who} are lost",
    "headless": "partition {number} of {who} has no leader for {span:.1f} s",
    "falls back": "Redis ({who}) falls back to what it was {span:.1f} s before",
    "emptied": "Redis ({who}) is emptied",
    "clock": "the clock of {who} jumps by {number} s",
}
LASTING: Final = frozenset(("ages", "falters", "freezes", "joins", "away", "headless"))
"""What takes its time."""
FAULTS: Final = tuple(WORDS)[tuple(WORDS).index("dies") :]
WEIGHTS: Final = (8, 6, 3, 3, 2, 4, 4, 4, 6, 1, 3)
"""How often each fault is drawn, beside the others."""
assert len(FAULTS) == len(WEIGHTS)


LONGER: Final = (8, 24, 48, 400)
"""What generations become, or stay if they are longer."""
LATE: Final = 0.2
"""In so many lives a control plane writes what it decided before another one took its place."""
MOVED: Final = 0.06
"""So many lives go over to another partition count."""
AGED: Final = 0.12
"""In so many lives the log loses its beginning."""


def plan_of(seed: int) -> tuple[Step, ...]:
    """Return what befalls the life of a seed, in the order of time."""
    random = Random(f"plan {seed}")
    length = random.uniform(5, 10)
    steps = [*_days(random, length)]
    steps += [_fault(random, length) for _ in range(random.randrange(1, 7))]
    steps += _late(Random(f"late {seed}"))
    steps += _aged(Random(f"aged {seed}"))
    steps += _moved(Random(f"moved {seed}"))
    return tuple(sorted(steps))


def end_of(steps: Sequence[Step]) -> float:
    """Return when the last fault is over."""
    return max((step.at + _lasts(step) for step in steps), default=0.0)


def _lasts(step: Step) -> float:
    return step.span if step.kind in LASTING else 0.0


def _days(random: Random, length: float) -> list[Step]:
    """Return what people do."""
    videos = [f"v{number}" for number in range(random.randrange(2, 6))]
    steps = [
        Step(random.uniform(0, length * 0.7), "upload", video, random.getrandbits(30))
        for video in videos
    ]

    def some(kind: str, least: int, most: int, who: Sequence[str]) -> None:
        steps.extend(
            Step(random.uniform(0.5, length), kind, random.choice(who), random.getrandbits(30))
            for _ in range(random.randrange(least, most + 1))
        )

    def few(kind: str, most: int, count: Callable[[], int], who: Sequence[str]) -> None:
        steps.extend(
            Step(random.uniform(1, length), kind, random.choice(who), count())
            for _ in range(random.randrange(most + 1))
        )

    some("upload", 0, 2, videos)
    some("over", 0, 1, videos)
    some("tags", 0, 2, videos)
    some("verdict", 0, 3, videos)
    some("look", 0, 1, videos)
    if random.random() < 0.2:
        some("word", 1, 2, SLICES)
    few("crowd", 8, lambda: random.randrange(1, 16), videos)
    few("again", 2, lambda: random.randrange(1, 8), [str(p) for p in range(PARTITIONS)])
    few("astray", 1, lambda: random.randrange(1, 3), videos)
    few("bad", 1, lambda: random.randrange(1, 9), videos)
    few("longer", 1, lambda: random.choice(LONGER), [""])
    few("keys", 1, lambda: random.randrange(1, 1_000), [""])
    if random.random() < 0.25:
        steps.append(Step(random.uniform(1, length), "files", "", random.randrange(1, 4)))
    return steps


def _late(random: Random) -> list[Step]:
    """Return what has a control plane write late, and in between what makes that matter."""
    if random.random() >= LATE:
        return []
    span = random.uniform(5, 7)
    if random.random() < 0.5:
        look = random.choice([2, 4])  # seconds: then control planes look at their files
        return [
            Step(look - 0.3, "files", "", random.randrange(1, 4)),
            Step(look - 0.2, "falters", "policies", 0, span),
            Step(look + random.uniform(0.3, 1.8), "files", "", 0),
        ]
    at, video = random.uniform(1.5, 3), random.choice(["v0", "v1"])
    return [
        Step(at, "falters", random.choice(["dossiers", "copies"]), 0, span),
        Step(at + 0.1, "tags", video, random.getrandbits(30)),
        Step(at + random.uniform(0.5, 4), "verdict", video, random.getrandbits(30)),
    ]


def _aged(random: Random) -> list[Step]:
    """Return what makes the log lose its beginning, once or twice, and what meets it then."""
    if random.random() >= AGED:
        return []
    at, span = random.uniform(3, 8), random.uniform(6.5, 8)
    steps = [Step(at, "ages", "", 0, span)]
    if random.random() < 0.5:
        steps.append(Step(at + random.uniform(0.5, 4), "ages", "", 0, span))
    over, partition = at + span, random.randrange(PARTITIONS)
    steps.append(Step(over + random.uniform(0, 1), "again", str(partition), random.randrange(1, 8)))
    if random.random() < 0.7:
        who = random.choice(["all", f"partition {partition}"])
        steps.append(Step(over + random.uniform(0, 2), "emptied", who))
    for begun, ended in ((0, at), (0, at), (over, over + 3)):
        video, many = random.choice(["v0", "v1", "v2"]), random.randrange(5, 16)
        steps.append(Step(random.uniform(begun, ended), "crowd", video, many))
    return steps


def _moved(random: Random) -> list[Step]:
    if random.random() >= MOVED:
        return []
    return [Step(0.0, "moves", "", random.choice([1, 2, 4, 5]))]


def _fault(random: Random, length: float) -> Step:
    (kind,) = random.choices(FAULTS, WEIGHTS)
    draw = DRAWN[kind]
    return Step(random.uniform(0.5, length), kind, *draw(random))


Drawn = tuple[str, int, float]
DRAWN: Final[dict[str, Callable[[Random], Drawn]]] = {
    "dies": lambda random: (random.choice(CREW), random.randrange(1, 40), 0.0),
    "freezes": lambda random: (random.choice(CREW), 0, random.uniform(0.5, 6)),
    "slows": lambda random: (random.choice(CREW), 0, random.choice([0.05, 0.2, 0.7])),
    "stops": lambda random: (random.choice(CREW), 0, 0.0),
    "joins": lambda random: (random.choice(GUESTS), 0, random.uniform(1, 5)),
    "away": lambda random: (random.choice(WIRES), 0, random.uniform(0.3, 4)),
    "deaf": lambda random: (random.choice(WIRES), random.randrange(1, 6), 0.0),
    "headless": lambda random: (*random.choice(LED), random.uniform(0.3, 4)),
    "falls back": lambda random: (random.choice(HOLDINGS), 0, random.uniform(0.1, 4)),
    "emptied": lambda random: (random.choice(HOLDINGS), 0, 0.0),
    "clock": lambda random: (random.choice(HOSTS), random.choice([-3_600, 3_600]), 0.0),
}
"""Who, which number and how long, of each fault."""
