"""The report as one HTML text: every section drawn from the tables, put into the page."""

from collections.abc import Callable, Mapping

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from l0_pipeline.logic.report.content import Section
from l0_pipeline.logic.report.given import checked
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import drawn_alike
from l0_pipeline.logic.report.sections import (
    accounting,
    carriers,
    concentration,
    cumulative,
    estimates,
    families,
    frontier,
    making,
    overview,
    previous,
    reforms,
    states,
    targets,
    training,
    untargeted,
    weights,
)

SECTIONS: tuple[Callable[[Mapping[str, pl.DataFrame], ReportHeading], Section], ...] = (
    overview.section,
    reforms.section,
    training.section,
    estimates.section,
    cumulative.section,
    targets.section,
    weights.section,
    concentration.section,
    states.section,
    families.section,
    untargeted.section,
    accounting.section,
    frontier.section,
    previous.section,
    carriers.section,
    making.section,
)


def report_html(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> str:
    """The report of a release: one page that asks for no other file.

    Every figure and number comes from ``tables`` (those of the release, by name) or from
    ``heading``; the same input gives the same bytes.
    """
    known = checked(tables)
    with drawn_alike():
        sections = [make(known, heading) for make in SECTIONS]
    environment = Environment(
        loader=PackageLoader("l0_pipeline.logic.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(heading=heading, sections=sections)
