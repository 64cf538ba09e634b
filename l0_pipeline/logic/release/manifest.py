"""The manifest of a release: where every byte came from, under which settings, how good it is.

Pure: it builds and reads the text of ``manifest.json`` and derives the release id. Files are
written and read in ``l0_pipeline.resources.release_store``.
"""

import json
from collections.abc import Mapping, Sequence
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
from l0_pipeline.logic.release.checksums import checksum_lines, sha256
from l0_pipeline.logic.release.licence import Licence
from l0_pipeline.logic.release.names import MANIFEST_FILE

SCHEMA_VERSION = 1
PACKAGES = ("dagster", "torch", "polars", "duckdb", "taxcalc", "numpy", "scipy", "python")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


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


class TableRecord(_Record):
    """One table of the release as it was written."""

    file: Text
    rows: int = Field(ge=0)
    columns: int = Field(ge=1)
    sha256: Sha256


class ManifestDraft(_Record):
    """What is known of a release before its tables are written."""

    schema_version: Literal[1] = 1
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
    created_at: AwareDatetime


def build_manifest(
    draft: ManifestDraft, *, tables: Sequence[TableRecord], created_at: datetime
) -> Manifest:
    """``draft`` completed with its tables, in the order of their files."""
    if created_at.tzinfo is None:
        raise InputError(f"created_at is {created_at}, without a time zone: give it one (UTC).")
    return Manifest(
        **{name: getattr(draft, name) for name in ManifestDraft.model_fields},
        tables=tuple(sorted(tables, key=lambda table: table.file)),
        created_at=created_at.astimezone(UTC),
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


def release_id(manifest: Manifest, *, digests: Mapping[str, str]) -> str:
    """``<year>-<12 hex>`` from the digests of the data files and the manifest but its time.

    The same bytes in give the same id, whenever and wherever the release is made.
    """
    content = manifest.model_dump(mode="json", exclude={"created_at"})
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    all_digests = dict(digests) | {MANIFEST_FILE: sha256(canonical.encode())}
    return f"{manifest.year}-{sha256(checksum_lines(all_digests).encode())[:12]}"


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
