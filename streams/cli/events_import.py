"""`streams events import`: public logs as events."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import click

from streams.cli import ConditionNotMet
from streams.cli.live import example
from streams.cli.progress import Meter
from streams.core.units import SliceId, is_slice
from streams.errors import Halt
from streams.lab.kuairand import FEATURE_COLUMNS, TABS, KuaiRand, read_features
from streams.lab.openbandit import OpenBandit, campaign_of
from streams.lab.rows import BadRow, import_log, open_log, read_rows


class ImportOptions(NamedTuple):
    """What is known of a log beside its rows."""

    campaign: str | None
    videos: Path | None
    tabs: Mapping[int, SliceId]


def _tabs(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> Mapping[int, SliceId]:
    tabs: dict[int, SliceId] = {}
    for text in texts:
        tab, _, slice_id = text.partition("=")
        if not (tab.isascii() and tab.isdigit() and int(tab) < TABS and is_slice(slice_id)):
            raise click.BadParameter(f"{text!r} is not TAB=surface:group with a TAB below {TABS}")
        tabs[int(tab)] = slice_id
    return tabs


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format", "log", type=click.Choice(["kuairand", "obd"]), required=True, help="Whose log."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Instead of stdout.")
@click.option("--skip-bad", is_flag=True, help="Pass over bad rows and count them.")
@click.option("--campaign", metavar="NAME", help="obd: instead of that in the file's name.")
@click.option(
    "--videos",
    type=click.Path(path_type=Path, dir_okay=False),
    help="kuairand: video_features_basic_*.csv, for creators, lengths, days and adverts.",
)
@click.option(
    "--tab",
    "tabs",
    multiple=True,
    callback=_tabs,
    metavar="TAB=SLICE",
    help="kuairand: slice of a tab; may be repeated.  [default: discover:dailylife]",
)
@example(
    "streams events import --format obd random_men.csv --out events.ndjson",
)
def import_command(  # noqa: PLR0913 - one parameter per option
    *,
    path: Path,
    log: str,
    out: Path | None,
    skip_bad: bool,
    campaign: str | None,
    videos: Path | None,
    tabs: Mapping[int, SliceId],
) -> None:
    """Turn a public log (CSV, may be gzipped) into events, one JSON object a line.

    Each row becomes an impression and the view that ended it; a video's upload comes before its
    first row. Ids follow from the rows, so importing and publishing again counts nothing twice
    while ids are remembered. Rows keep their order and their times. A bad row stops the import
    with exit code 3.

    kuairand: log_*.csv of KuaiRand (Gao et al. 2022, CC BY-SA 4.0). play_time_ms is the watch
    time; is_like, is_comment, is_forward, is_follow, is_hate become like, comment, share, follow,
    hide. Its authors do not say what most tabs are, so every tab is discover:dailylife unless
    --tab says otherwise.

    obd: {random,bts}_CAMPAIGN.csv of the Open Bandit Dataset (Saito et al. 2020, CC BY 4.0). A
    click becomes a view to the end, no click a view of 0 ms. The log has no watch time, no likes
    and no users: equal user features are one viewer, user_feature_2 is the viewer's crowd.
    Position and propensity have no place in an event and are left out.
    """
    options = ImportOptions(campaign, videos, tabs)
    skipped: list[BadRow] = []
    with _sink(out) as sink, _meter(sink) as tell:
        try:
            skip = skipped.append if skip_bad else None
            import_log(path, _converter(log, path, options), sink, skip, tell)
        except BadRow as bad:
            raise ConditionNotMet(f"{path}: {bad}; use --skip-bad to pass over it") from None
    if skipped:
        click.echo(f"{len(skipped):,} bad rows skipped, the first: {skipped[0]}", err=True)


def _converter(log: str, path: Path, options: ImportOptions) -> OpenBandit | KuaiRand:
    if log == "obd":
        if options.videos or options.tabs:
            raise click.UsageError("--videos and --tab belong to --format kuairand")
        return OpenBandit(campaign_of(Path(options.campaign or path.name)))
    if options.campaign:
        raise click.UsageError("--campaign belongs to --format obd")
    if options.videos is None:
        return KuaiRand(None, options.tabs)
    with open_log(options.videos) as file:
        return KuaiRand(read_features(read_rows(file, FEATURE_COLUMNS)), options.tabs)


@contextmanager
def _sink(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield click.get_binary_stream("stdout")
        return
    try:
        file = out.open("wb")
    except OSError as error:
        raise Halt(f"cannot write {out}: {error.strerror}") from None
    with file:
        yield file


@contextmanager
def _meter(sink: IO[bytes]) -> Iterator[Callable[[int], None]]:
    """Show progress where events go to a file; in a pipe the next command shows its own."""
    if not stat.S_ISREG(os.fstat(sink.fileno()).st_mode):
        yield lambda _events: None
        return
    with Meter("importing", noun="events") as meter:
        yield meter.show
