"""What a release was made from: inputs unchanged since they were read, and the code's version."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import dagster as dg

from l0_pipeline.logic.errors import InputError
from l0_pipeline.settings import PROJECT_DIR

PACKAGES = ("l0", "l0_pipeline")


def refuse_changed_input(
    context: dg.AssetExecutionContext, *, asset: str, digest: str, files: str
) -> None:
    """The files' digest now is the one that the asset recorded when it read them.

    Raises:
        InputError: it is not, or nothing was recorded in this Dagster instance.
    """
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=[context.partition_key]
        ),
        limit=1,
    ).records
    event = found[0].asset_materialization if found else None
    recorded = event.metadata.get("sha256") if event is not None else None
    if recorded is None:
        raise InputError(
            f"Nothing is recorded of `{asset}` for {context.partition_key} in this Dagster "
            "instance, so the release could not say what it was made from. Set DAGSTER_HOME to "
            "the instance that built it, or materialize the whole graph in one run."
        )
    if recorded.value != digest:
        raise InputError(
            f"{files} changed after `{asset}` for {context.partition_key} was built: their "
            f"SHA-256 is {digest[:12]}…, it was {str(recorded.value)[:12]}…. Materialize "
            f"`{asset}` and everything after it again."
        )


def code_version() -> str:
    """The package's version and a digest of its source, so that two builds can be told apart."""
    total = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((PROJECT_DIR / package).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                total.update(f"{path.relative_to(PROJECT_DIR)}\0".encode())
                total.update(path.read_bytes())
    return f"{version('l0-pipeline')}+{total.hexdigest()[:12]}"


def file_digests(files: list[Path]) -> dict[str, str]:
    """SHA-256 of every file by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
