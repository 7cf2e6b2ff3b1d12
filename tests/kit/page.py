"""The page over a town in memory, served on loopback for as long as a block lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from msgspec.structs import replace

from kit.control import RULES, upload
from kit.events import FOOTBALL
from kit.keys import SIGNER
from kit.town import Town
from streams.ops.groups import LagQuery
from streams.ops.lag_collector import LagCollector, LagSources
from streams.ops.status import StatusSources
from streams.page.desk import Desk, PageSources
from streams.page.guard import Guard
from streams.page.server import PageServer
from streams.runtime.memory import MemoryCluster, MemoryProbe, MemoryReader
from streams.runtime.policies import policy_record
from streams.runtime.ports import HaltNote, Outgoing

EVERY_S: Final = 0.1
HOSTILE: Final = '<img src="/x" onerror="document.title=1"><script>document.title=2</script>&amp;'
BAD: Final = (
    (b'{"type":"view"', "old-app", 24),
    (b'{"type":"like","id":"e","video":"v1"}', "web", 9),
    (b'{"type":"wave","id":"e","video":"v1"}', "web", 5),
    (b"[1,2,3]", "importer", 3),
)
"""What no pipeline can use, by whom, and how often."""


def page_sources(town: Town) -> PageSources:
    """Return what the page over a town is read from."""
    return PageSources(status_sources(town), town.office.dossiers, town.index)


def status_sources(town: Town) -> StatusSources:
    """Return what the status of a town is read from."""
    world = town.world
    settings, cluster = world.settings, MemoryCluster(world.log)
    sources = LagSources(
        cluster, MemoryProbe(world.log), world.store, settings.group, settings.topic("interactions")
    )

    @asynccontextmanager
    async def reading() -> AsyncIterator[MemoryReader]:
        yield MemoryReader(world.log)

    async def namespace() -> str:
        return world.namespace

    return StatusSources(
        settings,
        cluster,
        world.store,
        LagCollector(sources, LagQuery.of(settings, (), None, whole=False)),
        reading,
        namespace,
        lambda: town.now_ms,
    )


async def trouble(town: Town) -> None:
    """Bring what operators have to do with: bad records, a hostile title in review, a halt."""
    for value, producer, times in BAD:
        headers = [("x-producer", producer.encode())]
        for number in range(times):
            town.world.log.append(Outgoing("interactions", value, b"v1", headers, number % 4))
    await town.control.take(upload("hostile", title=HOSTILE, hashtags=(), ts=town.now_ms - 900_000))
    teach(town)
    await town.life.until(town.world.caught_up)
    what = (
        "DATA_LOSS partition 3: offsets 48211 to 51090 are no longer in the log (retention); "
        "restore them, or count what is left with `streams counters rebuild --yes`"
    )
    await town.world.store.note_halt(3, HaltNote("data_loss", what, town.now_ms - 340_000))


def teach(town: Town) -> None:
    """Have the keeper have learned something: a policy stands in the table with what moved."""
    before = RULES.policy.draft
    football = before.slices[FOOTBALL]
    moved = replace(football, prior_mean=football.prior_mean + 12_000, horizon=520)
    why = "tastes: the mean of discover:football moves most; 1,240 pairs held out are predicted "
    learned = replace(
        before,
        slices={**before.slices, FOOTBALL: moved},
        term=1,
        seq=2,
        moved=("means", "horizons"),
        why=why + "better by 0.0213 in log score a pair, standard error 0.0031",
        evidence={"videos": 410, "pairs": 6_180, "pairs_held_out": 1_240, "slots_a_day": 96_000},
    )
    town.world.log.append(policy_record(town.world.settings, learned, SIGNER))


@asynccontextmanager
async def page_over(sources: PageSources, token: str | None = None) -> AsyncIterator[str]:
    """Give the address of the page."""
    server = PageServer(Desk(sources, look_s=EVERY_S), Guard(token), every_s=EVERY_S)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()
