"""A board for Grafana over our own metrics: what is behind, what is decided, what is refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

COLUMNS: Final = 24
"""Grafana's grid."""
_HEIGHT: Final = 8
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """One picture: lines over time, or with `now` the number of now in colours.

    `expressions` are in Prometheus' language, each with the legend of its lines. A number is red
    from `bad` on.
    """

    title: str
    expressions: tuple[tuple[str, str], ...]
    unit: Literal["short", "s", "cps", "percentunit", "ops"] = "short"
    width: int = 8
    now: bool = False
    bad: float | None = None
    note: str = ""


@dataclass(frozen=True)
class BoardRow:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, *labels: str) -> str:
    """Return a counter's growth a second, summed up but for these labels.

    >>> _rate("m_total", "a")
    'sum by (a) (rate(m_total[$__rate_interval]))'
    """
    return f"sum by ({', '.join(labels)}) (rate({metric}[$__rate_interval]))"


def _quantile(share: float, buckets: str) -> str:
    """Return what this share of a histogram's values stays below."""
    return f"histogram_quantile({share}, {_rate(buckets, 'le')})"


_PLACE: Final = "{{group}} {{topic}}[{{partition}}]"

BOARD: Final = (
    BoardRow(
        "Is all well?",
        (
            Panel(
                "Partitions halted",
                (("sum(streams_halted_partitions)", "halted"),),
                width=4,
                now=True,
                bad=1,
                note="`streams lag list` tells why and what to do.",
            ),
            Panel(
                "Longest lag",
                (("max(kafka_consumergroup_group_max_lag_seconds)", "behind"),),
                unit="s",
                width=4,
                now=True,
                bad=60,
            ),
            Panel(
                "Partitions paused",
                (("sum(streams_paused_partitions)", "paused"),),
                width=4,
                now=True,
                bad=1,
                note="They rest because too many records are bad: mend their producer.",
            ),
            Panel(
                "Partitions waiting",
                (("sum(streams_waiting_partitions)", "waiting"),),
                width=4,
                now=True,
                bad=1,
            ),
            Panel(
                "Not answering",
                (("count(streams_dependency_up == 0) or vector(0)", "Kafka or Redis"),),
                width=4,
                now=True,
                bad=1,
            ),
            Panel(
                "Without a leader",
                (("sum(streams_leaderless_partitions)", "partitions"),),
                width=4,
                now=True,
                bad=1,
            ),
        ),
    ),
    BoardRow(
        "Lag",
        (
            Panel("Records behind", (("kafka_consumergroup_group_lag", _PLACE),)),
            Panel("Time behind", (("kafka_consumergroup_group_lag_seconds", _PLACE),), unit="s"),
            Panel(
                "Share of the retention used",
                (("streams_consumer_retention_used_ratio", _PLACE),),
                unit="percentunit",
                note="At 100 % records are deleted before they are read.",
            ),
        ),
    ),
    BoardRow(
        "Events and decisions",
        (
            Panel(
                "Events by outcome",
                ((_rate("streams_events_processed_total", "outcome"), "{{outcome}}"),),
                unit="cps",
            ),
            Panel(
                "Decisions",
                ((_rate("streams_decisions_total", "action"), "{{action}}"),),
                unit="cps",
            ),
            Panel(
                "Dead letters by reason",
                (
                    (_rate("streams_dlq_events_total", "topic", "reason"), "{{topic}} {{reason}}"),
                    (
                        _rate("streams_control_letters_total", "topic", "reason"),
                        "{{topic}} {{reason}}",
                    ),
                ),
                unit="cps",
                note="`streams dlq stats` counts them by producer too.",
            ),
        ),
    ),
    BoardRow(
        "Shares",
        (
            Panel(
                "Share of the impressions",
                (("max by (floor) (streams_floor_share_ratio)", "{{floor}}"),),
                unit="percentunit",
                width=6,
                note="Private of all, the others of the public ones: `streams shares`.",
            ),
            Panel(
                "Raised by",
                (("max by (floor) (streams_floor_tilt_value)", "{{floor}}"),),
                width=6,
                note="Value per view; commercial is lowered by it.",
            ),
            Panel(
                "By no mix",
                (("max(streams_mix_unsteered_ratio)", "impressions"),),
                unit="percentunit",
                width=6,
                note="Feed servers that ignore the mix, or that have an old one.",
            ),
            Panel(
                "Creators' audiences",
                (
                    ("max by (of) (streams_creators_gini_ratio)", "Gini"),
                    ("max by (of) (streams_creators_top_share_ratio)", "one in a hundred"),
                ),
                unit="percentunit",
                width=6,
                note="How unequal public impressions are: `streams creator list`.",
            ),
        ),
    ),
    BoardRow(
        "Workers",
        (
            Panel(
                "A flush takes",
                (
                    (_quantile(0.99, "streams_flush_duration_seconds_bucket"), "99 of 100"),
                    (_quantile(0.5, "streams_flush_duration_seconds_bucket"), "half"),
                ),
                unit="s",
            ),
            Panel(
                "Lost and done again",
                (
                    (_rate("streams_flush_conflicts_total", "instance"), "conflicts {{instance}}"),
                    (_rate("streams_flush_retries_total", "instance"), "retries {{instance}}"),
                    (
                        _rate("streams_rolled_back_offsets_total", "instance"),
                        "offsets that Redis lost {{instance}}",
                    ),
                ),
                unit="cps",
            ),
            Panel(
                "Feeds hear of it after",
                (("max by (instance) (streams_index_age_seconds)", "{{instance}}"),),
                unit="s",
            ),
        ),
    ),
)
"""Every row, from top to bottom."""


def as_board(rows: Iterable[BoardRow] = BOARD) -> dict[str, Any]:  # what goes to JSON
    """Return the board as Grafana imports it; the import asks for the source of its numbers."""
    return {
        "uid": "streams",
        "title": "streams",
        "tags": ["streams", "kafka"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource"}
                | {"query": "prometheus"}
            ]
        },
        "panels": [{"id": number, **one} for number, one in enumerate(_placed(rows), start=1)],
    }


def _placed(rows: Iterable[BoardRow]) -> Iterator[dict[str, Any]]:
    """Yield headings and panels, each with its place on the grid."""
    top = 0
    for row in rows:
        heading = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        yield {"type": "row", "title": row.title, "gridPos": heading, "panels": []}
        height = _HEIGHT // 2 if row.panels[0].now else _HEIGHT
        left = 0
        for panel in row.panels:
            place = {"h": height, "w": panel.width, "x": left, "y": top + 1}
            yield {**_panel(panel), "gridPos": place}
            left += panel.width
        top += 1 + height


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad is not None:
        steps.append({"color": "red", "value": panel.bad})
    return {
        "type": "stat" if panel.now else "timeseries",
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE}
            | {"expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.expressions)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
    }
