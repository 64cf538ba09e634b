"""Publish the latest release again and again, kill it with SIGKILL, and look at what is left.

    .venv/bin/python benchmarks/kill_publishing.py            in a local folder
    python benchmarks/kill_publishing.py --s3                 on S3: a server of its own (moto)

Thirty moments are spread over the time from the first write to the last. After each, ``latest``
must name a whole release that verifies, and so must every release that is listed. The next run
publishes the same release, or by turns another one; on object storage what was left half-way may
stay until it is taken for abandoned, which the last line tells. Ends with status 1 when a release
is not whole or rubbish stays. ``--s3`` needs what ``tests/consumers`` needs.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from l0_pipeline.logic.release.contents import ReleaseHeading
from l0_pipeline.logic.release.manifest import ManifestDraft
from l0_pipeline.logic.release.names import CHECKSUMS_FILE, DICTIONARY_FILE, MANIFEST_FILE
from l0_pipeline.resources.local_storage import STAGING
from l0_pipeline.resources.object_files import ObjectFiles
from l0_pipeline.resources.object_storage import REMOVING, USING
from l0_pipeline.resources.release_store import ReleaseStore

RELEASE = Path(__file__).parents[1] / "data" / "releases" / "latest-2022"
MOMENTS = 30
REPEATS = 5
KEEP = 2
LINE = "{:<8}{:<10}{:<10}{:<34}"
ABANDONED_AFTER_S = 60.0  # many times what publishing takes here


def publication(*, seed: int) -> dict[str, Any]:
    """What publishes the real release's tables under another seed, as another release."""
    stated = json.loads((RELEASE / MANIFEST_FILE).read_text(encoding="utf-8"))
    fields = {name: stated[name] for name in ManifestDraft.model_fields if name in stated}
    return {
        "tables": {path.stem: pl.read_parquet(path) for path in sorted(RELEASE.glob("*.parquet"))},
        "draft": ManifestDraft.model_validate(fields | {"schema_version": 2, "seed": seed}),
        "dictionary": pl.read_csv(RELEASE / DICTIONARY_FILE),
        "files": {f"{f.parent.name}/{f.name}": f.read_bytes() for f in RELEASE.glob("*/*")},
        "texts": {"summary.txt": (RELEASE / "summary.txt").read_text(encoding="utf-8")},
    }


def publish(location: str, *, seed: int, keep: int | None = None) -> None:
    store = ReleaseStore(location=location, keep=keep, abandoned_after_s=ABANDONED_AFTER_S)
    store.publish(**publication(seed=seed))


def rubbish(location: str) -> str:
    """What belongs to no release: staging folders, marks, files without SHA256SUMS."""
    if "://" not in location:
        kinds = [STAGING for _ in Path(location).glob(f"{STAGING}*")]
    else:
        names = ObjectFiles(location).sizes()
        kinds = [kind for name in names for kind in (USING, REMOVING) if name.startswith(kind)]
        ids = {name.partition("/")[0] for name in names if "/" in name}
        kinds += ["unfinished" for i in ids if f"{i}/{CHECKSUMS_FILE}" not in names]
    return ", ".join(f"{number} {kind}" for kind, number in Counter(kinds).items())


def faulty(location: str) -> list[str]:
    """The releases that are listed, or named by latest, and are not whole."""
    store = ReleaseStore(location=location)
    names = {store.latest(), *(release.release_id for release in store.releases())}
    return [str(name) for name in names if name is None or store.faults(name)]


def child(location: str, seed: int) -> subprocess.Popen[str]:
    """A process that is about to publish: it has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", location, str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    _wait_for(process, "ready")
    return process


def be_the_child(location: str, seed: int) -> None:
    given = publication(seed=seed)
    summary = given["texts"]["summary.txt"]

    def told(_: ReleaseHeading) -> str:
        print("writing", flush=True)  # texts are made right before the first file is written
        return str(summary)

    store = ReleaseStore(location=location, abandoned_after_s=ABANDONED_AFTER_S)
    print("ready", flush=True)
    store.publish(**given | {"texts": {"summary.txt": told}})
    print("done", flush=True)


def seconds_of(location: str) -> tuple[float, float, float]:
    """Median seconds of publishing in a process of its own, of its writing, and of verifying."""
    publishing, writing, verifying = [], [], []
    for seed in range(1_000, 1_000 + REPEATS):
        process = child(location, seed)
        started = time.perf_counter()
        _wait_for(process, "writing")
        begun = time.perf_counter()
        _wait_for(process, "done")
        publishing.append(time.perf_counter() - started)
        writing.append(time.perf_counter() - begun)
        process.wait()
        store = ReleaseStore(location=location)
        newest = store.releases()[0].release_id
        started = time.perf_counter()
        store.verify(newest)
        verifying.append(time.perf_counter() - started)
    return statistics.median(publishing), statistics.median(writing), statistics.median(verifying)


def kill_at_moments(location: str) -> bool:
    """Kill and look, moment by moment; whether all was as it must be."""
    publishing, writing, verifying = seconds_of(location)
    print(
        f"Publishing takes {publishing:.2f} s, of which writing {writing:.2f} s; verifying takes "
        f"{verifying:.2f} s (median of {REPEATS})"
    )
    print(f"{'moment':>8}  {LINE.format('latest', 'verified', 'next run', 'rubbish then')}there")
    good = True
    for moment in range(MOMENTS):
        at = writing * (moment + 0.5) / MOMENTS
        before = ReleaseStore(location=location).latest()
        process = child(location, moment)
        _wait_for(process, "writing")
        time.sleep(at)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = rubbish(location)
        bad = faulty(location)
        moved = "old" if ReleaseStore(location=location).latest() == before else "new"
        same = moment % 2 == 0
        publish(location, seed=moment if same else 2_000 + moment, keep=KEEP)
        still = rubbish(location)
        bad += faulty(location)
        good = good and not bad and ("://" in location or not still)
        line = LINE.format(
            moved,
            f"not {', '.join(bad)}" if bad else "all",
            "same" if same else "another",
            still or "none",
        )
        print(f"{at:6.3f} s  {line}{left or 'nothing'}", flush=True)
    return good


def tidies_what_is_abandoned(location: str) -> bool:
    time.sleep(ABANDONED_AFTER_S + 2)
    publish(location, seed=3_000, keep=KEEP)
    left = rubbish(location)
    print(f"After {ABANDONED_AFTER_S:.0f} s and one more run: {left or 'no rubbish'}")
    return not left and not faulty(location)


@contextmanager
def s3_bucket() -> Iterator[str]:
    """A bucket on a server of its own."""
    import boto3

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "toy",
        "AWS_SECRET_ACCESS_KEY": "toy",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket="survey")
        yield "s3://survey/releases"
    finally:
        server.kill()
        server.wait()


@contextmanager
def local_folder() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="l0-releases-"))
    try:
        yield str(folder)
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder)


def _wait_for(process: subprocess.Popen[str], word: str) -> None:
    if process.stdout is None or process.stdout.readline().strip() != word:
        raise RuntimeError(f"the publisher did not say {word!r}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--s3", action="store_true", help="on S3, not in a folder")
    options.add_argument("--child", nargs=2, metavar=("LOCATION", "SEED"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        location, seed = given.child
        be_the_child(location, int(seed))
        return
    with s3_bucket() if given.s3 else local_folder() as location:
        publish(location, seed=-1)
        good = kill_at_moments(location)
        if given.s3:
            good = tidies_what_is_abandoned(location) and good
    print("Every release was whole." if good else "NOT every release was whole, or rubbish stayed.")
    sys.exit(not good)


if __name__ == "__main__":
    main()
