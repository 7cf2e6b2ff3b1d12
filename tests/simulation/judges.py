"""What must be true of a life that has settled, whatever befell it."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from kit.facts import TOPICS, dossier_differences, facts_of
from kit.folding import Folding, Placed
from kit.keys import INSTALLATION, SPELLING, TRUST
from kit.twins import LOG, refusals_in
from simulation.life import Flaw, Life
from simulation.moved import differences
from simulation.processes import BEYOND, FULL, PARTITIONS, SLICES, rules, settings
from simulation.scale import small
from simulation.traffic import creator_of

from streams.control.admission import dossier
from streams.core.counters import VIDEO_ROW, load_video
from streams.core.events import Admit, Lead, LogRecord, Policy, Revise, order_of
from streams.core.keys import read_trust
from streams.core.partitioner import partition_of
from streams.core.receipts import encode as encode_receipt
from streams.core.state import PartitionState
from streams.core.traffic import decode as decode_tick
from streams.core.traffic import encode as encode_tick
from streams.core.window import REPLAYED_GENERATIONS, Part
from streams.errors import StreamsError
from streams.ops.verify import verify
from streams.runtime.codec import decode_log
from streams.runtime.leases import LEASE_LONGEST_S, prices_of
from streams.runtime.mixes import order_of_mix, read_mix
from streams.runtime.namespace import namespace_of
from streams.runtime.part_store import StoredPart
from streams.runtime.policies import stored_policy
from streams.runtime.ports import Record
from streams.runtime.rows import StoredRows
from streams.runtime.window_store import read_part

BRINGS: Final[Mapping[str, Sequence[str]]] = {
    "misrouted": ["astray"],
    "future": ["clock"],
    "range": ["over"],
}
"""Which kinds of steps bring what is refused for a reason, beside what is bad.

