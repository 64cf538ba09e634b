"""The manifest of a release: where every byte came from, under which settings, how good it is.

It holds the digest of every file of the release but itself and SHA256SUMS. Pure: it builds and
reads the text of ``manifest.json`` and derives the release id. Files are written and read in
``l0_pipeline.resources.release_store``.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
)

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import sha256
from l0_pipeline.logic.release.licence import Licence
from l0_pipeline.logic.release.names import RELEASE_ID

SCHEMA_VERSION = 2
PACKAGES = ("dagster", "torch", "polars", "duckdb", "taxcalc", "numpy", "scipy", "python")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
ReleaseId = Annotated[str, Field(pattern=rf"^{RELEASE_ID.pattern}$")]

# what a release is made of and when is told, but two builds that differ in no more are the same
NO_PART_OF_THE_ID = {"created_at", "compared_with", "texts"}


def _all_packages(versions: dict[str, str]) -> dict[str, str]:
    missing = [name for name in PACKAGES if name not in versions]
    if missing:
        raise ValueError(f"the versions of {', '.join(missing)} are missing")
    return versions


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputFiles(_Record):
    """One input: the digest of the whole and of each of its files."""

    name: Text
    digest: Sha256
    files: dict[str, Sha256] = Field(min_length=1)


class Settings(_Record):
    """Every setting that shaped the release."""

    training: dict[str, JsonValue]
    targets: dict[str, JsonValue]
    selection: dict[str, JsonValue]
    check_limits: dict[str, JsonValue]
    reforms: dict[str, JsonValue] = Field(default_factory=dict)  # none where none was studied


class TableRecord(_Record):
    """One table of the release as it was written."""

    file: Text
    rows: int = Field(ge=0)
    columns: int = Field(ge=1)
    sha256: Sha256


class FileRecord(_Record):
    """One other file of the release as it was written."""

    file: Text
    bytes: int = Field(ge=0)
    sha256: Sha256


class ManifestDraft(_Record):
    """What is known of a release before its tables are written."""

    schema_version: Literal[2] = 2
    year: int = Field(ge=1000, le=9999)
    title: Text
    source: InputFiles
    figures: InputFiles
    settings: Settings
    seed: int
    packages: Annotated[dict[str, Text], AfterValidator(_all_packages)]
    code_version: Text
    quality: dict[str, FiniteFloat] = Field(min_length=1)
    licence: Licence


class Manifest(ManifestDraft):
    """The whole manifest."""

    tables: tuple[TableRecord, ...] = Field(min_length=1)
    files: tuple[FileRecord, ...]  # data that is no table: the dictionary, inputs of models
    texts: tuple[FileRecord, ...]  # what people read: the summary, the report
    created_at: AwareDatetime
    compared_with: ReleaseId | None  # the release before, when there was one

    def digests(self) -> dict[str, str]:
        """File -> SHA-256 of every file of the release but the manifest and SHA256SUMS."""
        digests = {table.file: table.sha256 for table in self.tables}
        return digests | {file.file: file.sha256 for file in (*self.files, *self.texts)}


class ManifestOutline(BaseModel):
    """What a manifest of any schema version says."""

    schema_version: int
    created_at: AwareDatetime


def build_manifest(
    draft: ManifestDraft,
    *,
    tables: Iterable[TableRecord],
    files: Iterable[FileRecord],
    created_at: datetime,
    compared_with: str | None = None,
) -> Manifest:
    """``draft`` completed with its data, each in the order of their files, as yet without texts."""
    if created_at.tzinfo is None:
        raise InputError(f"created_at is {created_at}, without a time zone: give it one (UTC).")
    return Manifest(
        **{name: getattr(draft, name) for name in ManifestDraft.model_fields},
        tables=tuple(sorted(tables, key=lambda table: table.file)),
        files=tuple(sorted(files, key=lambda file: file.file)),
        texts=(),
        created_at=created_at.astimezone(UTC),
        compared_with=compared_with,
    )


def file_records(contents: Mapping[str, bytes]) -> tuple[FileRecord, ...]:
    """The records of files, in the order of their names."""
    return tuple(
        FileRecord(file=file, bytes=len(content), sha256=sha256(content))
        for file, content in sorted(contents.items())
    )


def manifest_text(manifest: Manifest) -> str:
    """The text of ``manifest.json``."""
    content = manifest.model_dump(mode="json")
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(text: str, *, where: str) -> Manifest:
    """The manifest in ``text``, which messages call ``where``."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON (line {error.lineno}: {error.msg}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{where} holds a {type(content).__name__}, not a JSON object.")
    _refuse_other_version(content.get("schema_version"), where=where)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{where}: {error.error_count()} fields are not as schema version {SCHEMA_VERSION} has "
            f"them; the first is {field or 'the whole'}: {first['msg']}."
        ) from error


def read_outline(text: str | bytes) -> ManifestOutline | None:
    """What a manifest of any schema version tells of its release; None when it is damaged."""
    try:
        return ManifestOutline.model_validate_json(text)
    except ValidationError:
        return None


def release_id(manifest: Manifest) -> str:
    """``<year>-<12 hex>`` from the manifest, which holds the digests of the data files.

    The same data and settings give the same id, whenever, wherever and after whichever release
    it is made, and whatever its texts say.
    """
    content = manifest.model_dump(mode="json", exclude=NO_PART_OF_THE_ID)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{manifest.year}-{sha256(canonical.encode())[:12]}"


def _refuse_other_version(version: object, *, where: str) -> None:
    if version == SCHEMA_VERSION and isinstance(version, int) and not isinstance(version, bool):
        return
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(
            f"{where}: schema_version is {version!r}, but a manifest has a whole number there "
            f"(this code reads {SCHEMA_VERSION})."
        )
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{where} has schema version {version}, newer than {SCHEMA_VERSION}, the one this code "
            f"reads: read it with the version of l0_pipeline that made it, or a later one."
        )
    raise InputError(
        f"{where} has schema version {version}, older than {SCHEMA_VERSION}, the one this code "
        f"reads: publish the release again, or read it with the version that made it."
    )
