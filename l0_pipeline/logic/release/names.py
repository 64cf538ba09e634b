"""The names a release is made of, checked before they become paths.

A release id, a table name and a text name are the only texts from outside that end up in a
path; each has one pattern here, and none of the patterns admits a separator or a leading dot.
"""

import re

from l0_pipeline.logic.errors import InputError

MANIFEST_FILE = "manifest.json"
CHECKSUMS_FILE = "SHA256SUMS"
DICTIONARY_FILE = "data_dictionary.csv"

RELEASE_ID = re.compile(r"[0-9]{4}-[0-9a-f]{12}")
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TEXT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\.(txt|md|html|json|csv|svg)")
FILE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\.(parquet|txt|md|html|json|csv|svg)")


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
    """``text`` itself when it can name a text of a release and no other file has that name."""
    if TEXT_NAME.fullmatch(text) is None:
        raise InputError(
            f"{text!r} cannot name a text of a release: use small letters, digits and underscores, "
            f"a letter first, and end with .txt, .md, .html, .json, .csv or .svg."
        )
    if text in (MANIFEST_FILE, DICTIONARY_FILE):
        raise InputError(f"{text!r} is written by the release itself: give the text another name.")
    return text


def table_file(table: str) -> str:
    """The file that holds ``table``."""
    return f"{checked_table_name(table)}.parquet"
