"""SHA-256 digests, and the SHA256SUMS text that ``sha256sum -c`` reads.

Which files a release has is decided in ``contents.py``; nothing is opened here.
"""

import hashlib
import re
from collections.abc import Mapping

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.names import FILE_NAME

LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def checksum_lines(digests: Mapping[str, str]) -> str:
    """One line a file, sorted by file, so that the same digests are the same text."""
    return "".join(f"{digest}  {file}\n" for file, digest in sorted(digests.items()))


def read_checksums(text: str, *, where: str) -> dict[str, str]:
    """File -> digest from the text of a SHA256SUMS file called ``where`` in messages."""
    digests: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = LINE.fullmatch(line)
        if match is None or FILE_NAME.fullmatch(match[2]) is None:
            raise InputError(
                f"{where}, line {number}: read {line[:100]!r}, but a line is a SHA-256 digest, two "
                f"spaces and the name of a file of the release."
            )
        if match[2] in digests:
            raise InputError(f"{where}, line {number}: {match[2]} is listed twice.")
        digests[match[2]] = match[1]
    if not digests:
        raise InputError(f"{where} is empty: it lists the digest of every file of the release.")
    return digests
