"""The CPS source finds its files, digests their bytes, and downloads over https only."""

import hashlib
import io
import subprocess
import sys
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources import asec_archive as archive
from l0_pipeline.resources import cps_source
from l0_pipeline.resources.cps_source import CpsSource
from tests.l0_pipeline.asec_archive import write_archive

ADDRESS = "https://www2.census.gov/programs-surveys/cps/datasets/2023/march/asecpub23csv.zip"


class Answer(io.BytesIO):
    """What a server sends: bytes and, where it says so, how many."""

    def __init__(self, content: bytes, *, announced: int | None = None) -> None:
        super().__init__(content)
        self.headers = Message()
        if announced is not None:
            self.headers["Content-Length"] = str(announced)


class Server:
    """Stands in for the network; counts how often it was asked."""

    def __init__(self, content: bytes, *, announced: int | None = None) -> None:
        self.content, self.announced, self.asked = content, announced, 0

    def __call__(self, address: str) -> Answer:
        self.asked += 1
        return Answer(self.content, announced=self.announced)


def asec_source(folder: Path, address: str = ADDRESS) -> CpsSource:
    return CpsSource(source="asec", asec_archive=address, download_dir=str(folder / "raw"))


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_default_source_is_found_without_importing_taxcalc() -> None:
    script = (
        "import sys; from l0_pipeline.resources.cps_source import CpsSource; "
        "files = CpsSource().files(); "
        "sys.exit(0 if 'taxcalc' not in sys.modules and files[0].name == 'cps.csv.gz' else 1)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_digest_is_that_of_the_bytes_of_the_files_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "households.parquet", tmp_path / "members.parquet"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    source = CpsSource(
        source="tables",
        households_file=str(first),
        members_file=str(second),
        members_income_year=2021,
    )
    assert source.files() == [first, second]
    assert source.digest() == hashlib.sha256(b"onetwo").hexdigest()


def test_a_missing_package_is_refused_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install taxcalc"):
        CpsSource().read()


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00"])
def test_a_package_file_that_is_cut_short_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "cps.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(cps_source, "_taxcalc_file", lambda: path)
    with pytest.raises(InputError, match=r"cps\.csv\.gz: \d+ bytes that cannot be read as a gzip"):
        CpsSource().read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"asec_archive": "a.zip"}, "asec_archive is set to 'a.zip', but source is 'taxcalc'"),
        ({"members_income_year": 2020}, "members_income_year is set to 2020, but source is"),
        ({"source": "asec"}, "source 'asec' needs asec_archive"),
        ({"source": "tables", "households_file": "h"}, "source 'tables' needs members_file"),
        (
            {"source": "tables", "households_file": "h", "members_file": "m"},
            "source 'tables' needs members_income_year",
        ),
        (
            {"source": "asec", "asec_archive": "a.zip", "households_file": "h"},
            "households_file is set to 'h', but source is 'asec'",
        ),
    ],
)
def test_an_option_that_is_not_used_or_is_missing_is_refused(
    options: dict[str, Any], message: str
) -> None:
    for call in (CpsSource(**options).files, CpsSource(**options).read):
        with pytest.raises(InputError, match=message):
            call()


def test_dagster_configures_the_source_and_gives_it_to_an_asset(tmp_path: Path) -> None:
    path = write_archive(tmp_path)

    @dg.asset
    def persons(cps_source: CpsSource) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": cps_source.read().height})

    result = dg.materialize(
        [persons],
        resources={"cps_source": CpsSource.configure_at_launch()},
        run_config={
            "resources": {"cps_source": {"config": {"source": "asec", "asec_archive": str(path)}}}
        },
    )
    assert result.success
    assert result.asset_materializations_for_node("persons")[0].metadata["rows"].value == 15


def test_an_https_archive_is_downloaded_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = write_archive(tmp_path).read_bytes()
    server = Server(content, announced=len(content))
    monkeypatch.setattr(archive, "open_address", server)
    source = asec_source(tmp_path)
    assert source.read().equals(asec_source(tmp_path).read())
    assert server.asked == 1
    assert source.digest() == hashlib.sha256(content).hexdigest()
    assert [path.parent for path in source.files()] == [tmp_path / "raw"]
    assert len(left_behind(tmp_path / "raw")) == 1


def test_two_addresses_with_one_file_name_are_two_archives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = write_archive(tmp_path).read_bytes()
    monkeypatch.setattr(archive, "open_address", Server(content))
    other = ADDRESS.replace("census", "example")
    assert asec_source(tmp_path).files() != asec_source(tmp_path, other).files()


@pytest.mark.parametrize("told", [True, False])
def test_a_truncated_download_is_refused_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: bool
) -> None:
    content = write_archive(tmp_path).read_bytes()
    server = Server(content[:-300], announced=len(content) if told else None)
    monkeypatch.setattr(archive, "open_address", server)
    message = "cut short" if told else "not a complete zip archive"
    with pytest.raises(InputError, match=message):
        asec_source(tmp_path).read()
    assert left_behind(tmp_path / "raw") == []


def test_a_server_that_fails_is_one_error_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(address: str) -> Answer:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(archive, "open_address", fail)
    with pytest.raises(InputError, match=r"download to .* failed \(.*no route.*give its path"):
        asec_source(tmp_path).read()
    assert left_behind(tmp_path / "raw") == []


def test_a_download_that_takes_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archive, "open_address", Server(write_archive(tmp_path).read_bytes()))
    monkeypatch.setattr(archive, "DOWNLOAD_S", -1.0)
    with pytest.raises(InputError, match=r"download to .* failed .*seconds"):
        asec_source(tmp_path).read()
    assert left_behind(tmp_path / "raw") == []


def test_a_download_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"download to .*raw.* failed"):
        asec_source(tmp_path).read()


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_any_other_scheme_than_https_is_refused(tmp_path: Path, scheme: str) -> None:
    address = ADDRESS.replace("https", scheme)
    with pytest.raises(InputError, match=f"downloaded by https only, not {scheme}"):
        asec_source(tmp_path, address).read()


def test_a_redirection_away_from_https_is_refused() -> None:
    handler = archive._HttpsOnly()
    request = urllib.request.Request(ADDRESS)
    with pytest.raises(InputError, match="by https only, not http"):
        handler.redirect_request(
            request, io.BytesIO(), 302, "Found", HTTPMessage(), "http://elsewhere/asecpub23csv.zip"
        )


@pytest.mark.parametrize("end", ["", "page.html", "..%2Fetc.zip", "-rf.zip"])
def test_an_address_that_names_no_archive_is_refused(tmp_path: Path, end: str) -> None:
    address = f"https://www2.census.gov/cps/{end}"
    with pytest.raises(InputError, match="does not end in the name of a zip archive"):
        asec_source(tmp_path, address).read()


def test_the_extract_starts_with_its_source(tmp_path: Path) -> None:
    extract = asec_source(tmp_path, str(write_archive(tmp_path))).read()
    assert extract.get_column("source").dtype == pl.String
    assert extract.columns[0] == "source"
