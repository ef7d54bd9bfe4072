"""The target `function`: a package that is the same each time, and an alias that is switched."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from relays import killed_at_each_write, relaying
from stores import Store
from worlds import Connected, Isolated

from installer.buckets.zipping import pack
from installer.storage.content import Contents
from installer.storage.deployable import Deployable
from installer.storage.store import Store as Content
from sealift.errors import UsageError

StoreOf = Callable[[str], Store]
FILES = {
    "main.py": b"def handler(event, context):\n    return event\n",
    "bin/check": b"#!/bin/sh\nexit 0\n",
    "lib/large.txt": b"".join(b"%d\n" % number for number in range(300_000)),
    "lib.txt": b"sorts before lib/",
    "empty": b"",
}


def _kind(store: Store, **more: object) -> str:
    return f"{{kind: function, {store.yaml}, function: resize, {json.dumps(more)[1:-1]}}}"


def _alias(store: Store, name: str = "live") -> dict[str, str]:
    said: dict[str, str] = json.loads(store.content(f"resize/aliases/{name}.json"))
    return said


@pytest.fixture
def package(connected: Connected, isolated: Isolated) -> Callable[[], bytes]:
    """Makes the package of a release with a link, anew each time."""
    spec = connected.spec("1.0", FILES)
    (connected.root / "shop-1.0/run").symlink_to("bin/check")
    isolated.admit(connected.export(spec))
    admitted = isolated.site.state.release("shop", "1.0")
    assert admitted is not None
    store = Content(isolated.site.store)
    deployable = Deployable(release=store.held(admitted.part), part=admitted.part)

    def make() -> bytes:
        made = io.BytesIO()
        pack(Contents(deployable, store, ["web"]), "web", made, limit=1 << 30, progress=lambda _: None)
        return made.getvalue()

    return make


def test_a_package_is_the_same_each_time(package: Callable[[], bytes]) -> None:
    """No time, no order of a folder and no user of this machine is in it."""
    first = package()
    assert package() == first
    with zipfile.ZipFile(io.BytesIO(first)) as made:
        assert made.testzip() is None
        assert {each.date_time for each in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert made.namelist() == ["bin/check", "empty", "lib.txt", "lib/large.txt", "main.py", "run"]


def test_a_package_holds_what_the_artifact_does(package: Callable[[], bytes], tmp_path: Path) -> None:
    """Contents, modes and links come out of it by a program that is not ours."""
    path = tmp_path / "package.zip"
    path.write_bytes(package())
    with zipfile.ZipFile(path) as made:
        for name, content in FILES.items():
            assert made.read(name) == content
        modes = {each.filename: each.external_attr >> 16 for each in made.infolist()}
        assert modes["bin/check"] == stat.S_IFREG | 0o755
        assert modes["main.py"] == stat.S_IFREG | 0o644
        assert modes["run"] == stat.S_IFLNK | 0o777
        assert made.read("run") == b"bin/check"


def test_python_runs_it(package: Callable[[], bytes], tmp_path: Path) -> None:
    """A platform imports the function from the package itself."""
    path = tmp_path / "package.zip"
    path.write_bytes(package())
    ended = subprocess.run(
        [sys.executable, "-c", "import main; print(main.handler(7, None))"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "7\n", ended.stderr


@pytest.mark.parametrize("kind", ["rgw", "azurite"])
def test_the_alias_says_which_package_holds(
    connected: Connected, isolated: Isolated, store_of: StoreOf, kind: str
) -> None:
    """It names the object, whose digest is its name, also in the form in which AWS tells it; a return is the former."""
    store = store_of(kind)
    isolated.admit(connected.bundle("1.0", FILES))
    isolated.admit(connected.bundle("1.1", FILES | {"main.py": b"def handler(*_):\n    return 1\n"}))
    isolated.deploy("1.0", _kind(store))
    first = _alias(store)
    content = store.content(f"resize/{first['object']}")
    digest = hashlib.sha256(content)
    assert first["object"] == f"versions/{digest.hexdigest()}.zip"
    assert base64.b64decode(first["sha256_base64"]) == digest.digest()
    isolated.deploy("1.1", _kind(store))
    assert _alias(store)["object"] != first["object"]
    isolated.installation.rollback("plant-7")
    assert _alias(store) == first


def test_a_package_that_is_there_is_not_sent_again(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """A release with the same function has the same package, under another alias too."""
    store = store_of("rgw")
    isolated.admit(connected.bundle("1.0", FILES))
    isolated.admit(connected.bundle("1.1", FILES))
    assert isolated.deploy("1.0", _kind(store, alias="test")).written > 0
    assert isolated.deploy("1.1", _kind(store, alias="test")).written == 0
    assert _alias(store, "test")["version"] == "1.1"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"unpacked_max": 1000}, "may have unpacked"),
        ({"zipped_max": 1000}, "the zip of artifact web"),
        ({"artifact": "other"}, "no artifact other"),
    ],
)
def test_what_no_platform_takes_is_refused_before_anything(
    connected: Connected, isolated: Isolated, store_of: StoreOf, more: dict[str, object], message: str
) -> None:
    """Too large a function, or none: nothing is sent, and no alias is set."""
    store = store_of("rgw")
    isolated.admit(connected.bundle("1.0", FILES))
    with pytest.raises(UsageError, match=message):
        isolated.deploy("1.0", _kind(store, **more))
    assert store.held() == []


def test_it_must_be_said_which_of_several_is_the_function(
    connected: Connected, isolated: Isolated, store_of: StoreOf
) -> None:
    """A release with two artifacts names the one, and then that alone is in the package."""
    store = store_of("rgw")
    spec = connected.spec("1.0", FILES, more="  docs:\n    source: path\n    path: docs\n")
    (connected.root / "docs").mkdir()
    (connected.root / "docs/page.txt").write_text("page")
    isolated.admit(connected.export(spec))
    with pytest.raises(UsageError, match="several artifacts"):
        isolated.deploy("1.0", _kind(store))
    isolated.deploy("1.0", _kind(store, artifact="docs"))
    with zipfile.ZipFile(io.BytesIO(store.content(f"resize/{_alias(store)['object']}"))) as made:
        assert made.namelist() == ["page.txt"]


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_the_old_or_the_new(
    connected: Connected, isolated: Isolated, store_of: StoreOf
) -> None:
    """79, 95: killed while it sends the package or sets the alias, the next command finds one version whole."""
    store = store_of("rgw")
    isolated.admit(connected.bundle("1.0", FILES))
    isolated.admit(connected.bundle("1.1", FILES | {"main.py": b""}))
    with relaying(store.endpoint) as relay:
        behind = _kind(replace(store, endpoint=f"http://{relay.host}"))
        isolated.deploy("1.0", behind)
        old = _alias(store)

        def check() -> None:
            isolated.deploy("1.0", behind)
            assert _alias(store) == old
            assert isolated.deploy("1.0", behind).changed is False
            for key in store.held():
                if key.startswith("resize/versions/") and key != f"resize/{old['object']}":
                    store.remove(key)

        assert killed_at_each_write(relay, isolated, "1.1", behind, "after", check) >= 2
