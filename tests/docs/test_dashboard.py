"""The Grafana dashboard shows every metric that the server exports, and no other."""

import json
import re
from typing import Any

import pytest

from gateway.observability.metrics import Metrics
from gateway.observability.prometheus import Exporter, Gauges
from tests.support.harness import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
WIDTH = 24
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


def exported() -> set[str]:
    """The names of all samples; of a histogram those of its parts."""
    text = Exporter(Metrics(), Gauges).text().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE))
    return {
        name + part
        for name, kind in kinds.items()
        for part in (HISTOGRAM_PARTS if kind == "histogram" else ("",))
    }


def family(sample: str) -> str:
    return re.sub(rf"({'|'.join(HISTOGRAM_PARTS)})$", "", sample)


def shown() -> set[str]:
    return {name for each in TARGETS for name in re.findall(r"\blollms_\w+", each["expr"])}


def test_each_metric_of_its_expressions_is_exported_and_each_exported_one_is_shown() -> None:
    assert shown() - exported() == set()
    assert {family(each) for each in exported()} - {family(each) for each in shown()} == set()


def test_its_variables_name_a_metric_that_is_exported() -> None:
    source, server = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource", "datasource", "prometheus",
    )  # fmt: skip
    queried = re.findall(r"lollms_\w+", server["query"]["query"] + server["definition"])
    assert queried and set(queried) <= exported()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_a_title_a_unit_and_expressions_for_the_chosen_server(
    panel: dict[str, Any],
) -> None:
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    letters = [target["refId"] for target in panel["targets"]]
    assert letters and len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        expression = target["expr"]
        metrics = len(re.findall(r"\blollms_\w+", expression))
        assert metrics and expression.count('{instance=~"$instance"}') == metrics
        assert expression.count("(") == expression.count(")")
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


def test_counters_are_shown_as_rates_and_buckets_by_their_bounds() -> None:
    for target in TARGETS:
        for before, name in re.findall(r"(\w*)\(?(lollms_\w+)", target["expr"]):
            if name.endswith(("_total", "_bucket")):
                assert before in ("rate", "increase"), target["expr"]
        assert "_bucket" not in target["expr"] or "by (le)" in target["expr"]


def test_panels_are_inside_the_grid_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells and all(0 <= x < WIDTH and y >= 0 for x, y in cells), panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
