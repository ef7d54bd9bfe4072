"""Source `pypi`: which files are taken, from where, with which credentials, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from routes import Answer, Routes, serving
from wheelhouse import JSON, Index, sdist, sha256, wheel
from worlds import NOW, Connected

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.source import Workshop, problems_of
from bundler.sources import pypi as source
from bundler.spec import load
from bundler.wheels.settings import default_index
from sealift.errors import IntegrityError, MalformedError, SealiftError, SourceError, UsageError
from sealift.patience import Patience
from sealift.progress import Silent

LINUX, WINDOWS = "manylinux_2_28_x86_64", "win_amd64"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Routes]:
    """A server for indexes; nothing of this machine's own configuration of pip counts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving() as made:
        yield made


@pytest.fixture
def index(server: Routes) -> Index:
    """An empty index."""
    return Index(server)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """Where a source works."""
    base = tmp_path / "base"
    base.mkdir()
    return Workshop(base=base, cache=tmp_path / "cache", progress=Silent())


def wants(shop: Workshop, text: str, index: Index | None = None, **more: Any) -> dict[str, Any]:
    """The source's part of a spec, with a lock file of this text; `pylock.toml` where it looks like one."""
    name = "pylock.toml" if "lock-version" in text else "requirements.txt"
    (shop.base / name).write_text(text)
    asked: dict[str, Any] = {"lockfile": name, "python": ["3.11"], "platforms": [LINUX], **more}
    return {**asked, "index": [index.url]} if index else asked


def taken(want: Mapping[str, Any], shop: Workshop) -> list[str]:
    """The files that are collected with what is pinned."""
    return [found.path for found in source.collect({**want, **source.pin(want, shop)}, shop)]


