"""The Census Bureau's asecpubYYcsv.zip: found on disk or downloaded, checked and opened.

An archive is downloaded once, into a temporary file beside its place; only a complete zip is
moved there. What the rows mean is in ``l0_pipeline.logic.microdata.asec``.
"""

import hashlib
import re
import tempfile
import time
import urllib.request
import zipfile
import zlib
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import asec

# a silent server is given up after this long, and a whole download (150 MB) after this
SILENCE_S = 60.0
DOWNLOAD_S = 1800.0

_CHUNK = 1 << 20
_ARCHIVE_NAME = re.compile(r"asecpub(\d\d)csv\.zip", re.IGNORECASE)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.zip", re.IGNORECASE)
_MEMBER = re.compile(r"(?:.*/)?(hhpub|ffpub|pppub)(\d\d)\.csv", re.IGNORECASE)
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def name_of(location: str) -> str:
    """The archive's own file name, from a path or an address."""
    return Path(urlsplit(location).path if "://" in location else location).name


def locate(location: str, *, download_dir: Path) -> Path:
    """The archive on disk; an https address is downloaded unless it was before."""
    if "://" not in location:
        path = Path(location)
        if not path.is_file():
            raise InputError(
                f"{path}: no such archive. Give the path of an asecpubYYcsv.zip, "
                "or its https address at www2.census.gov."
            )
        return path
    _check_address(location)
    # two addresses may end in the same name
    address_mark = hashlib.sha256(location.encode()).hexdigest()[:12]
    place = download_dir / f"{address_mark}-{name_of(location)}"
    if not place.is_file():
        _download(location, place)
    return place


def read(path: Path, *, name: str) -> pl.DataFrame:
    """One row a person, with household and family columns, from the archive called ``name``."""
    _check_zip(path)
    with zipfile.ZipFile(path) as opened:
        members, year = _members(opened, path=path, name=name)
        tables = [
            _read_member(opened, members[layout.member], layout, path=path)
            for layout in asec.LAYOUTS
        ]
    files = (
        f"{path}!{members['hhpub']}",
        f"{path}!{members['ffpub']}",
        f"{path}!{members['pppub']}",
    )
    return asec.join(*tables, survey_year=year, files=files)


def open_address(address: str) -> IO[bytes]:
    """The answer of an https server; a redirection away from https is refused."""
    opener = urllib.request.build_opener(_HttpsOnly)
    answer: IO[bytes] = opener.open(address, timeout=SILENCE_S)
    return answer


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_address(newurl, name_matters=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str, *, name_matters: bool = True) -> None:
    scheme = urlsplit(address).scheme
    if scheme != "https":
        raise InputError(
            f"{address}: the archive is downloaded by https only, not {scheme}. "
            "Use the https address, or download it yourself and give its path."
        )
    if name_matters and not _SAFE_NAME.fullmatch(name_of(address)):
        raise InputError(
            f"{address}: the address does not end in the name of a zip archive, "
            "such as asecpub23csv.zip. Give the address of the archive itself."
        )


def _download(address: str, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=place.parent, prefix=".download-", suffix=".part", delete=False
        ) as part:
            unfinished = Path(part.name)
            try:
                _receive(address, part)
                part.flush()
                _check_zip(unfinished, shown=address)
                unfinished.replace(place)
            finally:
                unfinished.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        raise InputError(
            f"{address}: download to {place} failed ({error}). Try again later, "
            "or download it yourself and give its path."
        ) from error


def _receive(address: str, part: IO[bytes]) -> None:
    deadline = time.monotonic() + DOWNLOAD_S
    received = 0
    with open_address(address) as answer:
        announced = getattr(answer, "headers", {}).get("Content-Length")
        while chunk := answer.read(_CHUNK):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{received} bytes after {DOWNLOAD_S:.0f} seconds")
            part.write(chunk)
            received += len(chunk)
    if announced is not None and announced != str(received):
        raise InputError(
            f"{address}: cut short, {received} of {announced} bytes came. "
            "Try again; nothing was kept."
        )


def _check_zip(path: Path, *, shown: str | None = None) -> None:
    """Every member can be read to its end with the right checksum."""
    shown = shown or str(path)
    remedy = asec.REMEDY
    size = path.stat().st_size
    if size == 0 or not zipfile.is_zipfile(path):
        raise InputError(f"{shown}: {size} bytes that are not a complete zip archive. {remedy}")
    try:
        with zipfile.ZipFile(path) as opened:
            damaged = opened.testzip()
    except _DAMAGE as error:
        raise InputError(f"{shown}: the zip archive is damaged ({error}). {remedy}") from error
    if damaged is not None:
        raise InputError(f"{shown}: the zip archive's {damaged} is damaged. {remedy}")


def _members(opened: zipfile.ZipFile, *, path: Path, name: str) -> tuple[dict[str, str], int]:
    """The name of each csv in the archive, and the survey year that they all carry."""
    found: dict[str, str] = {}
    years: set[str] = set()
    for entry in opened.namelist():
        match = _MEMBER.fullmatch(entry)
        if match is None:
            continue
        kind = match.group(1).lower()
        if kind in found:
            raise InputError(
                f"{path}: holds both {found[kind]} and {entry}. Keep one survey an archive."
            )
        found[kind] = entry
        years.add(match.group(2))
    missing = [layout.member for layout in asec.LAYOUTS if layout.member not in found]
    if missing:
        entries = ", ".join(opened.namelist()[:8]) or "nothing"
        raise InputError(
            f"{path}: no {', '.join(f'{kind}YY.csv' for kind in missing)} in the archive, "
            f"which holds {entries}. {asec.REMEDY}"
        )
    named = _ARCHIVE_NAME.search(name)
    if named is not None:
        years.add(named.group(1))
    if len(years) > 1:
        raise InputError(
            f"{path}: survey years {', '.join(sorted(years))} in the names of the archive {name} "
            f"and its files {', '.join(found.values())}. Give the archive of one survey."
        )
    return found, 2000 + int(years.pop())


def _read_member(
    opened: zipfile.ZipFile, member: str, layout: asec.Layout, *, path: Path
) -> pl.DataFrame:
    """The layout's columns of one csv, by their upper-case names; other columns are not read."""
    shown = f"{path}!{member}"
    content = opened.read(member)
    header = content.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").strip()
    written = [name.strip().strip('"') for name in header.split(",")]
    wanted = [position for position, name in enumerate(written) if name.upper() in layout.columns]
    names = [written[position].upper() for position in wanted]
    if len(set(names)) != len(names):
        raise InputError(f"{shown}: a column appears twice in the header. {asec.REMEDY}")
    if not wanted:
        return asec.parse(pl.DataFrame(), layout, file=shown)
    try:
        text = pl.read_csv(content, columns=wanted, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{shown}: cannot be read as csv ({error}). {asec.REMEDY}") from error
    return asec.parse(text.rename(dict(zip(text.columns, names, strict=True))), layout, file=shown)
