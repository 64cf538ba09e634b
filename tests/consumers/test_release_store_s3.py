"""The laws of releases on S3, against a server that speaks it (moto), and whatever stops it.

All laws that hold alike everywhere are asked here again, by import. Run as a script, this file is
a publisher in a process of its own: ``test_release_store_s3.py ADDRESS SEED [NUMBER]`` publishes,
and with a number stops for good before that write or removal.
"""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import boto3
import fsspec
import pytest

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1] / "l0_pipeline"))

from test_release_places import *  # noqa: E402, F403  the same laws, at another place
from toy_release import NOON, publish, store  # noqa: E402

from l0_pipeline.logic.errors import InputError  # noqa: E402
from l0_pipeline.resources.object_files import ObjectFiles  # noqa: E402

BUCKET = "survey"
SHORT_S = 12.0  # a toy release takes less than half of it; short enough to wait for
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "toy",
    "AWS_SECRET_ACCESS_KEY": "toy",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    ],
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """The address of a server of its own; whoever asks is let in unless it says otherwise."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """Other credentials or another endpoint, and no connection made under the earlier ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def server():
    with s3_server() as address, environment(**ENVIRONMENT, AWS_ENDPOINT_URL=address):
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield address


@pytest.fixture
def location(server):  # in place of the imported one
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def objects(location: str) -> list[str]:
    return sorted(ObjectFiles(location).sizes())


def marks(location: str) -> list[str]:
    return [name for name in objects(location) if name.startswith(".")]


def publisher(location: str, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    """Another process that publishes, or stops at a step, as ``main`` below does it."""
    return subprocess.Popen(
        [sys.executable, str(HERE), location, *map(str, arguments)],
        env=os.environ | variables | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_object_is_created_only_where_there_is_none(location):
    assert ObjectFiles(location).create("a", b"first")
    assert not ObjectFiles(location).create("a", b"second")
    assert ObjectFiles(location).read("a") == b"first"


def test_a_published_prefix_is_the_release_the_pointers_and_nothing_else(location):
    release = publish(location)
    others = [name for name in objects(location) if not name.startswith(release.release_id)]
    assert others == ["latest", "latest-2022"]
    assert release.address == f"{location}/{release.release_id}"


def test_a_release_copied_to_disk_is_confirmed_by_sha256sum_and_by_the_store(location, tmp_path):
    release = publish(location)
    for file in store(location).files(release.release_id):
        path = tmp_path / release.release_id / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store(location).read_file(release.release_id, file))
    subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=tmp_path / release.release_id,
        check=True,
    )
    assert store(tmp_path).faults(release.release_id) == []


def test_any_changed_missing_or_added_object_is_found_and_named(location):
    release = publish(location)
    there = ObjectFiles(release.address)
    for file in there.sizes():
        content = there.read(file)
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1
        there.put(file, bytes(changed))
        words = "was changed" if file == "SHA256SUMS" else f"{file} was changed"
        with pytest.raises(InputError, match=words):
            store(location).verify(release.release_id)
        there.delete(file)
        words = "it is not there" if file == "SHA256SUMS" else f"{file} is missing"
        with pytest.raises(InputError, match=words):
            store(location).verify(release.release_id)
        there.put(file, content)
    there.put("more.txt", b"")
    with pytest.raises(InputError, match=r"more\.txt was added"):
        store(location).verify(release.release_id)