def test_it_takes_the_best_wheel_for_each_environment(index: Index, shop: Workshop) -> None:
    """Every tag that an installer there accepts counts, the best first; one file may serve several."""
    index.add(
        "fast",
        wheel("fast", tag="cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        wheel("fast", tag="cp311-cp311-manylinux_2_34_x86_64"),
        wheel("fast", tag="cp311-cp311-musllinux_1_2_x86_64"),
        wheel("fast", tag="cp38-abi3-win_amd64"),
        wheel("fast", tag="py3-none-any"),
    )
    want = wants(shop, index.requirements("fast"), index, python=["3.11", "3.12"], platforms=[LINUX, WINDOWS])
    assert taken(want, shop) == [
        "fast-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "fast-1.0-cp38-abi3-win_amd64.whl",
        "fast-1.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("platform", "python", "tag"),
    [
        ("manylinux_2_17_aarch64", "3.12", "cp312-cp312-manylinux2014_aarch64"),
        ("manylinux_2_12_x86_64", "3.9", "cp39-cp39-manylinux1_x86_64"),
        ("musllinux_1_2_x86_64", "3.11", "cp311-cp311-musllinux_1_1_x86_64"),
        ("macosx_11_0_arm64", "3.11", "cp311-cp311-macosx_10_9_universal2"),
        ("win32", "3.13", "cp313-cp313-win32"),
        (LINUX, "3.13t", "cp313-cp313t-manylinux_2_28_x86_64"),
        (LINUX, "3.11", "cp36-abi3-linux_x86_64"),
    ],
)
def test_it_knows_the_tags_of_platforms(index: Index, shop: Workshop, platform: str, python: str, tag: str) -> None:
    """A wheel that fits is found by any of its tags."""
    index.add("fast", wheel("fast", tag=tag))
    want = wants(shop, index.requirements("fast"), index, python=[python], platforms=[platform])
    assert taken(want, shop) == [f"fast-1.0-{tag}.whl"]


@pytest.mark.parametrize("form", ["requirements", "pylock"])
def test_a_wheel_for_another_platform_is_not_taken(index: Index, shop: Workshop, form: str) -> None:
    """Nothing that fits is an error that names the package and the environment."""
    index.add("fast", wheel("fast", tag="cp311-cp311-win_amd64"), sdist("fast"))
    text = index.requirements("fast") if form == "requirements" else index.pylock("fast")
    with pytest.raises(SourceError, match=rf"fast 1\.0 has no wheel for Python 3\.11 on {LINUX}"):
        source.pin(wants(shop, text, index), shop)
    assert taken(wants(shop, text, index, sdists=True), shop) == ["fast-1.0.tar.gz"]


def test_markers_choose_packages_for_each_environment(index: Index, shop: Workshop) -> None:
    """What a marker leaves out everywhere is not taken, whatever this machine is."""
    for project in ("everywhere", "windows-only", "old"):
        index.add(project, wheel(project))
    markers = {"windows-only": ' ; sys_platform == "win32"', "old": ' ; python_version < "3.9"'}
    text = index.requirements("everywhere", "windows-only", "old", more=markers)
    assert taken(wants(shop, text, index), shop) == ["everywhere-1.0-py3-none-any.whl"]
    assert len(taken(wants(shop, text, index, platforms=[LINUX, WINDOWS]), shop)) == 2


def test_a_pylock_is_read_with_extras_and_groups(index: Index, shop: Workshop) -> None:
    """Packages of an extra or a group come along where the spec asks for it, and no index is asked."""
    for project in ("plain", "more", "dev"):
        index.add(project, wheel(project))
    text = index.pylock("plain", "more", "dev", more='extras = ["all"]\ndependency-groups = ["dev"]\n')
    text = text.replace('name = "more"', 'name = "more"\nmarker = "\'all\' in extras"')
    text = text.replace('name = "dev"', 'name = "dev"\nmarker = "\'dev\' in dependency_groups"')
    assert taken(wants(shop, text), shop) == ["plain-1.0-py3-none-any.whl"]
    assert len(taken(wants(shop, text, extras=["all"], groups=["dev"]), shop)) == 3
    assert not any(path.startswith("/simple") for path in index.server.paths)


def test_html_pages_are_read_too(index: Index, shop: Workshop) -> None:
    """PEP 503: relative links, a base, digests in fragments, and other attributes."""
    name, body = wheel("plain")
    index.server.answers[f"/files/{name}"] = Answer(body=body)
    index.files["plain"] = {name: body}
    page = f'<html><head><base href="/files/"></head><A data-yanked HREF="{name}#sha256={sha256(body)}">x</A>'
    index.page("plain", page.encode(), "text/html")
    assert taken(wants(shop, index.requirements("plain"), index), shop) == [name]


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd#{digest}",
        "javascript:alert(1)#{digest}",
        "//user:s3cret@127.0.0.1/{name}#{digest}",
        "http://127.0.0.1/..%2f{name}#{digest}",
        "http://127.0.0.1/other-1.0-py3-none-any.whl#{digest}",
        "http://[::1/{name}#{digest}",
        "ftp://127.0.0.1/{name}#{digest}",
        "{name}#sha256=0",
        "{name}",
    ],
)
def test_hostile_links_are_passed_over(index: Index, shop: Workshop, link: str) -> None:
    """A link to elsewhere than http and https, with credentials, of another project or without a digest is none."""
    name, body = wheel("plain")
    index.files["plain"] = {name: body}
    index.html("plain", [link.format(name=name, digest=f"sha256={sha256(body)}")])
    with pytest.raises(SourceError, match=r"no index has a file of plain 1\.0 with a pinned digest"):
        source.pin(wants(shop, index.requirements("plain"), index), shop)


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", JSON, MalformedError),
        (b'{"meta":{"api-version":"2.0"},"files":[]}', JSON, MalformedError),
        (b'{"meta":{"api-version":"1.0"},"files":[{"filename":"../x","url":"x","hashes":{}}]}', JSON, SourceError),
        (b"\xff<a href=", "text/html", SourceError),
    ],
)
def test_a_page_that_is_none_is_refused(
    index: Index, shop: Workshop, body: bytes, kind: str, error: type[SealiftError]
) -> None:
    """Another version of the API, broken JSON and names that climb give no file."""
    index.add("plain", wheel("plain"))
    text = index.requirements("plain")
    index.page("plain", body, kind)
    with pytest.raises(error):
        source.pin(wants(shop, text, index), shop)


