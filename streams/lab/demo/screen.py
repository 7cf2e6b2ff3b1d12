"""What `streams demo` shows while it runs: a screen that fits any terminal from 80x24 on.

From top to bottom: the pipeline and what flows through it, the life of one video, the latest
decisions, and what the numbers mean. A wide terminal has the decisions beside the life, and
below it what went furthest and where crowds think differently.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.receipts import ACTIONS
from streams.lab.demo.promised import shares_line
from streams.lab.demo.run import Hero, Moment
from streams.lab.demo.words import (
    SPLIT,
    STYLES,
    WHY,
    about,
    actions,
    clock,
    crowd,
    decimal,
    heading,
    number,
    split_text,
    taught,
    title_of,
)
from streams.lab.story import Standing, Story
from streams.ops.lessons import lesson_of

WIDE: Final = 150
"""From this width on two columns stand side by side."""
BARS: Final = "▁▂▃▄▅▆▇█"
_TITLE: Final = "streams demo"
_CROWDS: Final = 4  # of the told video, on a small screen
_LEGEND: Final = (
    "mean: what a view is worth · price: what the place is worth to other videos",
    "score: mean + what more views teach, ranks feeds · allowed: impressions so far",
)


def screen(now: Moment, story: Story, height: int, width: int) -> Group:
    """Return the whole screen."""
    top: list[RenderableType] = [
        _headline(now, width),
        _pipeline(now, width),
        _lag(now, width),
        actions(story),
        shares_line(now.shares),
        Text(),
    ]
    legend = [Text(text, "dim", no_wrap=True, overflow="ellipsis") for text in _LEGEND]
    bottom: list[RenderableType] = [*legend, _footer(now, width)]
    rows = max(height - len(top) - len(bottom), 4)
    body = _wide(now, story, rows, width) if width >= WIDE else _narrow(now, story, rows, width)
    return Group(*top, body, *bottom)


def line(now: Moment, story: Story) -> str:
    """Return the state in one plain line."""
    counts = ", ".join(f"{story.actions[action]} {action}" for action in ACTIONS)
    lag = "unknown" if now.lag is None else f"{now.lag}"
    return (
        f"{now.elapsed_s:.0f} s: {now.events:,} events ({now.events_per_second:,.0f}/s), "
        f"lag {lag}, {now.videos} videos; {counts}; {story.opened} crowds opened"
    )


def sparkline(values: Sequence[int], width: int) -> str:
    """Return the latest values as a line of bars, the greatest at full height.

    >>> sparkline([0, 1, 8, 4], 3)
    '▁█▄'
    """
    latest = values[-width:] if width > 0 else ()
    most = max(latest, default=0)
    return "".join(BARS[(len(BARS) - 1) * value // most if most else 0] for value in latest)


def _headline(now: Moment, width: int) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    of = f" of {clock(now.seconds)}" if now.seconds else ""
    left = Text.assemble((_TITLE, "bold"), f"  {clock(now.elapsed_s)}{of}")
    where = f"Kafka {now.brokers}  {now.redis}" if width >= 80 else ""
    grid.add_row(left, Text(where, style="dim"))
    return grid


def _pipeline(now: Moment, width: int) -> Text:
    """Draw who hands over to whom; where there is room, with what flows."""
    rate, arrow = f"{now.events_per_second:,.0f} events/s", " ─► "
    parts: list[str | tuple[str, str]] = [
        ("viewers", "bold cyan"),
        f" ─ {rate} ─► " if width >= 80 else arrow,
        ("Kafka", "bold"),
        arrow,
        ("worker", "bold"),
        arrow,
        ("Redis", "bold"),
        arrow,
        ("feed", "bold"),
        arrow,
        ("viewers", "bold cyan"),
    ]
    if width >= WIDE:
        parts.append(
            f"     {now.events:,} events, {now.duplicates:,} repeats dropped, {now.videos} videos"
        )
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _lag(now: Moment, width: int) -> Text:
    lag = "–" if now.lag is None else f"{now.lag:,}"
    words = f" {lag} records, {max(now.lags, default=0):,} at most   "
    if width < WIDE:
        words += f"{now.videos} videos   {now.duplicates:,} repeats dropped"
    room = min(width - len(words) - 5, 60)
    return Text.assemble(
        "lag ", (sparkline(now.lags, room), "cyan"), words, no_wrap=True, overflow="ellipsis"
    )


def _narrow(now: Moment, story: Story, rows: int, width: int) -> Group:
    life = _life(now.hero, _CROWDS, width)
    return Group(*life, Text(), _latest(story, rows - len(life) - 1, width))


def _wide(now: Moment, story: Story, rows: int, width: int) -> Table:
    left = width * 55 // 100
    crowds = max(rows // 2 - 5, 2)
    life = _life(now.hero, crowds, left)
    told = max((rows - len(life) - 4) // 2, 1)
    column = [*life, Text(), *_widest(story, told), Text(), *_splits(story, told)]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=left, no_wrap=True)
    grid.add_column(width=width - left - 2, no_wrap=True)
    grid.add_row(Group(*column[:rows]), _latest(story, rows, width - left - 2))
    return grid


def _life(hero: Hero | None, crowds: int, width: int) -> list[Text]:
    """Return one video's life: its title, how it came in, and a bar for some of its crowds."""
    if hero is None:
        waiting = Text("the first videos are on their way", "dim")
        return [heading("one video's life", "magenta"), waiting, *[Text()] * (crowds + 1)]
    name = Text.assemble((hero.upload.video, "bold magenta"), "  ", title_of(hero.upload.title))
    name.no_wrap, name.overflow = True, "ellipsis"
    shown = _told_crowds(hero, crowds)
    most = max([standing.allowance for standing in shown], default=1)
    bars = [_bar(hero, standing, most, width) for standing in shown]
    return [name, _came_in(hero), *bars, *[Text()] * (crowds - len(bars)), _learned(hero)]


