"""systemd as the first process of a podman container, which borrows this machine's programs and nothing else of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registries import need

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""podman's configuration, for a machine that is a container itself."""
_SYSTEMD = "/usr/lib/systemd/systemd"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that systemd runs."""

    pid: int
    """Of its systemd, as this machine sees it."""
    units: Path
    """Its /etc/systemd/system, under the same path here and there."""
    programs: Path
    """A folder with its systemctl, systemd-analyze and journalctl, as programs of this machine."""

    def run(self, *words: str) -> str:
        """What a program in it says."""
        done = subprocess.run(
            [self.programs / words[0], *words[1:]], capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit)

    def clear(self) -> None:
        """Stop and remove all units of tests."""
        for path in sorted(self.units.iterdir()):
            if path.is_file() and "@." not in path.name:
                self.run("systemctl", "stop", path.name)
        for path in sorted(self.units.iterdir()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed")


@contextlib.contextmanager
def machine(folder: Path, shared: Path) -> Iterator[Machine]:
    """A running machine.

    Args:
        folder: for its own things.
        shared: a folder that it sees under the same path, with `folder` in it.
    """
    podman = need("podman")
    for program in ("runc", "nsenter", "dbus-daemon", "systemd-analyze", _SYSTEMD):
        need(program)
    root, units, programs = folder / "root", folder / "units", folder / "programs"
    for name in ("etc/systemd/system", "var/log", "var/lib", "run", "tmp", "proc", "sys", "dev", "usr", "root"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copyfile(f"/etc/{name}", root / "etc" / name)
    (root / "etc/machine-id").touch()
    units.mkdir()
    programs.mkdir()
    conf = folder / "containers.conf"
    conf.write_text(CONTAINERS_CONF)
    environment = {"PATH": os.environ["PATH"], "CONTAINERS_CONF": str(conf), "HOME": str(folder)}
    state = tempfile.mkdtemp(prefix="sealift-")  # podman wants a short path
    own = [podman, "--root", str(folder / "storage"), "--runroot", state, "--storage-driver", "vfs"]
    name = f"sealift-{os.getpid()}"
    mounts = [f"--volume={source}" for source in ("/usr:/usr:ro", f"{units}:/etc/systemd/system", f"{shared}:{shared}")]
    search = f"--env=SYSTEMD_UNIT_PATH={units}:"
    options = ["--detach", f"--name={name}", "--systemd=always", search, *mounts]
    words = [*own, "run", *options, "--rootfs", str(root), _SYSTEMD]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    try:
        told = subprocess.run(
            [*own, "inspect", "--format={{.State.Pid}}", name],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        pid = int(told.stdout)
        for program in ("systemctl", "systemd-analyze", "journalctl"):
            path = programs / program
            enter = f"nsenter --target {pid} --mount --pid --root --wd=/"
            path.write_text(f'#!/bin/sh\nexec {enter} /usr/bin/{program} "$@"\n')
            path.chmod(0o755)
        found = Machine(pid=pid, units=units, programs=programs)
        deadline = time.monotonic() + 60
        while found.run("systemctl", "is-system-running") not in ("running", "degraded"):
            assert time.monotonic() < deadline, "systemd does not come up"
            time.sleep(0.1)
        yield found
    finally:
        subprocess.run([*own, "rm", "--force", "--time=1", name], env=environment, capture_output=True, check=False)
        shutil.rmtree(state, ignore_errors=True)