def test_a_page_that_unpacks_into_too_much_is_refused(
    index: Index, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """67: what an index compresses counts as it comes out, and no more of it is held than a page may have."""
    monkeypatch.setattr("bundler.wheels.simple.PAGE_MAX", 1 << 20)
    index.add("plain", wheel("plain"))
    text = index.requirements("plain")
    bomb = Answer(body=gzip.compress(b" " * (8 << 20)), kind=JSON, headers={"Content-Encoding": "gzip"})
    index.server.answers["/simple/plain/"] = bomb
    with pytest.raises(SourceError, match="is longer than 1048576 bytes"):
        source.pin(wants(shop, text, index), shop)


def test_redirects_that_lead_in_circles_end(index: Index, shop: Workshop) -> None:
    """A page that redirects to itself is not followed for ever."""
    index.add("plain", wheel("plain"))
    text = index.requirements("plain")
    index.server.answers["/simple/plain/"] = Answer(status=302, headers={"Location": "/simple/plain/"})
    with pytest.raises(SourceError, match="redirects more than"):
        source.pin(wants(shop, text, index), shop)
    assert len(index.server.asked) < 10


def test_the_first_index_with_a_pinned_file_is_enough(index: Index, shop: Workshop, server: Routes) -> None:
    """An index that offers another file under the same name is passed over: its digest is not pinned."""
    other = Index(server)
    other.server = server
    index.add("plain", wheel("plain"))
    text = index.requirements("plain")
    server.answers["/evil/simple/plain/"] = Answer(
        body=b'{"meta":{"api-version":"1.0"},"files":[{"filename":"plain-1.0-py3-none-any.whl","url":"e.whl",'
        b'"hashes":{"sha256":"' + b"0" * 64 + b'"}}]}',
        kind=JSON,
    )
    want = {**wants(shop, text), "index": [f"{server.url}/absent", f"{server.url}/evil/simple", index.url]}
    assert taken(want, shop) == ["plain-1.0-py3-none-any.whl"]
    assert source.pin(want, shop)["files"][0].endswith(f"{server.url}/files/plain-1.0-py3-none-any.whl")


def test_another_content_than_the_locked_one_is_refused(index: Index, shop: Workshop) -> None:
    """An index that serves another digest under the same name: exit 5, and nothing is kept."""
    index.add("plain", wheel("plain"))
    want = wants(shop, index.requirements("plain"), index)
    index.server.answers["/files/plain-1.0-py3-none-any.whl"] = Answer(body=b"other")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        source.pin(want, shop)
    assert [path.name for path in shop.cache.iterdir()] == ["lock"]


def test_other_strong_digests_hold_too(index: Index, shop: Workshop) -> None:
    """A lock file with SHA-512 alone: the content must have it, and is pinned by its SHA-256."""
    name, body = wheel("plain")
    index.add("plain", (name, body))
    digest = hashlib.sha512(body).hexdigest()
    text = index.pylock("plain").replace(f'sha256 = "{sha256(body)}"', f'sha512 = "{digest}"')
    assert source.pin(wants(shop, text), shop)["files"][0].startswith(sha256(body))
    with pytest.raises(IntegrityError):
        source.pin(wants(shop, text.replace(digest, "0" * 128)), shop)


def test_it_resumes_what_broke_off(index: Index, shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncated answer is asked for again, and what is short in the end is refused."""
    monkeypatch.setattr("bundler.network.fetch.Patience", functools.partial(Patience, sleep=lambda _: None))
    index.add("plain", wheel("plain", content=b"x" * 5000))
    name = "plain-1.0-py3-none-any.whl"
    index.server.answers[f"/files/{name}"] = Answer(body=index.files["plain"][name], cut=100)
    want = wants(shop, index.requirements("plain"), index)
    with pytest.raises(SourceError, match="broke off"):
        source.pin(want, shop)


def test_a_second_export_fetches_nothing(index: Index, connected: Connected) -> None:
    """What the depot's cache holds is not asked for again, neither pages nor files."""
    index.add("plain", wheel("plain"))
    (connected.root / "requirements.txt").write_text(index.requirements("plain"))
    spec = connected.root / "shop.yaml"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n  py:\n    source: pypi\n    lockfile: requirements.txt\n"
        f"    python: ['3.11']\n    platforms: [{LINUX}]\n    index: ['{index.url}']\n"
    )
    resolve(
        load(spec, pinned=False), effort=Effort(level=1, threads=1), progress=Silent(), now=NOW, depot=connected.depot
    )
    index.server.asked.clear()
    connected.export(spec)
    connected.export(spec, connected.root / "again.sealift")
    assert index.server.asked == []
    (sealed,) = connected.made["again.sealift"].sealed
    assert sealed.release.artifacts[0].kind == "wheels"
    assert (
        connected.root.joinpath("again.sealift").read_bytes()
        == connected.root.joinpath("shop-1.0.sealift").read_bytes()
    )


def test_a_changed_lock_file_needs_a_new_lock(index: Index, shop: Workshop) -> None:
    """What was locked is what is collected; nobody notices a changed requirements file too late."""
    index.add("plain", wheel("plain"))
    want = wants(shop, index.requirements("plain"), index)
    pinned = {**want, **source.pin(want, shop)}
    (shop.base / "requirements.txt").write_text("# another\n" + index.requirements("plain"))
    with pytest.raises(SourceError, match="was changed since it was locked"):
        list(source.collect(pinned, shop))


def test_without_a_lock_nothing_is_collected(index: Index, shop: Workshop) -> None:
    """Which files are meant depends on the index: exit 3, and the hint says how to find out."""
    index.add("plain", wheel("plain"))
    with pytest.raises(SourceError) as raised:
        list(source.collect(wants(shop, index.requirements("plain"), index), shop))
    assert "sealift-bundle lock" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "plain==1.0\n",
        "plain>=1.0 --hash=sha256:{digest}\n",
        "plain==1.* --hash=sha256:{digest}\n",
        "plain --hash=sha256:{digest}\n",
        "plain==1.0 --hash=md5:{short}\n",
        "plain @ file:///tmp/plain-1.0-py3-none-any.whl --hash=sha256:{digest}\n",
        "./plain-1.0-py3-none-any.whl --hash=sha256:{digest}\n",
        "-e . --hash=sha256:{digest}\n",
        "-r other.txt\n",
        "--find-links /tmp\nplain==1.0 --hash=sha256:{digest}\n",
        "--index-url https://user:s3cret@example.org/simple\nplain==1.0 --hash=sha256:{digest}\n",
        "",
        "plain==1.0 --hash=sha256:{digest} --pre-release\n",
        "\ufffe\udce4",
    ],
)
def test_a_requirements_file_that_pins_nothing_is_refused(shop: Workshop, text: str) -> None:
    """No digests, no version, local files, other files, credentials: exit 2 before anybody is asked, and no secret."""
    content = text.format(digest="0" * 64, short="0" * 32).encode("utf-8", "surrogateescape")
    (shop.base / "requirements.txt").write_bytes(content)
    want = {"lockfile": "requirements.txt", "python": ["3.11"], "platforms": [LINUX]}
    with pytest.raises(UsageError) as raised:
        source.pin(want, shop)
    assert "s3cret" not in raised.value.message
    (problem,) = problems_of(source, want, shop.base, pinned=False)
    assert problem.steps == ("lockfile",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('url = "http', 'path = "./x.whl" #', "a file of this machine"),
        ('url = "http://127.0.0.1', 'url = "file:///tmp', "a file of this machine"),
        ('url = "http://', 'url = "http://user:s3cret@', "an address that is not followed"),
        ("[[packages.wheels]]", "[packages.archive]", "an archive"),
    ],
)
def test_a_pylock_that_leads_elsewhere_is_refused(
    index: Index, shop: Workshop, old: str, new: str, message: str
) -> None:
    """Local files, credentials and archives are not followed, and no secret is shown."""
    index.add("plain", wheel("plain"))
    text = index.pylock("plain").replace(old, new)
    if "archive" in new:
        text = text.replace('name = "plain-1.0-py3-none-any.whl"\n', "")
    with pytest.raises(SourceError, match=message) as raised:
        source.pin(wants(shop, text), shop)
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize(
    "text", ["lock-version = 3", "lock-version = '2.0'\ncreated-by='x'\npackages=[]", "lock-version"]
)
def test_a_pylock_that_is_none_is_refused(shop: Workshop, text: str) -> None:
    """Exit 2, before anybody is asked."""
    with pytest.raises(UsageError):
        source.pin(wants(shop, text), shop)


