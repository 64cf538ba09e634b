"""The bytes of a release, made in memory, and the id that follows from them.

The same tables, files, draft and dictionary give the same bytes on every run of the same package
versions. Texts for people (the summary, a report) follow from these and from the heading: the
place, the time and the release before. They are no part of the id.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, sha256
from l0_pipeline.logic.release.dictionary import refuse_incomplete_dictionary
from l0_pipeline.logic.release.manifest import (
    Manifest,
    ManifestDraft,
    TableRecord,
    build_manifest,
    file_records,
    manifest_text,
    release_id,
)
from l0_pipeline.logic.release.names import (
    CHECKSUMS_FILE,
    DICTIONARY_FILE,
    MANIFEST_FILE,
    table_file,
)

COMPRESSION_LEVEL = 9  # half a second more than level 3, and up to 5 % less
ROWS_A_GROUP = 131_072  # fixed, since the default may depend on the machine


@dataclass(frozen=True)
class ReleaseHeading:
    """What a text of a release may say of it."""

    release_id: str
    address: str  # where the release lies
    manifest: Manifest  # as yet without its texts


ReleaseText = str | Callable[[ReleaseHeading], str]  # a text, or the text under that heading


@dataclass(frozen=True)
class ReleaseContents:
    """The data of a release, and its manifest, as yet without its texts."""

    release_id: str
    manifest: Manifest
    data: Mapping[str, bytes]

    def dated_as(self, manifest: Manifest) -> "ReleaseContents":
        """The same release, made when ``manifest`` was and after the same release."""
        dated = {name: getattr(manifest, name) for name in ("created_at", "compared_with")}
        return replace(self, manifest=self.manifest.model_copy(update=dated))


def release_contents(
    tables: Mapping[str, pl.DataFrame],
    *,
    draft: ManifestDraft,
    dictionary: pl.DataFrame,
    files: Mapping[str, bytes],
    created_at: datetime,
    compared_with: str | None = None,
) -> ReleaseContents:
    """The release of ``tables`` and ``files``, as bytes."""
    if not tables:
        raise InputError("A release needs at least one table, but none was given.")
    refuse_incomplete_dictionary(dictionary, tables=tables)
    parquet = {table_file(name): parquet_bytes(name, table) for name, table in tables.items()}
    others = {DICTIONARY_FILE: dictionary.write_csv().encode(), **files}
    records = [
        TableRecord(
            file=table_file(name),
            rows=table.height,
            columns=table.width,
            sha256=sha256(parquet[table_file(name)]),
        )
        for name, table in tables.items()
    ]
    manifest = build_manifest(
        draft,
        tables=records,
        files=file_records(others),
        created_at=created_at,
        compared_with=compared_with,
    )
    return ReleaseContents(
        release_id=release_id(manifest), manifest=manifest, data=parquet | others
    )


def release_files(
    contents: ReleaseContents, *, texts: Mapping[str, ReleaseText], address: str
) -> dict[str, bytes]:
    """Every file of the release at ``address``: the manifest first, SHA256SUMS last."""
    heading = ReleaseHeading(contents.release_id, address, contents.manifest)
    written = {
        name: (text if isinstance(text, str) else text(heading)).encode()
        for name, text in texts.items()
    }
    manifest = contents.manifest.model_copy(update={"texts": file_records(written)})
    files = {MANIFEST_FILE: manifest_text(manifest).encode(), **contents.data, **written}
    sums = checksum_lines({file: sha256(content) for file, content in files.items()})
    return files | {CHECKSUMS_FILE: sums.encode()}


def parquet_bytes(name: str, table: pl.DataFrame) -> bytes:
    """``table`` as Parquet, the same bytes for equal tables, from which it reads back as it is."""
    _refuse_unstable_types(name, table)
    buffer = BytesIO()
    table.rechunk().write_parquet(
        buffer,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        statistics=True,
        row_group_size=ROWS_A_GROUP,
    )
    read = pl.read_parquet(BytesIO(buffer.getvalue()))
    if read.schema != table.schema or not read.equals(table):
        raise InputError(
            f"Table {name!r} does not read back from Parquet as it was written, so it cannot be "
            f"released. Look for columns of unusual types: {dict(table.schema)}."
        )
    return buffer.getvalue()


def _refuse_unstable_types(name: str, table: pl.DataFrame) -> None:
    """A Categorical is coded in the order in which a process met its values: no stable bytes."""
    bad = [f"{column} ({dtype})" for column, dtype in table.schema.items() if _unstable(dtype)]
    if table.width == 0 or bad:
        raise InputError(
            f"Table {name!r} has {table.width} columns, {len(bad)} of a type that cannot be "
            f"released: {', '.join(bad) or 'none'}. A table needs at least one column; cast "
            f"Categorical to String or Enum, unnest nested columns and drop Object columns."
        )


def _unstable(dtype: pl.DataType) -> bool:
    return dtype.is_nested() or dtype in (pl.Categorical, pl.Object)