An old leader's word is stale whatever befalls a life.
"""


def judge(life: Life) -> None:
    """Raise `Flaw` with the first thing that is wrong."""
    with small(life.part_records):
        for found in _all(life):
            raise Flaw(found)


def _all(life: Life) -> Iterator[str]:
    yield from life.watch.flaws
    yield from life.redis.dossiers.flaws
    clean = [Clean(life, partition) for partition in range(PARTITIONS)]
    yield from _counters(life, clean)
    yield from _parts(life, clean)
    yield from _recount(life)
    yield from _receipts(life, clean)
    yield from _ticks(life, clean)
    yield from _letters(life, clean)
    yield from _meant(life)
    yield from _dossiers(life)
    yield from _guarantees(life)
    yield from _policies(life)
    yield from _old_leaders(life)
    yield from _mixes(life)
    yield from index_differences(life)
    yield from _leases(life)
    yield from _moved(life)


# -------------------------------------------------------------------------- the log's own


class Clean:
    """One partition's log folded once from its beginning, by nobody else's leave."""

    def __init__(self, life: Life, partition: int) -> None:
        records = life.log.ever(LOG, partition)
        out = decode_log(records, TRUST, SPELLING)
        places = [Placed(*at) for at in zip(out.events, out.offsets, out.elements, strict=True)]
        self.folding: Final = Folding(settings().generation_records, partition, PARTITIONS)
        window = self.folding.state.window
        window.turn(0)  # of parts before the first event it tells too
        window.filled = filled = []
        self.folding.fold(places).flush()
        self.parts: Final[Mapping[int, Part]] = {part.start: part for part in filled}
        refusals = [*out.refusals, *self.folding.rejected]
        self.refusals: Final = {(each.offset, each.element, each.reason) for each in refusals}


def _counters(life: Life, clean: list[Clean]) -> Iterator[str]:
    for partition, each in enumerate(clean):
        stored = life.redis.store.partitions.get(partition)
        if stored is None:
            yield f"partition {partition} has no counters"
            continue
        rows = rows_of(life, partition)
        if rows != each.folding.rows:
            videos = sorted(
                video
                for video in {*rows, *each.folding.rows}
                if rows.get(video) != each.folding.rows.get(video)
            )
            yield f"counters of partition {partition} differ from a clean fold: {videos}"
        if both := sorted(stored.rows.keys() & stored.pointers.keys()):
            yield f"of partition {partition} both rows and pointers are stored: {both}"
        if stored.meta._replace(mark="") != each.folding.meta:
            yield f"the meta of partition {partition} differs from that of a clean fold"


def _parts(life: Life, clean: list[Clean]) -> Iterator[str]:
    """Yield parts of windows that are stored and are not what a clean fold fills."""
    namespace = namespace_of(life.log.identity(LOG), INSTALLATION.id)
    for partition, each in enumerate(clean):
        stored = life.redis.store.partitions[partition]
        generations = each.folding.state.window.generations
        sure = generations.back(max(stored.watermark, 0), REPLAYED_GENERATIONS - 1)
        for start, part in sorted(stored.parts.items()):
            place, filled = (namespace, partition), each.parts.get(start)
            if not _is_filled(part, filled, place, states=start >= sure):
                yield f"part {start} of partition {partition} is not what a clean fold fills"


def _is_filled(
    stored: StoredPart, filled: Part | None, place: tuple[str, int], *, states: bool
) -> bool:
    """Tell whether a part is what it has to be, with what its likes came to if that is known.

    Of the oldest generation that is read again nobody knows it, and nobody asks.
    """
    if filled is None:
        return False
    has_ids = bool(stored.ids)
    part = read_part(stored, filled, place, ids=has_ids)
    if has_ids and (set(part.ids), part.digests) != (set(filled.ids), filled.digests):
        return False
    return set(part.met) == set(filled.met) and not (states and part.states != filled.states)


def rows_of(life: Life, partition: int) -> Mapping[str, Mapping[str, bytes]]:
    """Return the rows of a partition, in Redis or in the archive."""
    return asyncio.run(life.whole_store().scan(partition))


def _recount(life: Life) -> Iterator[str]:
    found = asyncio.run(verify(*life.counted_log()))
    if found.differences:
        yield f"{found.differences} counters differ from the recount: {found.examples[:3]}"
    for partition, why in found.unproved.items():
        yield f"partition {partition} cannot be counted again: {why}"


def _receipts(life: Life, clean: list[Clean]) -> Iterator[str]:
    told: dict[str, bytes] = {}
    for record in _sent(life, "decisions"):
        value = record.value or b""
        name = msgspec.json.decode(value)["id"]
        if told.setdefault(name, value) != value:
            yield f"decision {name} was told in two ways"
    wanted = {said.id: encode_receipt(said) for each in clean for said in each.folding.receipts}
    yield from _same("decision", told, wanted)


def _ticks(life: Life, clean: list[Clean]) -> Iterator[str]:
    told: dict[str, bytes] = {}
    for record in _sent(life, "traffic"):
        value = record.value or b""
        name = decode_tick(value).id
        if told.setdefault(name, value) != value:
            yield f"minute {name} was told in two ways"
    wanted = {tick.id: encode_tick(tick) for each in clean for tick in each.folding.ticks}
    yield from _same("minute", told, wanted)


def _letters(life: Life, clean: list[Clean]) -> Iterator[str]:
    told = _refused(life)
    wanted = {(p, *one) for p, each in enumerate(clean) for one in each.refusals}
    if told != wanted:
        yield f"refusals differ: {sorted(told ^ wanted)[:3]}"


def events_of(life: Life) -> Iterator[LogRecord]:
    """Yield the events of the log."""
    for partition in range(PARTITIONS):
        yield from decode_log(life.log.ever(LOG, partition), TRUST, SPELLING).events


def _meant(life: Life) -> Iterator[str]:
    """Yield what is refused and nothing that befell it was meant to be: whoever wrote it erred."""
    befell = {step.kind for step in life.steps}
    for topic in (LOG, *TOPICS):
        for partition, offset, _, reason in sorted(_refused(life, topic)):
            if not is_meant(reason, befell):
                yield f"offset {offset} of {topic}[{partition}] is refused, unmeant: {reason}"


def is_meant(reason: str, befell: Collection[str]) -> bool:
    """Tell whether something that befell a life brings what is refused for a reason."""
    return reason == "stale" or bool({*BRINGS.get(reason, ()), "bad"} & set(befell))


def _refused(life: Life, topic: str = LOG) -> set[tuple[int, int, int, str]]:
    """Return what the letters are about: partition, offset, element and reason."""
    told: set[tuple[int, int, int, str]] = set()
    for record in _sent(life, f"{topic}.dlq"):
        partition = int(dict(record.headers)["__streams.errors.partition"] or b"")
        told |= {(partition, *each) for each in refusals_in(record)}
    return told


def _same(kind: str, told: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> Iterator[str]:
    for name in sorted({*told, *wanted}):
        if name not in told:
            yield f"{kind} {name} was not told"
        elif name not in wanted:
            yield f"{kind} {name} was told and never taken"
        elif told[name] != wanted[name]:
            yield f"{kind} {name} was told in other words than a clean fold's"


def _sent(life: Life, topic: str) -> list[Record]:
    return [each for p in range(PARTITIONS) for each in life.log.records(topic, p)]


# -------------------------------------------------------------------------- what people said


def _dossiers(life: Life) -> Iterator[str]:
    known = {
        video: dossier.decode(document.text)
        for shelf in life.redis.dossiers.shelves.values()
        for video, document in shelf.documents.items()
    }
    said = {topic: _sent(life, topic) for topic in TOPICS}
    facts = facts_of(said, rules(life.files).tools, PARTITIONS)
    rows = [rows_of(life, partition) for partition in range(PARTITIONS)]
    stages = {video: _stage(rows, video) for video in {*known, *facts}}
    yield from dossier_differences(known, facts, stages)


def _guarantees(life: Life) -> Iterator[str]:
    """Yield where a first audience is promised twice, or to more of a creator's day than may be.

    Redis may lose a count that only another control plane knew of, and none of them notice before
    the next claim.
    """
    promised: dict[str, set[int]] = {}
    for event in events_of(life):
        if isinstance(event, Admit | Revise) and event.guarantee and not _is_limited(event):
            promised.setdefault(event.video, set()).add(event.guarantee)
    full: Counter[str] = Counter()
    for video, numbers in sorted(promised.items()):
        if len(numbers) > 1 or not numbers <= {FULL, BEYOND}:
            yield f"{video} was guaranteed {sorted(numbers)}"
        full[creator_of(video)] += FULL in numbers
    is_lost = any(step.kind in {"falls back", "emptied"} for step in life.steps)
    for creator, count in full.items():
        if count > 1 and not is_lost:
            yield f"{count} videos of {creator} have a full guarantee of one day"


def _is_limited(event: Admit | Revise) -> bool:
    return event.limited is not False


def _stage(rows: Sequence[Mapping[str, Mapping[str, bytes]]], video: str) -> str:
    fields = rows[partition_of(video.encode(), PARTITIONS)].get(video, {})
    own = {name: raw for name, raw in fields.items() if name == VIDEO_ROW}
    return load_video(video, own).row.stage


# -------------------------------------------------------------------------- what leaders said


def _policies(life: Life) -> Iterator[str]:
    metas = [life.redis.store.partitions[p].meta for p in range(PARTITIONS)]
    if len({meta.policy for meta in metas}) != 1:
        yield f"partitions have {len({meta.policy for meta in metas})} policies in force"
        return
    terms = {read_trust(meta.keys).term for meta in metas}
    if len(terms) != 1:
        yield f"partitions know of different terms: {sorted(terms)}"
    policy = stored_policy(metas[0].policy)
    written = [
        one for record in life.log.records("policies", 0) if (one := _policy(record)) is not None
    ]
    if policy is None or order_of(policy) != max(map(order_of, written)):
        yield "the policy in force is not the greatest that was written"
    for partition in range(PARTITIONS):
        orders = [
            order_of(event)
            for event in decode_log(life.log.ever(LOG, partition), TRUST, SPELLING).events
            if isinstance(event, Policy)
        ]
        if policy is not None and orders and max(orders) > order_of(policy):
            yield f"partition {partition} was written a greater policy than the one in force"


def _old_leaders(life: Life) -> Iterator[str]:
    """Yield what is in force of a leader that wrote it behind another one's term."""
    refused = _refused(life)
    for partition in range(PARTITIONS):
        out = decode_log(life.log.ever(LOG, partition), TRUST, SPELLING)
        term, before = 0, set[tuple[int, int]]()
        for event, offset, element in zip(out.events, out.offsets, out.elements, strict=True):
            if isinstance(event, Lead):
                term = max(term, event.term)
            elif isinstance(event, Policy):
                is_again = order_of(event) in before
                before.add(order_of(event))
                is_refused = (partition, offset, element, "stale") in refused
                if event.term < term and not is_again and not is_refused:
                    yield f"partition {partition} took {event.id} in term {term}"


