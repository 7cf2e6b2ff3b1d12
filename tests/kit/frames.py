"""Draws the demo's screens for the README: `PYTHONPATH=tests python -m kit.frames .docs`."""

import io
import sys
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from streams.cli.wiring import drivers, run
from streams.embedded import EmbeddedBroker, EmbeddedRedis
from streams.lab.demo.run import Play, perform
from streams.lab.demo.screen import screen
from streams.ops.topics import wanted_topics
from streams.runtime.signing import SigningKey
from streams.settings import KafkaAddress, RedisAddress, load_settings

FRAMES = {
    "demo": (100, 30),
    "demo-80x24": (80, 24),
    "demo-120x36": (120, 36),
    "demo-200x50": (200, 50),
}
SECONDS = 45
CONFIG = Path("config")


def draw(play: Play, folder: Path) -> None:
    """Write the frames as SVG."""
    now = play.moment("")
    for name, (width, height) in FRAMES.items():
        console = Console(
            width=width, height=height, record=True, file=io.StringIO(), force_terminal=True
        )
        console.print(screen(now, play.story, height, width))
        console.save_svg(str(folder / f"{name}.svg"), title="streams demo", unique_id=name)


async def shown(play: Play, folder: Path) -> None:
    """Keep the moment up to date as a screen would, and draw it near the end."""
    while play.elapsed_s < SECONDS - 1:
        play.moment("")
        await play.sleep(0.25)
    draw(play, folder)


def main(folder: Path) -> None:
    """Run the demo for a while and draw it."""
    settings = load_settings(CONFIG, {"replication": 1}, environment={})
    topics = {topic.name: topic.partitions for topic in wanted_topics(settings)}
    with EmbeddedBroker(topics) as broker, EmbeddedRedis() as redis:
        settings = replace(
            settings, brokers=KafkaAddress(broker.bootstrap), redis=RedisAddress(redis.url)
        )
        play = Play(drivers(settings), settings, CONFIG, SECONDS, 1, SigningKey.fresh(), print)
        run(perform(play, 2_000, lambda play: shown(play, folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
