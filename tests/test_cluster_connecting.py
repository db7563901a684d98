"""Schedulers in every form in which people have them, and those that can't be reached: why."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import distributed
import numpy as np
import pytest
from cli_support import Caller
from dask_cluster import DaskCluster
from publish_help import publication
from store_tools import ENVIRONMENT, drawn, hashes, tiny, tiny_make

from gpgen.errors import ClusterError, UsageError
from gpgen.publish.packaging import package
from gpgen.publish.regenerating import regenerate

pytestmark = pytest.mark.cluster

N = 12


def local(**options) -> distributed.LocalCluster:
    """A cluster of two threads of this process."""
    usual = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": False,
        "dashboard_address": "127.0.0.1:0",
        "worker_dashboard_address": None,
        "silence_logs": logging.CRITICAL,
    }
    return distributed.LocalCluster(**usual | options)


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with local(protocol="tcp://") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def security() -> distributed.Security:
    return distributed.Security.temporary()


@pytest.fixture(scope="module")
def encrypted(security) -> Iterator[distributed.LocalCluster]:
    with local(protocol="tls://", security=security) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr("gpgen.making.cluster.CONNECT_SECONDS", 1.0)


def check_makes(folder: Path, scheduler, **options) -> None:
    made = tiny_make(folder / "d.zarr", N, workers=None, scheduler=scheduler, **options)
    with made as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


def check_refused(folder: Path, scheduler, kind: type, words: str, **options) -> None:
    with pytest.raises(kind, match=words) as caught:
        tiny_make(folder / "d.zarr", N, workers=None, scheduler=scheduler, **options)
    assert caught.value.hint
    assert "bug" not in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("form", ["tcp://HOST:PORT", "HOST:PORT", "cluster", "client"])
def test_an_address_a_cluster_and_a_client_are_taken(tmp_path: Path, cluster, form) -> None:
    address = cluster.scheduler_address
    if form != "client":
        given = {"cluster": cluster, "HOST:PORT": address.removeprefix("tcp://")}
        check_makes(tmp_path, given.get(form, address))
        return
    with distributed.Client(cluster, set_as_default=False) as client:
        check_makes(tmp_path, client)
        # It is the user's, who goes on with it.
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_cluster_in_this_process_is_taken(tmp_path: Path) -> None:
    with local() as cluster:
        assert cluster.scheduler_address.startswith("inproc://")
        check_makes(tmp_path, cluster)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_scheduler_file_is_taken(tmp_path_factory, tmp_path: Path, cluster, kind) -> None:
    file = tmp_path_factory.mktemp("file") / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": cluster.scheduler_address}))
    check_makes(tmp_path, kind(file))


def test_a_scheduler_file_that_is_about_to_be_written_is_waited_for(
    tmp_path_factory, tmp_path: Path, cluster
) -> None:
    file = tmp_path_factory.mktemp("file") / "scheduler.json"
    text = json.dumps({"address": cluster.scheduler_address})
    threading.Timer(0.3, file.write_text, [text]).start()
    check_makes(tmp_path, file)


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"address"'])
def test_what_is_no_scheduler_file_is_refused(tmp_path_factory, tmp_path: Path, text) -> None:
    file = tmp_path_factory.mktemp("file") / "scheduler.json"
    if text is not None:
        file.write_text(text)
    words = "can't be read: no such file" if text is None else "is not a scheduler file"
    check_refused(tmp_path, file, UsageError, rf"{words}.*--scheduler-file")


@pytest.mark.parametrize("form", ["security", "cluster", "client"])
def test_an_encrypted_scheduler_is_taken(tmp_path: Path, encrypted, security, form) -> None:
    if form == "security":
        check_makes(tmp_path, encrypted.scheduler_address, security=security)
    elif form == "cluster":
        check_makes(tmp_path, encrypted)
    else:
        with distributed.Client(encrypted, set_as_default=False) as client:
            check_makes(tmp_path, client)


def test_certificates_are_given_at_the_prompt(tmp_path: Path, encrypted, security, capfd) -> None:
    files = {"ca-file": security.tls_ca_file, "cert": security.tls_client_cert}
    files["key"] = security.tls_client_key
    words = []
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        words += [f"--tls-{name}", tmp_path / name]
    (tmp_path / "tiny.toml").write_text(tiny().to_toml())
    make = ("make", "--recipe", tmp_path / "tiny.toml", "--n", "4", "--out", tmp_path / "d.zarr")
    make += ("--scheduler", encrypted.scheduler_address)
    call = Caller(capfd, tmp_path)
    without = call(*make)
    assert without.status == 2
    assert "needs TLS certificates; give --tls-ca-file" in without.err
    assert call(*make, *words).status == 0
    missing = call(*make, "--overwrite", *words[:-1], tmp_path / "nokey")
    assert missing.status == 2
    assert missing.err == (
        "error: the TLS certificates can't be read: no such file or directory; "
        "give --tls-ca-file, --tls-cert and --tls-key, the certificates of the cluster\n"
    )


def test_a_deposits_dataset_is_made_again_on_a_cluster(tmp_path: Path, cluster) -> None:
    with tiny_make(tmp_path / "d.zarr", N) as dataset:
        package(str(dataset.path), publication(), tmp_path / "deposit")
    regenerate(tmp_path / "deposit", tmp_path / "again.zarr", scheduler=cluster).close()
    assert hashes(tmp_path / "again.zarr") == hashes(tmp_path / "d.zarr")


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def talking(words: bytes | None) -> Iterator[str]:
    """The address of something that says this to whoever connects; of something silent if None."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            held = []
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if words is not None:
                        connection.sendall(words)
                        connection.close()
            for connection in held:
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


