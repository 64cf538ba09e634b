"""The laws of the manifest, the release id, the data dictionary and the summary (all pure)."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, read_checksums, sha256
from l0_pipeline.logic.release.contents import parquet_bytes, release_contents
from l0_pipeline.logic.release.dictionary import (
    TableDescription,
    data_dictionary,
    refuse_incomplete_dictionary,
)
from l0_pipeline.logic.release.licence import licence_of
from l0_pipeline.logic.release.manifest import (
    PACKAGES,
    InputFiles,
    Manifest,
    ManifestDraft,
    Settings,
    TableRecord,
    build_manifest,
    file_records,
    manifest_text,
    read_manifest,
    read_outline,
    release_id,
)
from l0_pipeline.logic.release.names import (
    checked_file_name,
    checked_release_id,
    checked_table_name,
    checked_text_name,
    refuse_clashing_names,
)
from l0_pipeline.logic.release.quality import FitQuality, ReleaseQuality
from l0_pipeline.logic.release.summary import summary_text

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = sha256(b"anything")

HYBRID = FitQuality(
    fitted_median_error=0.031,
    held_out_median_error=0.062,
    share_within_10pct=0.874,
    effective_sample_size=6120.4,
    largest_weight_ratio=48.25,
)
QUALITY = ReleaseQuality(
    households_kept=20_000,
    households_pool=200_576,
    figures_declared=2_000,
    targets_fitted=1_204,
    targets_held_out=120,
    targets_benchmark=76,
    targets_rejected=600,
    population_error=-0.0012,
    released=HYBRID,
)
DRAFT = ManifestDraft(
    year=2022,
    title="Sparse CPS dataset for 2022",
    source=InputFiles(name="taxcalc", digest=DIGEST, files={"cps.csv.gz": DIGEST}),
    figures=InputFiles(name="figures", digest=DIGEST, files={"population.csv": DIGEST}),
    settings=Settings(
        training={"epochs": 10, "learning_rate": 0.1},
        targets={"held_out_share": 0.15},
        selection={"share_by_gates": 0.75},
        check_limits={"median_error": 0.05},
    ),
    seed=0,
    packages=dict.fromkeys(PACKAGES, "1.0"),
    code_version="1",
    quality=QUALITY.numbers(),
    licence=licence_of("taxcalc"),
)
TABLE = TableRecord(file="households.parquet", rows=3, columns=2, sha256=DIGEST)
DIGESTS = {"households.parquet": DIGEST, "data_dictionary.csv": DIGEST}


@dataclass(frozen=True)
class Described:
    name: str
    dtype: object
    unit: str | None
    description: str


HOUSEHOLDS = pl.DataFrame({"household_id": [1, 2, 3], "weight": [1.5, 0.0, 2.0]})
DESCRIPTION = TableDescription(
    columns=[
        Described("weight", pl.Float64, "households", "How many households one record stands for"),
        Described("household_id", pl.Int64, None, "Key of the household"),
        Described("never_published", pl.String, None, "A column of the pool"),
    ],
    source="Current Population Survey",
    column_sources={"weight": "calibration"},
)


def manifest(draft: ManifestDraft = DRAFT, *, created_at: datetime = NOON) -> Manifest:
    files = file_records({"data_dictionary.csv": b"", "taxcalc/cps.csv.gz": b"\x1f\x8b"})
    return build_manifest(draft, tables=[TABLE], files=files, created_at=created_at)


def test_a_manifest_read_back_is_the_manifest_written():
    assert read_manifest(manifest_text(manifest()), where="manifest.json") == manifest()


def test_the_tables_of_a_manifest_are_in_the_order_of_their_files():
    other = TABLE.model_copy(update={"file": "a.parquet"})
    built = build_manifest(DRAFT, tables=[TABLE, other], files=[], created_at=NOON)
    assert [table.file for table in built.tables] == ["a.parquet", "households.parquet"]


def test_the_time_of_a_manifest_is_kept_in_utc():
    there = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert manifest(created_at=there).created_at.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused():
    with pytest.raises(InputError, match="without a time zone"):
        manifest(created_at=NOON.replace(tzinfo=None))


def test_a_missing_package_version_is_named():
    fields = {name: getattr(DRAFT, name) for name in ManifestDraft.model_fields}
    with pytest.raises(ValueError, match="the versions of torch are missing"):
        ManifestDraft(**fields | {"packages": {n: "1" for n in PACKAGES if n != "torch"}})


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (3, "schema version 3, newer than 2"),
        (1, "schema version 1, older than 2"),
        (None, "schema_version is None"),
        ("2", "schema_version is '2'"),
        (True, "schema_version is True"),
        (2.0, "schema_version is 2.0"),
    ],
)
def test_a_manifest_of_another_schema_version_is_refused(version, message):
    content = json.loads(manifest_text(manifest())) | {"schema_version": version}
    with pytest.raises(InputError, match=message):
        read_manifest(json.dumps(content), where="manifest.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ('{"schema_version": 2}', "fields are not as schema version 2"),
    ],
)
def test_a_text_that_is_no_manifest_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_manifest(text, where="manifest.json")


def test_an_unknown_field_of_a_manifest_is_named():
    content = json.loads(manifest_text(manifest())) | {"colour": "blue"}
    with pytest.raises(InputError, match="colour"):
        read_manifest(json.dumps(content), where="manifest.json")


def test_the_id_does_not_depend_on_the_time_the_texts_the_comparison_or_the_order_of_settings():
    turned = DRAFT.model_copy(update={"packages": dict(reversed(DRAFT.packages.items()))})
    later = manifest(turned, created_at=NOON + timedelta(days=1)).model_copy(
        update={"compared_with": "2022-0123456789ab", "texts": file_records({"a.txt": b"text"})}
    )
    assert release_id(later) == release_id(manifest())
    assert checked_release_id(release_id(later)) == release_id(later)


@pytest.mark.parametrize("change", [{"seed": 1}, {"title": "Other"}, {"code_version": "2"}])
def test_the_id_changes_with_the_manifest(change):
    assert release_id(manifest(DRAFT.model_copy(update=change))) != release_id(manifest())


@pytest.mark.parametrize(
    "change",
    [
        {"tables": (TABLE.model_copy(update={"sha256": sha256(b"another")}),)},
        {"files": file_records({"data_dictionary.csv": b"another", "taxcalc/cps.csv.gz": b""})},
        {"files": ()},
    ],
    ids=["table", "file", "no files"],
)
def test_the_id_changes_with_the_bytes_of_a_data_file(change):
    assert release_id(manifest().model_copy(update=change)) != release_id(manifest())


def test_a_manifest_has_the_digest_of_every_table_file_and_text():
    built = manifest().model_copy(update={"texts": file_records({"a.txt": b"text"})})
    assert built.digests() == {
        "households.parquet": DIGEST,
        "data_dictionary.csv": sha256(b""),
        "taxcalc/cps.csv.gz": sha256(b"\x1f\x8b"),
        "a.txt": sha256(b"text"),
    }


def test_a_manifest_of_any_version_tells_its_version_and_time():
    content = json.loads(manifest_text(manifest())) | {"schema_version": 1, "more": 1}
    outline = read_outline(json.dumps(content))
    assert (outline.schema_version, outline.created_at) == (1, NOON)
    assert read_outline("{") is None
    assert read_outline(b"\xff") is None


def test_what_the_manifest_is_compared_with_is_a_release_id():
    content = json.loads(manifest_text(manifest())) | {"compared_with": "../2022-0123456789ab"}
    with pytest.raises(InputError, match="compared_with"):
        read_manifest(json.dumps(content), where="manifest.json")


def test_equal_tables_give_the_same_bytes_however_they_are_held_in_memory():
    twice = pl.concat([HOUSEHOLDS, HOUSEHOLDS], rechunk=False)
    pieces = pl.concat([HOUSEHOLDS[:1], HOUSEHOLDS[1:]], rechunk=False)
    filtered = twice.with_row_index().filter(pl.col("index") > 2).drop("index")
    whole = parquet_bytes("households", HOUSEHOLDS)
    assert {parquet_bytes("households", t) for t in (pieces, twice[3:], filtered)} == {whole}


@pytest.mark.parametrize(
    "column",
    [pl.Series(["a"], dtype=pl.Categorical), pl.Series([object()]), pl.Series([[1]])],
    ids=["categorical", "object", "nested"],
)
def test_a_column_without_stable_bytes_is_refused(column):
    with pytest.raises(InputError, match="state"):
        parquet_bytes("households", pl.DataFrame({"state": column}))


def test_a_release_without_tables_is_refused():
    with pytest.raises(InputError, match="at least one table"):
        release_contents({}, draft=DRAFT, dictionary=pl.DataFrame(), files={}, created_at=NOON)


@pytest.mark.parametrize(
    "name", ["../2022-0123456789ab", "2022-0123456789AB", "2022-0123456789ab\n", "latest", ""]
)
def test_a_text_that_is_no_release_id_is_refused(name):
    with pytest.raises(InputError, match="is not a release id"):
        checked_release_id(name)


@pytest.mark.parametrize("name", ["../households", "House", "1st", "a/b", ".hidden", "", "a" * 65])
def test_a_text_that_cannot_name_a_table_is_refused(name):
    with pytest.raises(InputError, match="cannot name a table"):
        checked_table_name(name)


BAD_NAMES = ["../a.txt", "a/../b.txt", "a/b/c.txt", "/a.txt", "A/b.txt", "summary", "SHA256SUMS"]


@pytest.mark.parametrize("name", [*BAD_NAMES, ".a.txt", "a.parquet", "a.csv.gz", "a.h5", "a.txt\n"])
def test_a_text_that_cannot_name_a_text_is_refused(name):
    with pytest.raises(InputError, match="cannot name a text"):
        checked_text_name(name)


@pytest.mark.parametrize("name", ["manifest.json", "data_dictionary.csv"])
def test_a_text_cannot_take_the_name_of_a_file_of_the_release(name):
    with pytest.raises(InputError, match="give the text another name"):
        checked_text_name(name)


@pytest.mark.parametrize("name", [*BAD_NAMES, ".a.csv", "a.gz", "a.csv.gz.h5", "a.py"])
def test_a_text_that_cannot_name_a_file_is_refused(name):
    with pytest.raises(InputError, match="cannot name a file"):
        checked_file_name(name)


@pytest.mark.parametrize(
    "name", ["taxcalc/cps.csv.gz", "policyengine/cps_2022.h5", "a.json", "a.csv", "t/a.parquet"]
)
def test_a_data_file_may_lie_in_one_folder(name):
    assert checked_file_name(name) == name


def test_a_file_of_the_release_itself_is_no_name_for_another():
    for name in ("manifest.json", "data_dictionary.csv"):
        with pytest.raises(InputError, match="give the file another name"):
            checked_file_name(name)


def test_no_two_files_of_a_release_have_one_name():
    refuse_clashing_names(tables=["a"], files=["b.csv", "a/a.csv"], texts=["a.csv"])
    with pytest.raises(InputError, match=r"2 names .*: a\.parquet, b\.csv"):
        refuse_clashing_names(tables=["a"], files=["b.csv", "a.parquet"], texts=["b.csv"])


def test_checksums_read_back_are_those_written_and_sorted():
    assert read_checksums(checksum_lines(DIGESTS), where="SHA256SUMS") == DIGESTS
    assert checksum_lines(DIGESTS).splitlines()[0].endswith("  data_dictionary.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("abc  a.txt\n", "line 1"),
        (f"{DIGEST}  ../a.txt\n", "line 1"),
        (f"{DIGEST}  a/b/c.txt\n", "line 1"),
        (f"{DIGEST}  a.txt\n{DIGEST}  a.txt\n", "line 2: a.txt is listed twice"),
    ],
)
def test_checksums_of_another_form_are_refused_by_line(text, message):
    with pytest.raises(InputError, match=message):
        read_checksums(text, where="SHA256SUMS")


def test_the_dictionary_has_one_row_a_published_column_in_the_order_of_the_table():
    dictionary = data_dictionary(
        {"households": HOUSEHOLDS}, descriptions={"households": DESCRIPTION}
    )
    assert dictionary.rows() == [
        (
            "households",
            "household_id",
            "Int64",
            None,
            "Key of the household",
            "Current Population Survey",
        ),
        (
            "households",
            "weight",
            "Float64",
            "households",
            "How many households one record stands for",
            "calibration",
        ),
    ]
    refuse_incomplete_dictionary(dictionary, tables={"households": HOUSEHOLDS})


def test_a_type_may_be_described_by_its_name():
    named = [replace(c, dtype=str(c.dtype())) for c in DESCRIPTION.columns]
    described = replace(DESCRIPTION, columns=named)
    tables = {"households": HOUSEHOLDS}
    assert data_dictionary(tables, descriptions={"households": described}).height == 2


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (replace(DESCRIPTION, columns=DESCRIPTION.columns[1:]), "no description: weight"),
        (
            replace(
                DESCRIPTION,
                columns=[replace(DESCRIPTION.columns[0], description=" "), DESCRIPTION.columns[1]],
            ),
            "no description: weight",
        ),
        (
            replace(DESCRIPTION, columns=[*DESCRIPTION.columns, DESCRIPTION.columns[0]]),
            "more than once: weight",
        ),
        (
            replace(
                DESCRIPTION,
                columns=[DESCRIPTION.columns[0], replace(DESCRIPTION.columns[1], dtype=pl.String)],
            ),
            "household_id .Int64, described as String",
        ),
        (replace(DESCRIPTION, column_sources={"wieght": "x"}), "does not describe: wieght"),
        (replace(DESCRIPTION, source=""), "no source: household_id"),
    ],
    ids=["none", "blank", "twice", "type", "unknown source", "no source"],
)
def test_a_column_that_is_not_described_clearly_is_refused_by_name(description, message):
    with pytest.raises(InputError, match=message):
        data_dictionary({"households": HOUSEHOLDS}, descriptions={"households": description})


def test_a_published_table_without_description_is_refused():
    with pytest.raises(InputError, match="1 of 1 tables have no description: households"):
        data_dictionary({"households": HOUSEHOLDS}, descriptions={})


def test_a_dictionary_of_other_tables_is_refused():
    dictionary = data_dictionary(
        {"households": HOUSEHOLDS}, descriptions={"households": DESCRIPTION}
    )
    with pytest.raises(InputError, match=r"households\.more"):
        refuse_incomplete_dictionary(
            dictionary, tables={"households": HOUSEHOLDS.with_columns(more=1)}
        )
    with pytest.raises(InputError, match=r"of no published column: households\.weight"):
        refuse_incomplete_dictionary(dictionary, tables={"households": HOUSEHOLDS.drop("weight")})
    with pytest.raises(InputError, match="more than once"):
        refuse_incomplete_dictionary(
            pl.concat([dictionary, dictionary]), tables={"households": HOUSEHOLDS}
        )
    with pytest.raises(InputError, match="data_dictionary"):
        refuse_incomplete_dictionary(pl.DataFrame({"a": [1]}), tables={"households": HOUSEHOLDS})


def test_the_quality_of_a_release_is_thirteen_numbers():
    numbers = QUALITY.numbers()
    assert len(numbers) == 13
    assert numbers["largest_weight_ratio"] == 48.25


def test_roles_that_do_not_add_up_to_the_figures_declared_are_refused():
    with pytest.raises(InputError, match=r"2000 figures were declared, but the roles .* to 1999"):
        replace(QUALITY, targets_rejected=599)


def test_without_held_out_targets_there_is_no_held_out_number():
    quality = replace(QUALITY, released=replace(HYBRID, held_out_median_error=None))
    assert "held_out_median_error" not in quality.numbers()


def test_a_number_that_is_not_finite_is_refused_by_name():
    with pytest.raises(InputError, match="fitted_median_error = nan"):
        replace(HYBRID, fitted_median_error=float("nan"))
    with pytest.raises(InputError, match="population_error = inf"):
        replace(QUALITY, population_error=float("inf"))


def test_a_source_without_recorded_licence_is_refused():
    with pytest.raises(InputError, match="known: taxcalc, asec, tables"):
        licence_of("other")


def test_the_summary_shows_place_numbers_and_three_methods_in_eighty_columns():
    text = summary_text(
        QUALITY,
        title=DRAFT.title,
        address="data/releases/2022-0123456789ab",
        gates_only=replace(HYBRID, largest_weight_ratio=1_234_567.8),
        random=replace(HYBRID, held_out_median_error=None),
    )
    assert text == EXPECTED_SUMMARY
    assert max(map(len, text.splitlines())) <= 80


EXPECTED_SUMMARY = """\
Sparse CPS dataset for 2022
  data/releases/2022-0123456789ab

  Households in the release                                   20,000
  Households in the pool                                     200,576
  Published figures, every one in one of four roles            2,000
  - fitted                                                     1,204
  - held out, to judge the fit                                   120
  - benchmarks, compared only                                     76
  - rejected, each with its reason                               600
  Population against the published total                       -0.12 %
  Median error of the fitted targets                            3.10 %
  Median error of the held-out targets                          6.20 %
  Fitted targets within 10 %                                   87.40 %
  Effective sample size                                        6,120
  Largest weight ratio (see weight_ratio)                       48.2

  Households               Fitted   Held-out    Within   Effective    Largest
  chosen by                median     median      10 %      sample     weight
                            error      error                  size      ratio
  ---------------------------------------------------------------------------
  gates only               3.10 %     6.20 %   87.40 %       6,120  1,234,568
  hybrid (released)        3.10 %     6.20 %   87.40 %       6,120       48.2
  random                   3.10 %       none   87.40 %       6,120       48.2
"""