def test_a_lock_file_without_hashes_is_refused(index: Index, shop: Workshop) -> None:
    """PEP 751 wants digests, and weak ones do not count."""
    name, body = wheel("plain")
    index.add("plain", (name, body))
    text = index.pylock("plain")
    with pytest.raises(UsageError):
        source.pin(wants(shop, text.replace(f'hashes = {{sha256 = "{sha256(body)}"}}', "")), shop)
    with pytest.raises(SourceError, match="without a digest"):
        source.pin(wants(shop, text.replace("sha256 =", "md5 =")), shop)


def test_names_that_collide_are_refused(index: Index, shop: Workshop) -> None:
    """Two files that an installer takes for one, and one project in two versions for one environment."""
    index.add("Foo.Bar", ("Foo.Bar-1.0-py3-none-any.whl", wheel("foo-bar")[1]))
    index.add("foo-bar", ("foo_bar-1.0-py3-none-any.whl", wheel("foo-bar", content=b"other")[1]))
    text = index.pylock("Foo.Bar", "foo-bar")
    with pytest.raises(SourceError, match=r"multiple packages with the name 'foo-bar'"):
        source.pin(wants(shop, text), shop)
    first, second = text.split("[[packages]]\n")[1:]
    text = text.split("[[packages]]")[0]
    for package, platform in ((first, "linux"), (second, "win32")):
        marker = f'version = "1.0"\nmarker = "sys_platform == \'{platform}\'"'
        text += "[[packages]]\n" + package.replace('version = "1.0"', marker)
    with pytest.raises(SourceError, match="one name to an installer"):
        source.pin(wants(shop, text, platforms=[LINUX, WINDOWS]), shop)


