"""The board for Grafana: whole rows of a grid, over metrics that there are."""

import json
import re

import pytest
from kit.command import streams
from prometheus_client.core import Metric

from streams.control.metrics import ControlMetrics
from streams.ops.board import BOARD, COLUMNS, Panel, as_board
from streams.ops.lag_metrics import LagMetrics
from streams.runtime.metrics import Metrics

METRIC = re.compile(r"\b(?:streams|kafka)_[a-z0-9_]+")
LEGEND = re.compile(r"{{(\w+)}}")
PANELS = [panel for row in BOARD for panel in row.panels]
OUTSIDE = {"instance", "le"}  # labels that Prometheus adds


def families() -> dict[str, Metric]:
    metrics = Metrics()
    ControlMetrics(metrics.registry)
    collected = [*metrics.registry.collect(), *LagMetrics("c").registry.collect()]
    return {family.name: family for family in collected}


def labels_of(family: str) -> set[str]:
    """Return the labels of a metric, which a registry tells only where there are series."""
    metrics = Metrics()
    control = ControlMetrics(metrics.registry)
    for holder in (metrics, control, control.shares, control.creators):
        for metric in vars(holder).values():
            if getattr(metric, "_name", None) == family:
                return set(metric._labelnames)
    [lag] = [one for one in LagMetrics("c").registry.collect() if one.name == family]
    return set(lag._labelnames)  # type: ignore[attr-defined]


def named(text: str) -> set[str]:
    return {re.sub("_(total|bucket|count|sum)$", "", name) for name in METRIC.findall(text)}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_metric_of_a_panel_exists_with_the_labels_that_it_names(panel: Panel) -> None:
    for expression, legend in panel.expressions:
        metrics = named(expression)
        assert metrics
        assert metrics <= families().keys()
        grouped = re.findall(r"by \(([a-z, ]+)\)", expression)
        labels = {*LEGEND.findall(legend), *(one for text in grouped for one in text.split(", "))}
        for metric in metrics:
            assert labels <= labels_of(metric) | OUTSIDE


def test_the_rows_fill_the_grid_and_nothing_lies_on_anything() -> None:
    for row in BOARD:
        assert sum(panel.width for panel in row.panels) == COLUMNS
    spots = [tuple(panel["gridPos"].values()) for panel in as_board()["panels"]]
    cells = [(x + i, y + j) for h, w, x, y in spots for i in range(w) for j in range(h)]
    assert len(cells) == len(set(cells))


def test_the_board_is_exported_as_grafana_imports_it() -> None:
    board = json.loads(streams("dashboards", "export").stdout)
    assert board == as_board()
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(PANELS) + 6))
    [source] = board["templating"]["list"]
    assert source["type"] == "datasource"