def _policy(record: Record) -> Policy | None:
    if record.value is None or record.key is None or b"." not in record.key:
        return None
    return msgspec.json.decode(record.value, type=Policy)


def _mixes(life: Life) -> Iterator[str]:
    trust = INSTALLATION.trust(whole=False)
    told: dict[tuple[int, int], bytes | None] = {}
    for record in life.log.records("mix", 0):
        mix = read_mix(record, trust)
        if mix is None:
            yield "a mix that nobody in force signed"
        elif told.setdefault(order_of_mix(mix), record.value) != record.value:
            yield f"the mix {order_of_mix(mix)} was told in two ways"


# -------------------------------------------------------------------------- what feeds are told


def index_differences(life: Life) -> Iterator[str]:
    """Yield where the serving index is not what the rows tell.

    Scores and bid factors aside: those of slices in which nothing happens are told again only
    now and then.
    """
    wanted: dict[tuple[str, str], tuple[Any, ...]] = {}
    rows = StoredRows(
        life.redis.store, namespace_of(life.log.identity(LOG), INSTALLATION.id), PARTITIONS
    )
    for partition in range(PARTITIONS):
        for page in _pages(rows, partition):
            wanted.update(((name, entry.video), entry[3:-1]) for name, entry in page)
    slices = life.redis.index._slices
    for name in SLICES:
        known = slices.get(name)
        if known is not None and known.footing.frozen:
            continue  # nothing is told of it, and nothing leased
        pairs = {} if known is None else known.pairs
        told = {
            video: pair.entry[3:-1] for video, pair in pairs.items() if pair.entry.score is not None
        }
        due = {video: numbers for (at, video), numbers in wanted.items() if at == name}
        for video in sorted({*told, *due}):
            if told.get(video) != due.get(video):
                yield (
                    f"{video} in {name}: the index has {told.get(video)}, "
                    f"the rows tell {due.get(video)}"
                )
    yield from _prices(life)


