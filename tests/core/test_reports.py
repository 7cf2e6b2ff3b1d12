"""Reports ask for a person: by viewers who were shown the video, against its impressions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest
from kit.events import FOOTBALL, MUSIC, NOW, admit, clear, impression, policy, takedown, view
from kit.folding import Folding, placed

from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.core.counters import Reported, Slice, VideoState, load_video
from streams.core.distinct import EVERYONE
from streams.core.events import Comment, LogRecord, Policy, Report
from streams.core.receipts import Receipt, ReportSum
from streams.core.reports import hear, is_too_much
from streams.core.waiting import Waiting

CONFIG: Final = Path(__file__).parents[2] / "config"
BAR: Final = 4_000_000
POLICY: Final = policy(report_drain=10_000, report_bar=BAR)
VIEWERS: Final = [f"u{number}" for number in range(40)]


def report(viewer: str, number: int = 1, slice_id: str = FOOTBALL) -> Report:
    return Report(f"r{number}-{viewer}", "v1", viewer, slice_id, NOW)


def shown(viewers: Sequence[str], slice_id: str = FOOTBALL) -> list[LogRecord]:
    return [
        impression(f"i-{slice_id[-3:]}-{viewer}", viewer=viewer, slice_id=slice_id)
        for viewer in viewers
    ]


def beginning(viewers: Sequence[str] = VIEWERS[:10], with_policy: Policy = POLICY) -> Folding:
    """A public video that these viewers were shown."""
    return Folding().fold(placed([with_policy, admit(), *shown(viewers)]))


def then(done: Folding, *events: LogRecord) -> Folding:
    return done.fold(placed(events, done.offset + 1))


def reported(done: Folding) -> Reported:
    return done.own().reported or Reported()


def reviews(done: Folding) -> list[Receipt]:
    return [receipt for receipt in done.receipts if receipt.action == "review"]


def test_reports_of_viewers_who_were_shown_it_ask_for_a_person_once() -> None:
    done = then(beginning(), *map(report, VIEWERS[:3]))
    assert done.waiting == []
    then(done, *map(report, VIEWERS[3:9]))
    assert [each.reason for each in reviews(done)] == ["reported"]
    asked = reviews(done)[0]
    assert (asked.slice, asked.impressions, asked.views) == ("", 10, 0)
    assert asked.reports == ReportSum(4, 4_000_000, BAR)
    assert done.waiting == [
        ("v1", Waiting("v1", "reports", NOW, "4 viewers report it, of 10 impressions", "c1"))
    ]


def test_a_viewer_who_was_not_shown_it_counts_nothing() -> None:
    strangers = [name for name in VIEWERS[10:] if not is_like(name, VIEWERS[:10])]
    done = then(beginning(), *map(report, strangers))
    assert len(strangers) > 10
    assert done.own().reported is None
    assert done.row(FOOTBALL).reports == len(strangers)


def shipped() -> Policy:
    """Return the policy of the shipped files, before a leader gave it a key to draw with."""
    catalogue = Catalogue.from_toml(CONFIG / "slices.toml")
    draft = PolicyRules.from_toml(CONFIG / "policy.toml", catalogue).draft
    return msgspec.structs.replace(draft, explore_probability=0)


def is_like(viewer: str, others: Sequence[str]) -> bool:
    """Tell whether a viewer sets the bit of one of the others."""
    alone, both = beginning(others), beginning([*others, viewer])
    return alone.row(FOOTBALL).viewers == both.row(FOOTBALL).viewers


def test_a_viewer_counts_once_however_often_and_however_late_they_report() -> None:
    done = Folding(5).fold(placed([POLICY, admit(), *shown(VIEWERS[:10])]))
    for number in range(10):
        others = [Comment(f"c{number}-{each}", "v1", "u9", FOOTBALL, NOW) for each in range(12)]
        then(done, report("u1", number), *others)
    assert done.row(FOOTBALL).reporters > 5, "the window of duplicates has passed many times"
    assert reported(done).sum == 1_000_000
    assert done.waiting == []


def test_impressions_take_away_and_below_nothing_it_does_not_fall() -> None:
    done = then(beginning(), report("u1"), report("u2"))
    assert reported(done).sum == 2_000_000
    then(done, *shown([f"w{n}" for n in range(30)], MUSIC), report("u3"))
    assert reported(done).sum == 2_000_000 - 30 * 10_000 + 1_000_000, "those of other slices too"
    then(done, *shown([f"x{n}" for n in range(300)]), report("u1", 2), report("u4"))
    assert reported(done).sum == 1_000_000, "and it begins anew"
    assert reported(done).reporters.bit_count() == 1


def test_a_word_of_a_person_settles_it_and_doubles_the_bar() -> None:
    done = then(beginning(VIEWERS), *map(report, VIEWERS[:4]))
    assert len(done.waiting) == 1
    then(done, clear(looked=NOW, by="alice", note="a parody"))
    assert done.waiting[1:] == [("v1", None)]
    said = reviews(done)[-1]
    assert (said.reason, said.by, said.note) == ("let_through", "alice", "a parody")
    again = [report(name, 2) for name in VIEWERS[10:]]
    then(done, *again[:6])
    assert len(done.waiting) == 2, "four more would have been enough before"
    then(done, *again[6:])
    assert [waiting is None for _, waiting in done.waiting] == [False, True, False]


def test_an_earlier_word_changes_nothing() -> None:
    done = then(beginning(VIEWERS), clear(looked=NOW), *map(report, VIEWERS[:3]))
    before = msgspec.structs.replace(reported(done))
    then(done, clear("clear-0", seq=3, looked=NOW - 1))
    assert reported(done) == before
    assert len(reviews(done)) == 1


def test_the_end_of_a_video_ends_the_asking() -> None:
    done = then(beginning(VIEWERS), *map(report, VIEWERS[:4]), takedown())
    assert [waiting is None for _, waiting in done.waiting] == [False, True]
    then(done, *map(report, VIEWERS[4:]))
    assert len(done.waiting) == 2


def test_without_a_bar_nobody_is_asked() -> None:
    done = then(beginning(VIEWERS, policy(report_bar=0)), *map(report, VIEWERS))
    assert done.own().reported is None


def test_what_adds_up_is_stored_with_the_video() -> None:
    done = then(beginning(VIEWERS), *map(report, VIEWERS[:3])).flush()
    assert load_video("v1", done.rows["v1"]).row.reported == reported(done)
    then(done.evict(), report(VIEWERS[3]))
    assert len(done.waiting) == 1


@pytest.mark.parametrize("number", [20, 30])
def test_colluding_reporters_remove_nothing(number: int) -> None:
    """A good video, and so many who were shown it and report it as often as they like."""
    mob = [f"mob{n}" for n in range(number)]
    honest = [f"good{n}" for n in range(60)]
    rules = shipped()
    log = [rules, admit(fits={}), *shown([*honest, *mob])]
    log += [view(f"w-{name}", viewer=name, watch_ms=9_900) for name in honest]
    before = Folding().fold(placed(log))
    after = Folding().fold(placed([*log, *(report(name, n) for n in range(3) for name in mob)]))
    after.flush()
    assert [waiting.cause for _, waiting in after.waiting if waiting] == ["reports"]
    assert after.own().stage == "public"
    assert [row.status for row in after.video().slices.values()] == [
        row.status for row in before.video().slices.values()
    ]


# ---------------------------------------------------------------- how well it tells


def tell(measured: str) -> None:
    """Print what was measured: `pytest -s` shows it."""
    print(measured)  # noqa: T201 - the only place of these numbers


USUAL: Final = 0.0005
"""Reports an impression that `config/policy.toml` calls usual."""


def lives(random: Random) -> float:
    """Impressions of a video: 5,000 in the mean, most have far less, few have millions."""
    return min(random.lognormvariate(6.52, 2.0), 2_000_000)


def asked(
    videos: int, rate: Callable[[Random], float], life: Callable[[Random], float]
) -> Iterator[tuple[int, int]]:
    """Yield reports and impressions at which moderation is asked, of each video where it is."""
    rules = shipped()
    random = Random(2024)
    for _ in range(videos):
        video, row, each, at = VideoState(), Slice(viewers=EVERYONE), rate(random), 0.0
        video.slices[FOOTBALL] = row
        end, number = life(random), 0
        while (at := at + random.expovariate(each)) <= end:
            number += 1
            row.impressions = int(at)
            hear(video, row, f"u{random.getrandbits(40)}", rules)
            if video.row.reported and is_too_much(video.row.reported, rules):
                yield number, row.impressions
                break


@pytest.mark.parametrize(
    ("rates", "rate"),
    [
        ("the usual rate", lambda _: USUAL),
        ("rates that differ, the usual one in the mean", lambda g: g.gammavariate(2, USUAL / 2)),
    ],
)
def test_at_most_one_video_in_a_thousand_is_asked_about_in_vain(
    rates: str, rate: Callable[[Random], float]
) -> None:
    videos = 20_000
    false = len(list(asked(videos, rate, lives)))
    tell(f"at {rates}: {100 * false / videos:.3f} % of {videos:,} videos")
    assert false <= videos // 1_000


@pytest.mark.parametrize(("rate", "reports"), [(0.005, 13), (0.01, 10), (0.03, 9)])
def test_a_bad_video_is_asked_about_soon(rate: float, reports: int) -> None:
    found = sorted(asked(500, lambda _: rate, lambda _: 1e9))
    middle, most = found[len(found) // 2], found[len(found) * 95 // 100]
    tell(f"{100 * rate:g} % report it: {middle[0]} reports in {middle[1]:,}; 95 %: {most[0]}")
    assert len(found) == 500
    assert middle[0] <= reports