MALFORMED = [
    ("nonsense", "no scheduler's address: missing port number"),
    ("", "no scheduler's address"),
    ("tcp://", "no scheduler's address"),
    ("http://127.0.0.1:80", "unknown address scheme 'http'"),
    ("tcp://::1", "needs brackets"),
    ("tcp://" + "a" * 70 + ":1", "no scheduler's address"),
]


@pytest.mark.parametrize(("address", "words"), MALFORMED)
def test_what_is_no_address_is_refused(tmp_path: Path, address, words) -> None:
    check_refused(tmp_path, address, UsageError, rf"{words}.*give tcp://HOST:PORT")


def test_the_cause_is_named_when_nobody_answers(tmp_path: Path, monkeypatch) -> None:
    refused = f"tcp://127.0.0.1:{_closed_port()}"
    check_refused(tmp_path, refused, ClusterError, "does not answer: connection refused")
    unknown = "tcp://no-such-host.invalid:8786"
    check_refused(tmp_path, unknown, ClusterError, "name no-such-host.invalid can't be resolved")
    monkeypatch.setattr("gpgen.making.cluster.CONNECT_SECONDS", 4.0)
    with talking(None) as silent:
        check_refused(tmp_path, silent, ClusterError, "does not answer within 4 seconds")


def test_a_name_that_takes_long_to_look_up_is_named(tmp_path: Path, monkeypatch) -> None:
    look_up = socket.getaddrinfo

    def slowly(*arguments, **options):
        time.sleep(2.5)  # longer than Dask is waited for
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    unknown = "tcp://no-such-host.invalid:8786"
    check_refused(tmp_path, unknown, ClusterError, "name no-such-host.invalid can't be resolved")


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad\r\n\r\n", bytes(64)]
)
def test_something_else_that_answers_is_told(tmp_path: Path, words) -> None:
    with talking(words) as address:
        told = f"{address} (closed the connection; give tls|is not a Dask scheduler)"
        check_refused(tmp_path, address, ClusterError, told)


def test_a_workers_address_is_told_from_a_schedulers(tmp_path: Path, cluster) -> None:
    address = cluster.workers[0].address
    check_refused(tmp_path, address, UsageError, "is the address of a Dask worker; give its sched")


# Dask leaves the socket of a connection that it can't encrypt to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_encryption_that_does_not_fit_is_named(
    tmp_path: Path, cluster, encrypted, security
) -> None:
    plain, tls = cluster.scheduler_address, encrypted.scheduler_address
    check_refused(tmp_path, tls, UsageError, "needs TLS certificates")
    as_tcp, as_tls = tls.replace("tls:", "tcp:"), plain.replace("tcp:", "tls:")
    check_refused(tmp_path, as_tcp, ClusterError, "closed the connection; give tls://")
    words = "does not speak TLS as we do: .*; give tcp://"
    check_refused(tmp_path, as_tls, ClusterError, words, security=security)
    words = "is not encrypted, as security demands; give tls://"
    check_refused(tmp_path, plain, UsageError, words, security=security)
    other = distributed.Security.temporary()
    check_refused(tmp_path, tls, ClusterError, "is not trusted", security=other)
    gc.collect()


def test_what_can_be_no_scheduler_is_refused(tmp_path: Path, cluster) -> None:
    for given in (8786, cluster.scheduler, object(), ["tcp://127.0.0.1:1"]):
        words = "is of type .*give an address, a scheduler file"
        check_refused(tmp_path, given, UsageError, words)
    address = cluster.scheduler_address
    words = "give a distributed.Security"
    check_refused(tmp_path, address, UsageError, words, security="ca.pem")
    check_refused(tmp_path, address, UsageError, words, security={"ca": "ca.pem"})
    words = "the TLS certificates can't be read"
    files = {"tls_ca_file": str(tmp_path), "tls_client_cert": "none.pem"}
    check_refused(tmp_path, address, UsageError, words, security=files)
    with distributed.Client(cluster, set_as_default=False) as client:
        pass
    with local() as ended:
        pass
    for given in (client, ended):
        check_refused(tmp_path, given, UsageError, "given as scheduler is closed")
    with pytest.raises(UsageError, match="security is for a cluster"):
        tiny_make(tmp_path / "d.zarr", N, security=distributed.Security())


def test_a_preload_of_dasks_client_that_fails_is_named(tmp_path: Path, cluster) -> None:
    import dask

    with dask.config.set({"distributed.client.preload": ["nosuchmodule"]}):
        words = "ModuleNotFoundError: No module named 'nosuchmodule'"
        check_refused(tmp_path, cluster, ClusterError, words)


def test_another_gpgen_on_the_workers_is_named(tmp_path: Path) -> None:
    """A gpgen that lacks what the driver sends."""
    other = tmp_path / "other" / "gpgen"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.1"\n')
    installed = other.with_name("gpgen-0.0.1.dist-info")
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: gpgen\nVersion: 0.0.1\n")
    (tmp_path / "cluster").mkdir()
    (tmp_path / "data").mkdir()
    path = os.pathsep.join([str(other.parent), ENVIRONMENT["PYTHONPATH"]])
    settings = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    with contextlib.closing(DaskCluster(tmp_path / "cluster", 1, settings)) as cluster:
        words = "the scheduler has gpgen 0.0.1, this process "
        check_refused(tmp_path / "data", cluster.address, ClusterError, words)
