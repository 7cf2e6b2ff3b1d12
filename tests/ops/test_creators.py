"""What operators see of creators, on the twins."""

from collections.abc import Mapping

from kit.control import NOW
from kit.events import FANS, FIXED, FOOTBALL, admit, impression, revise, videos_of
from kit.folding import Folding, placed

from streams.core.creators import DAY_MINUTES, DayStart
from streams.core.events import LogRecord
from streams.ops.creators import as_object, at_the_end, for_people, report_creators
from streams.runtime.memory import MemoryDossiers, MemoryStore

PARTITIONS = 2
DAY = NOW // 60_000 // DAY_MINUTES
HOMES = [videos_of(partition, PARTITIONS, 2) for partition in range(PARTITIONS)]


def audience(video: str, creator: str, band: int, public: int, private: int) -> list[LogRecord]:
    own = admit(f"a-{video}", video=video, creator=creator, band=band)
    shown = [impression(f"{video}-p{n}", video=video, slice_id=FOOTBALL) for n in range(public)]
    fans = [impression(f"{video}-f{n}", video=video, slice_id=FANS) for n in range(private)]
    return [own, *shown, *fans]


async def stored(lowered: Mapping[str, int] = {}) -> MemoryStore:
    """Return a store in which c1 has a video in each partition, c2 and c3 have one.

    Some are `lowered` by a handicap.
    """
    store = MemoryStore()
    of = [
        [("c1", 2, 5, 4), ("c2", 0, 1, 0)],
        [("c1", 3, 6, 2), ("c3", 0, 0, 0)],
    ]
    for partition, (names, some) in enumerate(zip(HOMES, of, strict=True)):
        events = [e for name, one in zip(names, some, strict=True) for e in audience(name, *one)]
        events += [revise(v, video=v, handicap=lowered[v]) for v in names if v in lowered]
        folding = Folding(partition=partition, partitions=PARTITIONS)
        folding.fold(placed([FIXED, *events]))
        await store.flush(partition, "ns", -1, 10, folding.state.take_changes())
    return store


async def test_creators_are_summed_over_partitions_the_largest_first() -> None:
    report = await report_creators(await stored(), MemoryDossiers(), ("ns", PARTITIONS), NOW, 2)
    assert [(row["creator"], row["videos"], row["public"]) for row in report.creators] == [
        ("c1", 2, 11),
        ("c2", 1, 1),
    ]
    assert (report.known, report.top_share) == (3, 11 * 1_000_000 // 12)
    assert report.gini == (2 * 11) * 1_000_000 // (3 * 12)
    assert [(row["band"], row["videos"], row["shown"]) for row in report.bands] == [
        (0, 2, 1),
        (2, 2, 17),
    ]


async def test_a_look_does_not_change_what_the_next_one_finds() -> None:
    store = await stored()
    looks = [
        await report_creators(store, MemoryDossiers(), ("ns", PARTITIONS), NOW, 9) for _ in range(2)
    ]
    assert looks[0] == looks[1]


async def test_creators_whose_fans_were_shown_less_than_half_are_named() -> None:
    dossiers = MemoryDossiers()
    for ago, (c1, c2) in {2: (0, 0), 1: (300, 300), 0: (400, 500)}.items():
        sums = {"c1": (0, c1), "c2": (0, c2)}
        await dossiers.keep_day(DAY - ago, DayStart((DAY - ago) * DAY_MINUTES, sums))
    report = await report_creators(await stored(), dossiers, ("ns", PARTITIONS), NOW, 9)
    assert report.fallen == ["c1"]
    assert report.private_lost == 500_000
    shown = at_the_end(report)
    assert shown["private, yesterday against the day before"] == "-50.0 %"
    assert shown["fell by more than half"] == "c1"


async def test_people_read_percentages_and_what_is_not_known_yet() -> None:
    report = await report_creators(await stored(), MemoryDossiers(), ("ns", PARTITIONS), NOW, 9)
    first = for_people(report.creators[0])
    assert (first["public"], first["conversion"], first["private_lost"]) == ("11", "0.0 %", None)
    shown = at_the_end(report)
    assert (shown["creators"], shown["share of the top 1 %"]) == ("3", "91.7 %")
    assert shown["private, yesterday against the day before"] == "not known yet"
    assert as_object(report)["gini"] == report.gini


async def test_without_any_video_there_is_nothing_unequal() -> None:
    report = await report_creators(MemoryStore(), MemoryDossiers(), ("ns", PARTITIONS), NOW, 9)
    assert (report.creators, report.gini, report.top_share) == ([], None, None)


async def test_who_is_ranked_less_is_listed_with_by_how_much() -> None:
    store = await stored(lowered={HOMES[0][0]: 20_000})
    report = await report_creators(store, MemoryDossiers(), ("ns", PARTITIONS), NOW, 9)
    told = {row["creator"]: row["handicap"] for row in report.creators}
    assert (told["c1"], {told[name] for name in told if name != "c1"}) == (20_000, {0})
    assert all("handicap" not in row for row in report.bands)
    assert for_people(report.creators[0])["handicap"] == "0.02"
    assert at_the_end(report)["ranked less for the ceiling"] == "1"