def _prices(life: Life) -> Iterator[str]:
    stored = life.redis.store.partitions[0]
    outlook = PartitionState(0, PARTITIONS, 1, stored.meta).outlook
    if outlook is None:
        yield "there is no policy"
        return
    for name, prices in prices_of(outlook).items():
        known = life.redis.index._slices.get(name)
        if known is None:
            continue
        if known.order != order_of(outlook.policy) or known.prices != prices:
            yield f"{name}: the index has the prices of {known.order}"
        if known.footing.frozen != outlook.policy.slices[name].is_shut:
            yield f"{name}: frozen {known.footing.frozen} in the index"


def _pages(rows: StoredRows, partition: int) -> list[Any]:
    async def all_pages() -> list[Any]:
        return [page async for page in rows.tell(partition, None)]

    made = all_pages()
    while True:  # it lets others run between, and waits for nobody
        try:
            made.send(None)
        except StopIteration as end:
            pages: list[Any] = end.value
            return pages


def _leases(life: Life) -> Iterator[str]:
    """Yield what does not come back within a minute."""
    life.ahead["redis"] += LEASE_LONGEST_S + 2
    for name, known in life.redis.index._slices.items():
        life.redis.index._take_back(known)
        for video, pair in sorted(known.pairs.items()):
            if pair.leased:
                yield f"{pair.leased} impressions of {video} in {name} never come back"


# -------------------------------------------------------------------------- another partition count


def _moved(life: Life) -> Iterator[str]:
    """Yield what differs once a life has gone over, if it does: nothing is left of it then."""

    async def found() -> list[str]:
        return [each async for each in differences(life, life.moves_to, life.folder / "moved")]

    if life.moves_to:
        try:
            yield from asyncio.run(found())
        except StreamsError as error:
            yield f"it does not go over to {life.moves_to} partitions: {error}"