def test_a_file_of_another_project_is_refused(index: Index, shop: Workshop) -> None:
    """A lock file cannot smuggle a wheel in under another project's name."""
    index.add("plain", wheel("plain"))
    with pytest.raises((SourceError, UsageError)):
        source.pin(wants(shop, index.pylock("plain").replace('name = "plain"', 'name = "trusted"')), shop)


@pytest.mark.parametrize("where", ["variable", "file", "extra", "netrc"])
def test_it_asks_as_pip_is_configured(
    index: Index, shop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """An index of a variable, of pip.conf or an extra one, with credentials in its address or in a netrc file."""
    said = "Basic " + base64.b64encode(b"user:s3cret").decode()
    index.add("plain", wheel("plain"), authorization=said)
    address = index.url.replace("http://", "http://user:s3cret@")
    if where == "variable":
        monkeypatch.setenv("PIP_INDEX_URL", address)
    elif where == "netrc":
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
    else:
        name = "index-url" if where == "file" else "extra-index-url"
        (tmp_path / "pip.conf").write_text(f"[global]\nno_color = 1\n[download]\n{name} =\n    {address}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        if where == "extra":
            monkeypatch.setenv("PIP_INDEX_URL", f"{index.server.url}/absent")
    pins = source.pin(wants(shop, index.requirements("plain")), shop)
    assert "s3cret" not in str(pins)
    assert {header for path, header in index.server.asked if path.startswith("/files")} == {said}


def test_credentials_stay_with_their_origin(index: Index, shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """103: a redirect to another host, or a file that lies there, is not told an index's credentials."""
    said = "Basic " + base64.b64encode(b"user:s3cret").decode()
    index.add("plain", wheel("plain"), authorization=said)
    name = "plain-1.0-py3-none-any.whl"
    with serving() as other:
        other.answers["/it"] = Answer(body=index.files["plain"][name])
        index.server.answers[f"/files/{name}"] = Answer(status=302, headers={"Location": f"{other.url}/it"})
        monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://user:s3cret@"))
        assert taken(wants(shop, index.requirements("plain")), shop) == [name]
        assert {header for _, header in other.asked} == {""}


def test_wrong_credentials_are_told_as_such(index: Index, shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3; the secret is not in the message."""
    index.add("plain", wheel("plain"), authorization="Basic other")
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://user:s3cret@"))
    with pytest.raises(SourceError, match="answers 401") as raised:
        source.pin(wants(shop, index.requirements("plain")), shop)
    assert "s3cret" not in raised.value.message + (raised.value.hint or "")


def test_credentials_in_a_spec_are_refused(shop: Workshop) -> None:
    """Exit 2, at the very entry of the list."""
    want = {**wants(shop, "x"), "index": ["https://user:s3cret@example.org/simple"]}
    with pytest.raises(UsageError) as raised:
        source.pin(want, shop)
    assert "s3cret" not in raised.value.message
    assert ("index", 0) in [problem.steps for problem in problems_of(source, want, shop.base, pinned=False)]


def test_connections_are_kept(index: Index, shop: Workshop) -> None:
    """Many files of one host take few connections."""
    projects = [f"p{number}" for number in range(40)]
    for project in projects:
        index.add(project, wheel(project))
    want = wants(shop, index.requirements(*projects), index)
    assert len(taken(want, shop)) == 40
    assert len(index.server.asked) == 80
    assert index.server.connections <= 24


def test_pip_installs_what_it_took(index: Index, connected: Connected, tmp_path: Path) -> None:
    """The artifact is a folder that `pip install --no-index --find-links --require-hashes` is content with."""
    for project in ("one-two", "three"):
        index.add(project, wheel(project))
    text = index.requirements("one-two", "three")
    shop = Workshop(base=connected.root, cache=tmp_path / "cache", progress=Silent())
    want = wants(shop, text, index)
    folder = tmp_path / "wheels"
    folder.mkdir()
    for found in source.collect({**want, **source.pin(want, shop)}, shop):
        (folder / found.path).write_bytes(Path(found.origin).read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(folder), "--require-hashes"]
    command += ["--target", str(tmp_path / "out"), "--only-binary", ":all:", "-r", str(shop.base / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "one_two.py").is_file()


def test_a_pip_in_the_folder_of_the_command_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that somebody else filled is no place to take pip from."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/__init__.py").touch()
    (tmp_path / "pip/__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SourceError):
        default_index()
    assert not (tmp_path / "ran").exists()


def test_a_lock_that_was_tampered_with_is_refused(index: Index, shop: Workshop) -> None:
    """52: a path that climbs, two files of one name and a line of another form are no pins."""
    index.add("plain", wheel("plain"))
    want = wants(shop, index.requirements("plain"), index)
    pins = source.pin(want, shop)
    line = pins["files"][0]
    digest, length, name, url = line.split(" ")
    for files in (
        [f"{digest} {length} ../{name} {url}"],
        [f"{digest} {length} {name} file:///etc/passwd"],
        [line, f"{digest} {length} {name.upper()} {url}"],
        [line + " more"],
        [""],
    ):
        with pytest.raises(UsageError) as raised:
            list(source.collect({**want, **pins, "files": files}, shop))
        assert "sealift-bundle lock" in (raised.value.hint or "")


def test_the_machines_own_index_is_asked_by_name(connected: Connected) -> None:
    """Real packages by their names, as this project's own lock pins them, from what pip is set up for here."""
    locked = (Path(__file__).parents[2] / "requirements.lock").read_text()
    wanted = [re.search(rf"^{name}==.*?(?=^\S)", locked, re.M | re.S) for name in ("iniconfig", "msgspec")]
    (connected.root / "requirements.txt").write_text("".join(found[0] for found in wanted if found))
    spec = connected.root / "shop.yaml"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n  py:\n    source: pypi\n    lockfile: requirements.txt\n"
        f"    python: ['3.11', '3.13']\n    platforms: [{LINUX}, {WINDOWS}]\n"
    )
    resolve(
        load(spec, pinned=False), effort=Effort(level=1, threads=1), progress=Silent(), now=NOW, depot=connected.depot
    )
    connected.export(spec)
    (sealed,) = connected.made["shop-1.0.sealift"].sealed
    assert sealed.release.artifacts[0].files == 1 + 4
