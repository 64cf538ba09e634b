"""The names a release is made of, checked before they become paths.

A release id and the names of tables, files and texts are the only texts from outside that end up
in a path; each has one pattern here. A file may lie in one folder (``taxcalc/...``); no pattern
admits a leading dot, a second separator or a capital letter.
"""

import re
from collections.abc import Iterable

from l0_pipeline.logic.errors import InputError

MANIFEST_FILE = "manifest.json"
CHECKSUMS_FILE = "SHA256SUMS"
DICTIONARY_FILE = "data_dictionary.csv"
OWN_FILES = (MANIFEST_FILE, DICTIONARY_FILE)  # written by the release itself

WORD = r"[a-z][a-z0-9_]{0,63}"
TEXT_ENDINGS = r"(txt|md|html|json|csv|svg)"

RELEASE_ID = re.compile(r"[0-9]{4}-[0-9a-f]{12}")
TABLE_NAME = re.compile(WORD)
TEXT_NAME = re.compile(rf"({WORD}/)?{WORD}\.{TEXT_ENDINGS}")
FILE_NAME = re.compile(rf"({WORD}/)?{WORD}\.(parquet|csv\.gz|h5|{TEXT_ENDINGS})")


def checked_release_id(text: str) -> str:
    """``text`` itself when it is a release id."""
    if RELEASE_ID.fullmatch(text) is None:
        raise InputError(
            f"{text!r} is not a release id. An id is the year, a hyphen and 12 hexadecimal digits, "
            f"such as 2022-0123456789ab; the folder of releases lists those there are."
        )
    return text


def checked_table_name(text: str) -> str:
    """``text`` itself when it can name a table of a release."""
    if TABLE_NAME.fullmatch(text) is None:
        raise InputError(
            f"{text!r} cannot name a table of a release: use at most 64 small letters, digits and "
            f"underscores, a letter first (such as households)."
        )
    return text


def checked_text_name(text: str) -> str:
    """``text`` itself when it can name a text of a release."""
    return _checked(
        text, pattern=TEXT_NAME, kind="text", endings=".txt, .md, .html, .json, .csv or .svg"
    )


def checked_file_name(text: str) -> str:
    """``text`` itself when it can name a data file of a release."""
    return _checked(
        text,
        pattern=FILE_NAME,
        kind="file",
        endings=".csv, .csv.gz, .h5, .json, .parquet, .txt, .md, .html or .svg",
    )


def table_file(table: str) -> str:
    """The file that holds ``table``."""
    return f"{checked_table_name(table)}.parquet"


def refuse_clashing_names(
    *, tables: Iterable[str], files: Iterable[str], texts: Iterable[str]
) -> None:
    """Every name can be a file of one release, and no two are the same file."""
    names = [table_file(name) for name in tables]
    names += [checked_file_name(name) for name in files]
    names += [checked_text_name(name) for name in texts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{len(twice)} names are given to two files of one release: {', '.join(twice)}. "
            f"Give one of the two another name."
        )


def _checked(text: str, *, pattern: re.Pattern[str], kind: str, endings: str) -> str:
    if pattern.fullmatch(text) is None:
        raise InputError(
            f"{text!r} cannot name a {kind} of a release: use small letters, digits and "
            f"underscores, a letter first, at most one folder (such as taxcalc/), and end with "
            f"{endings}."
        )
    if text in OWN_FILES:
        raise InputError(
            f"{text!r} is written by the release itself: give the {kind} another name."
        )
    return text