def _told_crowds(hero: Hero, count: int) -> list[Standing]:
    """Return crowds to tell of: widened ones, at least a few stopped ones, then who saw most."""
    standings = hero.tale.crowds().values()
    by_shown = sorted(standings, key=lambda one: -hero.shown.get(one.slice, 0))
    stopped = [one for one in by_shown if one.action == "stop"]
    widened = [one for one in by_shown if one.action == "widen"]
    rest = [one for one in by_shown if one.action in {"open", "keep"}]
    room = max(count - len(stopped), count // 2)
    first = [*widened, *rest][:room]
    return first + stopped[: count - len(first)]


def _came_in(hero: Hero) -> Text:
    standings = hero.tale.crowds().values()
    counts = Counter(standing.action for standing in standings)
    going_on = counts["open"] + counts["keep"]
    steps = f"uploaded at {clock(hero.uploaded_s)} › approved › {len(standings)} crowds: "
    steps += f"widened {counts['widen']}, stopped {counts['stop']}, open {going_on}"
    if hero.upload.hashtags:
        steps += f"   {' '.join(hero.upload.hashtags)}"
    return Text(steps, no_wrap=True, overflow="ellipsis")


def _learned(hero: Hero) -> Text:
    """Return what the latest judgement with a lesson says of other crowds."""
    crowds = hero.tale.crowds()
    for receipt in reversed(hero.tale.receipts):
        lesson = lesson_of(receipt, hero.policy, crowds)
        if lesson is not None and (lesson.moved or lesson.after != lesson.before):
            return taught(receipt, lesson)
    return Text("learned: nothing yet that one crowd says of another", "dim")


def _bar(hero: Hero, standing: Standing, most: int, width: int) -> Text:
    """Return one crowd: shown as a full bar, allowed and not yet shown as a light one."""
    room = max(width - 75, 5)
    allowed = max(round(room * standing.allowance / max(most, 1)), 1)
    shown = hero.shown.get(standing.slice, 0)
    seen = min(shown, standing.allowance)
    full = max(round(allowed * seen / max(standing.allowance, 1)), 0)
    style = STYLES[standing.action]
    text = Text.assemble(
        "  ",
        crowd(standing.slice),
        " " * max(22 - len(standing.slice), 1),
        ("█" * full, style),
        ("░" * (allowed - full), style),
        " " * (room - allowed + 1),
        f"{shown:>6,} of {standing.allowance:<7,} ",
        (f"{standing.action:<6}", style),
        _standing(standing),
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _standing(standing: Standing) -> str:
    """Return the number that says how a video stands in a crowd."""
    if standing.crowd is None:
        return number(standing.receipt)
    return f"score {decimal(standing.crowd.score)}"


def _latest(story: Story, rows: int, width: int) -> Table:
    """Return the newest decisions, one a line."""
    wide = width >= 90
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", width=5, no_wrap=True)
    table.add_column("video", width=15, no_wrap=True)
    table.add_column("crowd", width=21, no_wrap=True)
    table.add_column("because", ratio=1, no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("allowed", justify="right", width=7, no_wrap=True)
    rows = max(rows - 1, 0)  # the header's
    for receipt, _ in zip(story.latest, range(rows), strict=False):
        style = STYLES[receipt.action]
        cells = [Text(receipt.action, style), Text(receipt.video), about(receipt)]
        cells += [Text(number(receipt)), *([Text(WHY[receipt.reason], "dim")] if wide else [])]
        allowance = receipt.allowance or sum(each.allowance for each in receipt.crowds)
        table.add_row(*cells, f"{allowance:,}")
    for _ in range(rows - len(story.latest)):
        table.add_row("")
    return table


def _widest(story: Story, rows: int) -> list[Text]:
    lines = [heading("widened furthest", "green")]
    for r in story.widest(rows):
        text = Text.assemble(f"  {r.video:<18}", crowd(r.slice), f"  {r.allowance:,} allowed")
        lines.append(Text.assemble(text, "  ", number(r)))
    return lines + [Text()] * (rows + 1 - len(lines))


def _splits(story: Story, rows: int) -> list[Text]:
    lines = [heading(SPLIT, "red")]
    for split in story.splits()[:rows]:
        text = Text.assemble(f"  {split.stop.video:<18}", split_text(split))
        lines.append(Text.assemble(text, "  ", (number(split.stop), "dim")))
    return lines + [Text()] * (rows + 1 - len(lines))


def _footer(now: Moment, width: int) -> Text:
    if now.note:
        return Text(now.note, style="bold red", no_wrap=True, overflow="ellipsis")
    tip = f"elsewhere: streams decisions tail --brokers {now.brokers}" if width >= 80 else ""
    return Text.assemble(
        "Ctrl-C ends it   ", (tip, "dim"), no_wrap=True, overflow="ellipsis", style="bold"
    )