def test_publishers_at_once_each_get_a_whole_release_and_equal_ones_agree(location):
    running = [publisher(location, seed) for seed in (0, 0, 0, 1)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert [r["release_id"] for r in results[:3]] == [results[0]["release_id"]] * 3
    for result in results:
        store(location).verify(result["release_id"])
    assert len(store(location).releases()) == 2
    assert store(location).latest() in {result["release_id"] for result in results}
    assert marks(location) == []


def test_killed_at_any_moment_latest_names_a_whole_release_and_the_next_runs_tidy(location):
    """Before the first write, in the midst of the files, before SHA256SUMS, between pointers."""
    steps = (1, 2, 3, 7, 12, 13, 14, 15)
    firsts = {step: publish(f"{location}/{step}").release_id for step in steps}
    running = {step: publisher(f"{location}/{step}", 1, step) for step in steps}
    for step, process in running.items():
        place = f"{location}/{step}"
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "stopped"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        store(place).verify(store(place).latest())
        assert (store(place).latest() == firsts[step]) == (step < 15)

    time.sleep(SHORT_S + 2)  # the clock of S3 shows whole seconds
    for step in steps:
        place = f"{location}/{step}"
        third = publish(place, seed=2, abandoned_after_s=SHORT_S)
        assert store(place).latest() == third.release_id
        ids = {release.release_id for release in store(place).releases()}
        assert len(ids) == (3 if step > 12 else 2)
        assert {name.partition("/")[0] for name in objects(place)} == {
            *ids,
            "latest",
            "latest-2022",
        }
        second = publish(place, seed=1)
        store(place).verify(second.release_id)
        assert store(place).latest() == second.release_id


class CutOff(socketserver.BaseRequestHandler):
    """Passes what the client says on to the server, and cuts the line after so many bytes."""

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as behind:
            threading.Thread(target=self._answers, args=(behind,), daemon=True).start()
            while self.server.left > 0 and (said := self.request.recv(1 << 12)):
                self.server.left -= len(said)
                if self.server.left > 0:
                    behind.sendall(said)

    def _answers(self, behind: socket.socket) -> None:
        try:
            while answer := behind.recv(1 << 12):
                self.request.sendall(answer)
        except OSError:
            return


@contextmanager
def cut_off_after(server: str, sent: int) -> Iterator[str]:
    """An address that leads to ``server`` until ``sent`` bytes have gone there."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), CutOff) as line:
        line.daemon_threads = True
        line.block_on_close = False
        line.behind = ("127.0.0.1", int(server.rpartition(":")[2]))
        line.left = sent
        threading.Thread(target=line.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{line.server_address[1]}"
        line.shutdown()


@pytest.mark.parametrize("sent", [100, 5_000, 300_000, 900_000])
def test_a_storage_that_fails_in_mid_upload_is_one_clear_error_and_loses_nothing(
    server, location, sent
):
    first = publish(location)
    with (
        cut_off_after(server, sent) as address,
        environment(AWS_ENDPOINT_URL=address),
        pytest.raises(InputError, match="the storage refused or did not answer"),
    ):
        publish(location, seed=1, rows=200_000)
    assert store(location).latest() == first.release_id
    assert [r.release_id for r in store(location).releases()] == [first.release_id]
    store(location).verify(first.release_id)
    second = publish(location, seed=1, rows=200_000)
    assert store(location).latest() == second.release_id
    store(location).verify(second.release_id)


def test_a_bucket_that_is_not_there_is_named():
    missing = "s3://no-such-bucket/releases"
    for call in (
        lambda: publish(missing),
        lambda: store(missing).latest(),
        lambda: store(missing).releases(),
        lambda: store(missing).faults("2022-0123456789ab"),
    ):
        with pytest.raises(InputError, match=f"{missing}: the bucket or the object is not there"):
            call()


def test_no_credentials_are_one_clear_error(location):
    with (
        environment(
            AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="1"
        ),
        pytest.raises(InputError, match=r"credentials in the environment.*NoCredentialsError"),
    ):
        publish(location)


def test_nobody_at_the_endpoint_is_one_clear_error(location):
    nobody = f"http://127.0.0.1:{free_port()}"
    with (
        environment(AWS_ENDPOINT_URL=nobody),
        pytest.raises(InputError, match="Check the address, the endpoint"),
    ):
        publish(location)


def test_wrong_credentials_and_a_user_who_may_only_read_are_refused_clearly():
    """A server that checks after the first five requests, which make the bucket and the user."""
    with (
        s3_server(INITIAL_NO_AUTH_ACTION_COUNT="5") as address,
        environment(**ENVIRONMENT, AWS_ENDPOINT_URL=address),
    ):
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        iam = boto3.client("iam")
        iam.create_user(UserName="reader")
        iam.put_user_policy(
            UserName="reader", PolicyName="read", PolicyDocument=json.dumps(READ_ONLY)
        )
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        boto3.client("s3").put_object(Bucket=BUCKET, Key="releases/notes.txt", Body=b"mine")
        place = f"s3://{BUCKET}/releases"
        with pytest.raises(InputError, match=f"Cannot publish .* in {place}: access is denied"):
            publish(place)
        with pytest.raises(InputError, match=f"Cannot read latest in {place}: access is denied"):
            store(place).latest()
        with environment(
            AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"]
        ):
            assert store(place).latest() is None
            assert store(place).releases() == []
            with pytest.raises(InputError, match=f"in {place}: access is denied"):
                publish(place)
            assert objects(place) == ["notes.txt"]


def test_what_was_abandoned_is_removed_and_what_is_fresh_is_not(location):
    left = ObjectFiles(location)
    left.put("2022-0123456789ab/manifest.json", b"{}")
    left.put(".using-2022-0123456789ab-dead", b"")
    publish(location, abandoned_after_s=SHORT_S)
    assert len(objects(f"{location}/2022-0123456789ab")) == 1
    time.sleep(SHORT_S + 2)
    publish(location, abandoned_after_s=SHORT_S)
    assert objects(f"{location}/2022-0123456789ab") == []
    assert marks(location) == []


def main(location: str, seed: str, number: str = "0") -> None:
    """Publish; or say "stopped" before a write or removal and wait there to be killed."""
    left = int(number)

    def watch(function):
        def call(*arguments: object):
            nonlocal left
            left -= 1
            if left == 0:
                sys.stdout.write("stopped\n")
                sys.stdout.flush()
                time.sleep(600)
            return function(*arguments)

        return call

    for name in ("put", "create", "delete"):
        setattr(ObjectFiles, name, watch(getattr(ObjectFiles, name)))
    release = publish(location, seed=int(seed), created_at=NOON + timedelta(seconds=os.getpid()))
    sys.stdout.write(json.dumps({"release_id": release.release_id}))


if __name__ == "__main__":
    main(*sys.argv[1:])
