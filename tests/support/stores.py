"""Real stores of objects for tests: Ceph's RADOS gateway, Azurite, and Swift with its S3 middleware.

Starting one takes seconds, so a session of tests has one of each, which all its workers share. As a program, this
module starts a store, says when it answers, and ends it when the session's process is gone.

    python tests/support/stores.py KIND FOLDER SESSION
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AZURITE = ROOT / "build/azurite/node_modules/.bin/azurite-blob"
BUCKET = "sealift"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What every Azurite has, as its documentation says."""
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "rgw": ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph"),
    "swift": ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server"),
    "azurite": (str(AZURITE), "node"),
}


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store that answers, and a prefix of its bucket that no other test uses."""

    kind: str
    endpoint: str
    environment: Mapping[str, str]
    """The credentials, as the cloud's tools want them."""
    prefix: str = field(default_factory=lambda: f"t-{secrets.token_hex(8)}")

    @property
    def address(self) -> str:
        """The address of the prefix."""
        return f"{'az' if self.kind == 'azurite' else 's3'}://{BUCKET}/{self.prefix}"

    @property
    def settings(self) -> dict[str, Any]:
        """What a source or a target says besides the address."""
        return {"endpoint": self.endpoint, "unsafe_http": True}

    @property
    def yaml(self) -> str:
        """The keys of a source or a target, in YAML's braces."""
        return f"bucket: '{self.address}', endpoint: '{self.endpoint}', unsafe_http: true"

    @property
    def raw(self) -> Any:
        """The bucket, by the library alone."""
        from obstore.store import AzureStore, S3Store

        options: Any = {"client_options": {"allow_http": True}, "prefix": self.prefix}
        if self.kind == "azurite":
            return AzureStore(BUCKET, account_name=ACCOUNT, account_key=ACCOUNT_KEY, endpoint=self.endpoint, **options)
        return S3Store(
            BUCKET,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            **options,
        )

    def held(self) -> list[str]:
        """Every key below the prefix, sorted."""
        import obstore

        return sorted(entry["path"] for batch in obstore.list(self.raw) for entry in batch)

    def content(self, key: str) -> bytes:
        """What an object holds."""
        import obstore

        return bytes(obstore.get(self.raw, key).bytes())

    def write(self, key: str, content: bytes) -> None:
        """Put an object there, as anybody could."""
        import obstore

        obstore.put(self.raw, key, content)

    def remove(self, key: str) -> None:
        """Take an object away, as anybody could."""
        import obstore

        obstore.delete(self.raw, key)


PEAK = """
import re
from pathlib import Path
print(re.search("VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak(script: str, *arguments: str) -> int:
    """The most memory, in bytes, that a Python of its own takes for a script: what the library takes counts too."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests/support")))
    done = subprocess.run(
        [sys.executable, "-c", script + PEAK, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout) << 10


def missing(kind: str) -> list[str]:
    """The programs that a kind of store lacks here."""
    return [program for program in PROGRAMS[kind] if shutil.which(program, path=_path()) is None]


def _path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


def shared(kind: str, folder: Path) -> Store:
    """The session's store of a kind, started if nobody did so far.

    Args:
        kind: a key of `PROGRAMS`.
        folder: where all workers of a session meet.
    """
    told = folder / f"{kind}.json"
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            session = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            done = subprocess.run(
                [sys.executable, __file__, kind, folder, str(session)], capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr[-3000:]
    return Store(kind=kind, **json.loads(told.read_text()))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]


@dataclass
class Starting:
    """A store that is being started."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str | Path) -> None:
        """Run a program to its end."""
        done = subprocess.run(command, capture_output=True, env=self._environment(), timeout=60)
        if done.returncode:
            raise SystemExit(f"{command[0]}: {done.stdout.decode()}{done.stderr.decode()}")

    def start(self, *command: str | Path) -> None:
        """Start a program that stays."""
        log = (self.folder / f"{Path(command[0]).name}.out").open("wb")
        self.processes.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment())
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": _path(), "CEPH_CONF": str(self.folder / "ceph.conf"), "HOME": str(self.folder)}

    def answers(self, url: str) -> None:
        """Wait until something answers at `url`, whatever it says."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if dead := [each for each in self.processes if each.poll() is not None]:
                raise SystemExit(f"{dead[0].args!r} ended: {self._said()}")
            try:
                opener.open(url, timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"nothing answers at {url}: {self._said()}")

    def _said(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1000:] for path in self.folder.glob("*.out"))

    def end(self) -> None:
        """End all that was started."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def _rgw(starting: Starting) -> dict[str, Any]:
    folder = starting.folder
    monitor, port = _free_ports(2)
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    fsid = "11111111-2222-3333-4444-555555555555"
    (folder / "ceph.conf").write_text(f"""\
