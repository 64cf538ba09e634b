"""Whether a release is the one that was published: its files, SHA256SUMS, manifest and id agree.

Pure: what lies there, and how to read it, is given. Whether the numbers in the tables follow from
the published weights is asked in ``recomputation.py``.
"""

from collections.abc import Callable, Mapping
from io import BytesIO

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import read_checksums, sha256
from l0_pipeline.logic.release.manifest import read_manifest, release_id
from l0_pipeline.logic.release.names import CHECKSUMS_FILE, MANIFEST_FILE


def release_faults(
    identity: str, *, files: Mapping[str, int | None], read: Callable[[str], bytes]
) -> list[str]:
    """What is wrong with the release ``identity``, one sentence a file.

    ``files`` are all there are, with their bytes; None for what is no plain file.
    """
    if not files:
        return ["it is not there"]
    if files.get(CHECKSUMS_FILE) is None:
        return [f"{CHECKSUMS_FILE} is missing"]
    try:
        listed = read_checksums(as_text(read(CHECKSUMS_FILE), CHECKSUMS_FILE), where=CHECKSUMS_FILE)
    except InputError as error:
        return [str(error)]
    contents = {file: read(file) for file in listed if files.get(file) is not None}
    faults = [f"{file} was added" for file in sorted(set(files) - {CHECKSUMS_FILE, *listed})]
    for file, digest in listed.items():
        if file not in contents:
            faults.append(f"{file} is {'not a plain file' if file in files else 'missing'}")
        elif sha256(contents[file]) != digest:
            faults.append(
                f"{file} was changed (sha256 {sha256(contents[file])[:12]}..., published as "
                f"{digest[:12]}...)"
            )
    return faults or _manifest_faults(identity, listed=listed, contents=contents)


def as_text(content: bytes, where: str) -> str:
    """``content`` as text, which messages call ``where``."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not text (byte {error.start} is not UTF-8).") from error


def _manifest_faults(
    identity: str, *, listed: Mapping[str, str], contents: Mapping[str, bytes]
) -> list[str]:
    """Whether the manifest, the files and the id agree, once all of SHA256SUMS does."""
    if MANIFEST_FILE not in listed:
        return [f"{MANIFEST_FILE} is not in {CHECKSUMS_FILE}"]
    try:
        text = as_text(contents[MANIFEST_FILE], MANIFEST_FILE)
        manifest = read_manifest(text, where=MANIFEST_FILE)
    except InputError as error:
        return [str(error)]
    published = manifest.digests() | {MANIFEST_FILE: listed[MANIFEST_FILE]}
    faults = [
        f"{file} is not the file that {MANIFEST_FILE} names"
        for file in sorted({*published, *listed})
        if published.get(file) != listed.get(file)
    ]
    if faults:
        return faults
    if release_id(manifest) != identity:
        return [f"{MANIFEST_FILE} and the data files give another id than {identity}"]
    return [
        *(
            f"{table.file} has not the rows and columns that {MANIFEST_FILE} says"
            for table in manifest.tables
            if _shape(contents[table.file]) != (table.rows, table.columns)
        ),
        *(
            f"{file.file} has not the bytes that {MANIFEST_FILE} says"
            for file in (*manifest.files, *manifest.texts)
            if len(contents[file.file]) != file.bytes
        ),
    ]


def _shape(content: bytes) -> tuple[int, int]:
    lazy = pl.scan_parquet(BytesIO(content))
    return lazy.select(pl.len()).collect().item(), len(lazy.collect_schema())
