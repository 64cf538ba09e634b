"""The command line for releases: list, verify, point back, remove old ones, explain, compare.

``python -m l0_pipeline.releases --help`` lists the commands. Each ends with status 1 and one line
when something is wrong. How releases are kept is in ``l0_pipeline.resources.release_store``.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec

import click
import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.manifest import SCHEMA_VERSION
from l0_pipeline.resources.release_store import ListedRelease, ReleaseStore
from l0_pipeline.settings import COMPARED_POINTS

P = ParamSpec("P")

ROWS = 20
CELL_WIDTH = 36
REASONS = (
    "target_id",
    "variable",
    "measure",
    "geography",
    "condition",
    "share",
    "error_with",
    "error_without",
)
CHANGES = ("target_id", "variable", "geography", "condition", "error_before", "error_now", "status")


@click.group()
@click.option("--location", help="Folder or address of the releases; L0_RELEASES unless given.")
@click.pass_context
def main(context: click.Context, location: str | None) -> None:
    """Releases: what there is, whether it is sound, and what changed."""
    context.obj = ReleaseStore() if location is None else ReleaseStore(location=location)


def _command(
    function: Callable[Concatenate[ReleaseStore, P], None],
) -> Callable[P, None]:
    """A command on the store, whose InputError is one line and status 1."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            store: ReleaseStore = click.get_current_context().obj
            function(store, *arguments, **options)
        except InputError as error:
            raise click.ClickException(str(error)) from error

    return call


@main.command("list")
@click.option("--year", type=int, help="Only the releases of this year.")
@_command
def list_(store: ReleaseStore, year: int | None) -> None:
    """Every release, the newest first, and which of them latest names."""
    found = store.releases(year)
    for release in found:
        click.echo(_line(release))
    if not found:
        click.echo(f"There is no release{f' of {year}' if year else ''} in {store.location}.")


@main.command()
@click.option("--year", type=int, help="The latest of this year; of all unless given.")
@_command
def summary(store: ReleaseStore, year: int | None) -> None:
    """The numbers of the latest release."""
    name = store.latest(year)
    if name is None:
        raise InputError(f"There is no release of {year or 'any year'} in {store.location} yet.")
    click.echo(store.read_file(name, "summary.txt").decode(), nl=False)


@main.command()
@click.argument("release", required=False)
@click.option("--all", "every", is_flag=True, help="Every release instead of one.")
@_command
def verify(store: ReleaseStore, release: str | None, every: bool) -> None:
    """Whether RELEASE (the latest) is what was published, and its estimates follow from it."""
    if every and release is not None:
        raise InputError(f"Give either --all or the release {release}, not both.")
    names = [] if every else [release or _latest(store)]
    for name in names:
        store.files(name)  # one that is not there is told as that, with those there are
    for listed in store.releases() if every else []:
        if listed.schema_version in (None, SCHEMA_VERSION):
            names.append(listed.release_id)
        else:
            click.echo(f"{listed.release_id}  not verified: schema {listed.schema_version}")
    faulty = sum(_told(store, name) for name in names)
    if faulty:
        raise InputError(f"{faulty} release(s) are not what was published.")


@main.command()
@click.argument("release")
@_command
def rollback(store: ReleaseStore, release: str) -> None:
    """Make latest, and latest of its year, name RELEASE, once it is verified."""
    store.rollback(release)
    click.echo(f"latest and latest-{release[:4]} name {release} in {store.location}")


@main.command()
@click.option("--keep", type=int, required=True, help="How many releases of a year stay.")
@click.option("--year", type=int, help="Only the releases of this year.")
@_command
def prune(store: ReleaseStore, keep: int, year: int | None) -> None:
    """Remove all but the newest releases of each year; what latest names stays."""
    removed = store.prune(keep=keep, year=year)
    for release in removed:
        click.echo(f"removed {release}")
    click.echo(f"{len(removed)} removed, {len(store.releases(year))} left in {store.location}")


@main.command()
@click.argument("household", type=int)
@click.option("--release", help="The release to ask; the latest unless given.")
@_command
def why(store: ReleaseStore, household: int, release: str | None) -> None:
    """Why HOUSEHOLD has its weight: what it is, and the targets that it moves most."""
    from l0_pipeline.logic.release.contributions import why as why_

    facts, targets = why_(store.read_tables(release or _latest(store)), household, rows=ROWS)
    _show_facts(facts)
    click.echo(f"\nThe {len(targets)} targets that would lose most without it:")
    _show(targets.select(REASONS))


@main.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--points", default=COMPARED_POINTS, show_default=True, help="What counts as a change."
)
@_command
def compare(store: ReleaseStore, old: str, new: str, points: float) -> None:
    """What changed from the release OLD to NEW, in all and target by target."""
    from l0_pipeline.logic.release.comparison import compare as compare_

    comparison = compare_(store.read_tables(old), store.read_tables(new), points=points)
    _show_facts(comparison.summary.row(0, named=True))
    changed = comparison.targets.filter(pl.col("status") != "alike")
    most = changed.sort(pl.col("change").abs(), descending=True, nulls_last=True).head(ROWS)
    click.echo(f"\nOf all roles, {len(changed):,} targets are not alike; those that changed most:")
    _show(most.select(CHANGES))


def _latest(store: ReleaseStore) -> str:
    release = store.latest()
    if release is None:
        raise InputError(
            f"There is no release in {store.location} yet. Publish one (make run), or name "
            f"another place with --location."
        )
    return release


def _line(release: ListedRelease) -> str:
    at = release.created_at
    cells = (
        release.release_id,
        f"{at:%Y-%m-%d %H:%M}" if at else "unreadable",
        f"schema {release.schema_version or '?'}",
        f"{release.bytes / 1e6:8.1f} MB",
        ", ".join(release.pointers),
    )
    return "  ".join(cells).rstrip()


def _told(store: ReleaseStore, release: str) -> bool:
    """Say each fault of a release; whether there was one."""
    from l0_pipeline.logic.release.recomputation_faults import estimate_faults, quality_faults

    faults = store.faults(release)
    if not faults:
        tables = store.read_tables(release)
        stated = store.read_manifest(release).quality
        faults = [*estimate_faults(tables), *quality_faults(tables, stated)]
    for fault in faults:
        click.echo(f"{release}  {fault}")
    if not faults:
        click.echo(
            f"{release}  sound: {len(store.files(release))} files; estimates, errors and standard "
            "errors recomputed"
        )
    return bool(faults)


def _show_facts(facts: Mapping[str, object]) -> None:
    width = max(map(len, facts))
    for name, fact in facts.items():
        click.echo(f"{name:<{width}}  {_cell(fact)}")


def _show(table: pl.DataFrame) -> None:
    """One line a row, its cells below each other."""
    rows = [table.columns, *([_cell(cell) for cell in row] for row in table.iter_rows())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    text = f"{value:,.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL_WIDTH else f"{text[: CELL_WIDTH - 3]}..."


if __name__ == "__main__":
    main()