[global]
fsid={fsid}
mon_host=v2:127.0.0.1:{monitor}
ms_bind_ipv6=false
public_addr=127.0.0.1
cluster_addr=127.0.0.1
auth_cluster_required=none
auth_service_required=none
auth_client_required=none
osd_pool_default_size=1
osd_pool_default_min_size=1
osd_pool_default_pg_num=1
osd_pool_default_pgp_num=1
osd_pool_default_pg_autoscale_mode=off
mon_max_pg_per_osd=1000
mon_allow_pool_size_one=true
mon_warn_on_pool_no_redundancy=false
osd_crush_chooseleaf_type=0
paxos_propose_interval=0.05
paxos_min_wait=0.01
run_dir={folder}
log_file={folder}/$name.log
admin_socket={folder}/$name.asok
pid_file={folder}/$name.pid
mon_data={folder}/mon
osd_data={folder}/osd
keyring={folder}/keyring
osd_objectstore=memstore
memstore_device_bytes=4294967296
osd_class_load_list=*
osd_class_default_list=*
[client.rgw]
rgw_frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_dns_name=store.test
ms_mon_client_mode=crc
""")
    starting.run("ceph-authtool", "-C", folder / "keyring", "-g", "-n", "mon.", "--cap", "mon", "allow *")
    starting.run(
        "monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{monitor}]", "--fsid", fsid, folder / "monmap"
    )
    starting.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", folder / "keyring")
    starting.start("ceph-mon", "-i", "a", "-f")
    starting.run("ceph", "osd", "create")
    starting.run("ceph-osd", "-i", "0", "--mkfs")
    starting.start("ceph-osd", "-i", "0", "-f")
    user = ("--uid", "t", "--display-name", "t", "--access-key", "AK", "--secret-key", "SK-of-tests")
    starting.run("radosgw-admin", "user", "create", *user)
    starting.start("radosgw", "-n", "client.rgw", "-f")
    return _s3(starting, port, "AK", "SK-of-tests")


_RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(2, 1, 0)
    device = {"ip": "127.0.0.1", "port": int(port), "device": "d1", "region": 1, "zone": 1, "weight": 1.0, "meta": ""}
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": int(port)})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""


def _swift(starting: Starting) -> dict[str, Any]:
    folder = starting.folder
    port, *others = _free_ports(4)
    (folder / "dev/d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n"
        "[storage-policy:0]\nname = Policy-0\ndefault = yes\n"
    )
    starting.run("/usr/bin/python3", "-c", _RINGS, folder, *(str(own) for own in others))
    common = f"bind_ip = 127.0.0.1\nworkers = 0\nswift_dir = {folder}\nuser = root\n"
    for kind, own in zip(("account", "container", "object"), others, strict=True):
        (folder / f"{kind}.conf").write_text(
            f"[DEFAULT]\n{common}bind_port = {own}\ndevices = {folder}/dev\nmount_check = false\n"
            "fallocate_reserve = 0\n"
            f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
        )
    pipeline = "catch_errors cache listing_formats s3api tempauth bulk slo dlo"
    (folder / "proxy.conf").write_text(
        f"[DEFAULT]\n{common}bind_port = {port}\n[pipeline:main]\npipeline = {pipeline} proxy-server\n"
        + "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in pipeline.split() if name != "cache")
        .replace("#s3api\n", "#s3api\nlocation = us-east-1\n")
        .replace("#tempauth\n", "#tempauth\nuser_test_tester = testing .admin\n")
        + "[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:1\n"
        + "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nnode_timeout = 60\n"
        "error_suppression_limit = 10000\n"
    )
    for kind in ("account", "container", "object"):
        starting.start(f"swift-{kind}-server", folder / f"{kind}.conf")
    for own in others:
        starting.answers(f"http://127.0.0.1:{own}/healthcheck")
    starting.start("swift-proxy-server", folder / "proxy.conf")
    return _s3(starting, port, "test:tester", "testing")


def _s3(starting: Starting, port: int, user: str, secret: str) -> dict[str, Any]:
    from s3 import signed

    endpoint = f"http://127.0.0.1:{port}"
    starting.answers(endpoint)
    deadline = time.monotonic() + 30
    while (answer := signed("PUT", f"{endpoint}/{BUCKET}", user, secret))[0] != 200:
        if time.monotonic() > deadline:
            raise SystemExit(f"no bucket can be made: {answer}")
        time.sleep(0.1)
    variables = {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret}
    return {"endpoint": endpoint, "environment": variables}


def _azurite(starting: Starting) -> dict[str, Any]:
    from s3 import make_container

    (port,) = _free_ports(1)
    options = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent")
    starting.start(str(AZURITE), *options, "--skipApiVersionCheck", "--disableTelemetry")
    starting.answers(f"http://127.0.0.1:{port}/")
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    answer = make_container(endpoint, ACCOUNT, ACCOUNT_KEY, BUCKET)
    if answer[0] != 201:
        raise SystemExit(f"no container can be made: {answer}")
    return {"endpoint": endpoint, "environment": {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": ACCOUNT_KEY}}


_STARTERS: Mapping[str, Callable[[Starting], dict[str, Any]]] = {"rgw": _rgw, "swift": _swift, "azurite": _azurite}


def _lives(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def _main(kind: str, folder: Path, session: int) -> None:
    """Start a store in a process of its own, which outlives this one; return when it answers."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with open(reader, "rb") as pipe:
            said = pipe.read()
        sys.stderr.buffer.write(said)
        sys.exit(0 if (folder / f"{kind}.json").exists() else 1)
    os.setsid()
    os.close(reader)
    starting = Starting(folder / kind)
    starting.folder.mkdir()
    try:
        try:
            told = _STARTERS[kind](starting)
        except BaseException as error:
            os.write(writer, str(error).encode()[:60_000])
            raise
        unfinished = folder / f"{kind}.json.new"
        unfinished.write_text(json.dumps(told))
        unfinished.rename(folder / f"{kind}.json")
        devnull = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(devnull, descriptor)
        os.close(writer)
        while _lives(session) and all(each.poll() is None for each in starting.processes):
            time.sleep(0.3)
    finally:
        starting.end()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
