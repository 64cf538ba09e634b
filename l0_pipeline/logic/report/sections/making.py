"""How the release was made, under which terms it may be used, and how to check it."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from l0_pipeline.logic.report.content import Code, Prose, Section, Shown, Table, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.words import text

MANIFEST = ("manifest.json",)


def section(_: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Settings, digests of the inputs, versions, licence, and two commands that verify."""
    licence = heading.licence
    inputs = [
        (name, file, digest)
        for name, files in heading.inputs.items()
        for file, digest in files.items()
    ]
    blocks: tuple[Prose | Code | Table, ...] = (
        Prose(
            "To check that every file is as it was published, go to the folder of the release and "
            "type the first line; to make its sums again from the code, the second, in the "
            "folder of the code:"
        ),
        Code("sha256sum -c SHA256SUMS\nmake verify"),
        Prose(
            f"Licence of the tables: {licence.dataset}. Survey: {licence.source}. Published "
            f"figures: {licence.figures}."
        ),
        Prose(f"Attribution, to quote when using the data: {licence.attribution}"),
    )
    if inputs:
        blocks += (_texts(inputs, ("Input", "File", "SHA-256"), caption="Inputs by digest"),)
    return Section(
        anchor="making",
        title="How it was made, licence, and how to verify",
        lead=(
            "The same inputs, settings and code make the same release. All of this is in "
            "manifest.json too."
        ),
        blocks=(
            *blocks,
            _texts(
                list(_leaves(heading.settings)), ("Setting", "Value"), caption="Settings and seeds"
            ),
            _texts(
                [*heading.packages.items(), ("code of this project", text(heading.code_version))],
                ("Package", "Version"),
                caption="Versions",
            ),
        ),
    )


def _texts(rows: Sequence[tuple[str, ...]], headers: tuple[str, ...], *, caption: str) -> Table:
    frame = pl.DataFrame(rows, schema=[(h, pl.String) for h in headers], orient="row")
    return table(frame, [Shown(h, h) for h in headers], caption=caption, tables=MANIFEST)


def _leaves(settings: Mapping[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{path}{name}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{path}{name}", "not set" if value is None else str(value)
