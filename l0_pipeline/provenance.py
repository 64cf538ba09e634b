"""What a release was made from, so that its manifest cannot say anything else.

A release may be published long after its tables were built, and any asset may be built again
alone. Before publishing, three things are asked of Dagster's record of the tables: each was made
from the latest version of its inputs, under today's settings and code, and the files that were
read still have the bytes they had.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import dagster as dg

from l0_pipeline.logic.errors import InputError
from l0_pipeline.settings import PROJECT_DIR

PACKAGES = ("l0", "l0_pipeline")
INPUT_POINTER = "dagster/input_event_pointer/"  # Dagster's tag: which version of an input was read
MADE_WITH, SHA256 = "made_with", "sha256"  # metadata that the assets record


def made_with(**settings: dg.ConfigurableResource) -> dg.JsonMetadataValue:  # type: ignore[type-arg]
    """The settings and the code that an asset was made with, to be recorded as ``made_with``."""
    dumped = {name: resource.model_dump() for name, resource in settings.items()}
    return dg.MetadataValue.json({**dumped, "code": code_version()})


def refuse_stale(context: dg.AssetExecutionContext, *, assets: Iterable[str]) -> None:
    """Each asset, and each one it was made from, was made from the latest version of its inputs.

    Raises:
        InputError: an input was materialized again after the asset that used it, or Dagster has
            no record of one of them.
    """
    waiting, seen = list(assets), set[str]()
    while waiting:
        asset = waiting.pop()
        if asset in seen:
            continue
        seen.add(asset)
        event = _latest(context, asset).event_log_entry.asset_materialization
        tags = (event.tags if event is not None else None) or {}
        for tag, pointer in tags.items():
            if not tag.startswith(INPUT_POINTER):
                continue
            source = tag.removeprefix(INPUT_POINTER)
            if str(_latest(context, source).storage_id) != pointer:
                raise InputError(
                    f"`{asset}` for {context.partition_key} was made before the latest "
                    f"`{source}`. Materialize `{asset}` and everything after it again."
                )
            waiting.append(source)


def refuse_changed_settings(
    context: dg.AssetExecutionContext,
    *,
    asset: str,
    **settings: dg.ConfigurableResource,  # type: ignore[type-arg]
) -> None:
    """The asset was made with these settings and this code.

    Raises:
        InputError: it was made with others; the message names the first that differs.
    """
    now: Mapping[str, object] = made_with(**settings).data  # type: ignore[assignment]
    before = _recorded(context, asset, MADE_WITH)
    if before == now:
        return
    known = before if isinstance(before, dict) else {}
    other = next(name for name in now if known.get(name) != now[name])
    raise InputError(
        f"`{asset}` for {context.partition_key} was made with other settings ({other}: "
        f"{known.get(other)}) than this run's ({now[other]}). Materialize `{asset}` and "
        "everything after it with these settings, or publish with those."
    )


def is_current(
    context: dg.AssetExecutionContext,
    asset: str,
    **settings: dg.ConfigurableResource,  # type: ignore[type-arg]
) -> bool:
    """Whether an asset built on demand is there, of these settings and the latest inputs."""
    if _found(context, asset) is None:
        context.log.info(
            f"`{asset}` is not in this release: it is built on demand, and was not built for "
            f"{context.partition_key}."
        )
        return False
    try:
        refuse_stale(context, assets=[asset])
        refuse_changed_settings(context, asset=asset, **settings)
    except InputError as reason:
        context.log.warning(f"`{asset}` is not in this release: {reason}")
        return False
    return True


def refuse_changed_files(
    context: dg.AssetExecutionContext, *, asset: str, digest: str, files: str
) -> None:
    """The files' digest now is the one that the asset recorded when it read them.

    Raises:
        InputError: it is not.
    """
    recorded = _recorded(context, asset, SHA256)
    if recorded != digest:
        raise InputError(
            f"{files} changed after `{asset}` for {context.partition_key} was built: their "
            f"SHA-256 is {digest[:12]}, it was {str(recorded)[:12]}. Materialize "
            f"`{asset}` and everything after it again; if nothing changed, another build with "
            "other inputs used this DAGSTER_HOME: give each its own."
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


def file_digests(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _found(context: dg.AssetExecutionContext, asset: str) -> dg.EventLogRecord | None:
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=[context.partition_key]
        ),
        limit=1,
    ).records
    return records[0] if records else None


def _latest(context: dg.AssetExecutionContext, asset: str) -> dg.EventLogRecord:
    record = _found(context, asset)
    if record is None:
        raise InputError(
            f"Nothing is recorded of `{asset}` for {context.partition_key} in this Dagster "
            "instance, so the release could not say what it was made from. Set DAGSTER_HOME to "
            "the instance that built it, or materialize the whole graph in one run."
        )
    return record


def _recorded(context: dg.AssetExecutionContext, asset: str, name: str) -> object:
    event = _latest(context, asset).event_log_entry.asset_materialization
    value = event.metadata.get(name) if event is not None else None
    return None if value is None else value.value
