"""The source `git`, against git's own server and repositories of this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from calls import Call
from gitserver import GitServer, Repository, git, git_server, repository
from registries import PASSWORD, need
from worlds import Connected

from bundler.git import signing
from bundler.git.address import parse
from bundler.source import Found, Workshop, problems_of, traces_of
from bundler.sources import git as source
from sealift.errors import SealiftError, SourceError, TrustError, UsageError
from sealift.progress import Silent

UNSAFE = "--unsafe-no-passphrase"
TREE: Mapping[str, Any] = {"a": b"first\r\n", "deploy": {"b": b"second", "empty": b""}}


@pytest.fixture
def home(quiet_home: Path, https_git: GitServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose git knows the server's password, and an environment that knows its authority."""
    monkeypatch.setenv("SEALIFT_CA_FILE", str(https_git.authority))
    (quiet_home / ".gitconfig").write_text(f'[credential]\n\thelper = "store --file={https_git.stored(quiet_home)}"\n')
    return quiet_home


@pytest.fixture
def workshop(home: Path, tmp_path: Path) -> Workshop:
    """An empty cache."""
    return Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())


@pytest.fixture
def remote(https_git: GitServer, request: pytest.FixtureRequest) -> Repository:
    """A repository of this test alone, on the server."""
    return https_git.repository(f"{request.node.name.replace('[', '-').strip(']')}.git")


def address(server: GitServer, repository: Repository) -> str:
    """What a spec says of a repository on the server."""
    return f"{server.url}/{repository.folder.name}"


def collect(want: Mapping[str, Any], workshop: Workshop) -> dict[str, Found]:
    """What is found, locked just now, by path."""
    return {found.path: found for found in source.collect({**want, **source.pin(want, workshop)}, workshop)}


def content(found: Found) -> bytes:
    """What a file that was found holds."""
    return Path(found.origin).read_bytes()


def test_it_takes_the_files_of_a_commit(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """Contents, modes and links are those of the commit, whatever line endings or attributes say."""
    link = ("120000", remote.blob(b"../a"))
    run = ("100755", remote.blob(b"#!/bin/sh\n"))
    attributes = {".gitattributes": b"* text=auto eol=crlf export-ignore ident filter=x\n"}
    remote.commit({**TREE, **attributes, "deploy": {**TREE["deploy"], "link": link, "run": run}})
    found = collect({"repository": address(https_git, remote), "ref": "main"}, workshop)
    assert list(found) == [
        ".gitattributes",
        "a",
        "deploy",
        *(f"deploy/{each}" for each in ("b", "empty", "link", "run")),
    ]
    assert content(found["a"]) == b"first\r\n"
    assert content(found["deploy/empty"]) == b""
    assert found["deploy/link"].target == "../a"
    assert [path for path, each in found.items() if each.executable] == ["deploy/run"]


def test_it_takes_one_folder(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """Paths start in the folder, and what lies beside it may be anything."""
    remote.commit({**TREE, "bad": ("120000", remote.blob(b"/etc/passwd"))})
    want = {"repository": address(https_git, remote), "ref": "main", "folder": "deploy"}
    assert list(collect(want, workshop)) == ["b", "empty"]
    with pytest.raises(SourceError, match="folder deploy/none is not there"):
        collect({**want, "folder": "deploy/none"}, workshop)


def test_a_lock_holds_against_a_branch_that_moves(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """What was locked is fetched by its id, also where nothing names it any more."""
    first = remote.commit(TREE)
    want = {"repository": address(https_git, remote), "ref": "main"}
    pins = source.pin(want, workshop)
    remote.commit({"a": b"other"}, parent=first)
    assert pins == {"commit": first}
    assert content(next(iter(source.collect({**want, **pins}, workshop)))) == b"first\r\n"
    remote.commit({"a": b"forced"})
    other = Workshop(base=workshop.base, cache=workshop.base / "other", progress=Silent())
    assert content(next(iter(source.collect({**want, **pins}, other)))) == b"first\r\n"


def test_nothing_is_collected_without_a_commit(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """A branch alone says nothing that stays."""
    remote.commit(TREE)
    with pytest.raises(SourceError, match="has no commit"):
        list(source.collect({"repository": address(https_git, remote), "ref": "main"}, workshop))


def test_it_resolves_names(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """Branches, tags of both kinds, whole names, HEAD and ids are known, and two of one name are refused."""
    commit = remote.commit(TREE)
    remote.git("tag", "light")
    remote.git("tag", "--annotate", "--message=x", "heavy", "main")
    remote.git("update-ref", "refs/heads/both", commit)
    remote.git("tag", "both")
    where = address(https_git, remote)
    tag = remote.git("rev-parse", "heavy")
    for ref, pins in {
        "light": {"commit": commit},
        "heavy": {"commit": commit, "tag": tag},
        "refs/tags/heavy": {"commit": commit, "tag": tag},
        "refs/heads/main": {"commit": commit},
        "HEAD": {"commit": commit},
        commit: {"commit": commit},
    }.items():
        assert source.pin({"repository": where, "ref": ref}, workshop) == pins
    with pytest.raises(SourceError, match="a branch and a tag"):
        source.pin({"repository": where, "ref": "both"}, workshop)
    with pytest.raises(SourceError, match="neither a branch nor a tag"):
        source.pin({"repository": where, "ref": "ain"}, workshop)


def test_nothing_is_fetched_twice(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """A commit that was fetched is in the cache, also for who only reads it."""
    remote.commit(TREE)
    want = {"repository": address(https_git, remote), "ref": "main"}
    want |= source.pin(want, workshop)
    first = list(source.collect(want, workshop))
    before = len(https_git.requests)
    assert list(source.collect(want, workshop)) == first
    spared = Workshop(base=workshop.base, cache=workshop.base / "new", spare=workshop.cache, progress=Silent())
    assert list(source.collect(want, spared)) == first
    assert len(https_git.requests) == before


def test_no_history_is_fetched(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """The commit's parents, and what they held, stay where they are."""
    first = remote.commit({"secret": b"taken back"})
    remote.commit(TREE, parent=first)
    collect({"repository": address(https_git, remote), "ref": "main"}, workshop)
    listed = git(workshop.cache / "git-sha1", "cat-file", "--batch-all-objects", "--batch-check")
    assert first not in listed
    assert remote.git("hash-object", "--stdin", content=b"taken back") not in listed
    assert len(listed.splitlines()) == 6


def test_a_cache_that_rotted_is_mended(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """An object that is not what it was is fetched anew, and so is a file."""
    remote.commit(TREE)
    want = {"repository": address(https_git, remote), "ref": "main"}
    found = collect(want, workshop)
    for pack in (workshop.cache / "git-sha1/objects/pack").iterdir():
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:40])
    Path(found["a"].origin).write_bytes(b"other")
    assert content(collect(want, workshop)["a"]) == b"first\r\n"


def test_what_a_kill_left_is_cleared(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """Locks of git that nobody holds do not stop the next fetch."""
    remote.commit(TREE)
    want = {"repository": address(https_git, remote), "ref": "main"}
    pins = source.pin(want, workshop)
    (workshop.cache / "git-sha1/shallow.lock").touch()
    (workshop.cache / "git-sha1/objects/pack/tmp_pack_x").touch()
    assert list(source.collect({**want, **pins}, workshop))
    assert not list((workshop.cache / "git-sha1").rglob("*tmp*"))


def test_a_server_that_wants_credentials_is_told_apart(
    https_git: GitServer, remote: Repository, workshop: Workshop, home: Path
) -> None:
    """Without a helper that knows it nobody is asked for a password; the hint says what to set up."""
    (home / ".gitconfig").unlink()
    with pytest.raises(SourceError) as raised:
        source.pin({"repository": address(https_git, remote), "ref": "main"}, workshop)
    assert "credential helper" in (raised.value.hint or "")


def test_a_netrc_is_used(https_git: GitServer, remote: Repository, workshop: Workshop, home: Path) -> None:
    """Credentials where curl looks for them are git's own convention too."""
    commit = remote.commit(TREE)
    (home / ".gitconfig").unlink()
    (home / ".netrc").write_text(f"machine 127.0.0.1 login robot password {PASSWORD}\n")
    (home / ".netrc").chmod(0o600)
    assert source.pin({"repository": address(https_git, remote), "ref": "main"}, workshop) == {"commit": commit}


def test_no_message_holds_a_password(https_git: GitServer, remote: Repository, workshop: Workshop, home: Path) -> None:
    """Also where git's own configuration puts one into the address."""
    with (home / ".gitconfig").open("a") as file:
        file.write(f'[url "https://robot:hunter2@127.0.0.1:1/"]\n\tinsteadOf = {https_git.url}/\n')
    with pytest.raises(SourceError) as raised:
        source.pin({"repository": address(https_git, remote), "ref": "main"}, workshop)
    assert "hunter2" not in raised.value.message + str(raised.value.hint)


def test_tls_is_always_verified(
    https_git: GitServer, remote: Repository, workshop: Workshop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither git's configuration nor its variables switch it off."""
    remote.commit(TREE)
    monkeypatch.delenv("SEALIFT_CA_FILE")
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    with (home / ".gitconfig").open("a") as file:
        file.write("[http]\n\tsslVerify = false\n")
    with pytest.raises(SourceError, match="certificate"):
        source.pin({"repository": address(https_git, remote), "ref": "main"}, workshop)


def test_the_operators_hooks_and_templates_do_not_run(
    https_git: GitServer, remote: Repository, workshop: Workshop, home: Path
) -> None:
    """What the configuration says besides how servers are reached has no effect."""
    remote.commit(TREE)
    hooks = home / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("reference-transaction", "post-checkout", "fsmonitor"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {home}/ran\n")
        (hooks / name).chmod(0o755)
    with (home / ".gitconfig").open("a") as file:
        file.write(f"[core]\n\thooksPath = {hooks}\n\tfsmonitor = {hooks}/fsmonitor\n\tautocrlf = true\n")
        file.write(f"[init]\n\ttemplateDir = {home}/template\n[fetch]\n\tprune = x\n")
    assert content(collect({"repository": address(https_git, remote), "ref": "main"}, workshop)["a"]) == b"first\r\n"
    assert not (home / "ran").exists()
    assert not (workshop.cache / "git-sha1/hooks").exists()


def test_a_repository_of_this_machine_is_taken(tmp_path: Path, workshop: Workshop) -> None:
    """A relative path starts from the spec's folder, and a work tree is as good as a bare repository."""
    commit = repository(tmp_path / "bare.git").commit(TREE)
    git(tmp_path, "clone", "--quiet", "bare.git", "work")
    (tmp_path / "work/a").write_bytes(b"not committed")
    for place in ("bare.git", "work", str(tmp_path / "work")):
        found = collect({"repository": place, "ref": "main"}, workshop)
        assert content(found["a"]) == b"first\r\n"
        assert source.pin({"repository": place, "ref": "main"}, workshop) == {"commit": commit}


def test_a_repository_named_by_sha256_is_taken(tmp_path: Path, workshop: Workshop) -> None:
    """Both of git's ways of naming objects are read."""
    repository(tmp_path / "new.git", form="sha256").commit(TREE)
    want = {"repository": "new.git", "ref": "main"}
    assert len(str(source.pin(want, workshop)["commit"])) == 64
    assert content(collect(want, workshop)["deploy/b"]) == b"second"


def test_ssh_is_asked_as_git_asks_it(
    tmp_path: Path, workshop: Workshop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own way to start ssh is used; here one that runs the command on this machine."""
    repository(tmp_path / "shop.git").commit(TREE)
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    assert collect({"repository": f"ssh://git@git.example.com:2222{tmp_path}/shop.git", "ref": "main"}, workshop)
    assert "-p 2222 git@git.example.com git-upload-pack" in (tmp_path / "asked").read_text()
    monkeypatch.delenv("GIT_SSH_COMMAND")
    with (home / ".gitconfig").open("a") as file:
        file.write(f"[core]\n\tsshCommand = {program}\n")
    assert source.pin({"repository": f"git.example.com:{tmp_path}/shop.git", "ref": "main"}, workshop)


def test_http_needs_to_be_asked_for(tmp_path: Path, workshop: Workshop) -> None:
    """A server without TLS is asked only where the spec says so."""
    with git_server(tmp_path / "plain", tls=False, password=False) as server:
        server.repository("shop.git").commit(TREE)
        want = {"repository": f"{server.url}/shop.git", "ref": "main"}
        with pytest.raises(UsageError, match="has no TLS"):
            source.pin(want, workshop)
        assert collect({**want, "unsafe_http": True}, workshop)


@pytest.fixture
def nested(https_git: GitServer, remote: Repository) -> Repository:
    """A repository with a submodule that has one itself."""
    stem = remote.folder.name.removesuffix(".git")
    inner = https_git.repository(f"{stem}-inner.git").commit({"x": b"inner"})
    middle = https_git.repository(f"{stem}-middle.git").commit(
        {"in": ("160000", inner), ".gitmodules": f'[submodule "i"]\npath = in\nurl = ../{stem}-inner.git\n'.encode()}
    )
    modules = f'[submodule "m"]\npath = libs/mid\nurl = {https_git.url}/{stem}-middle.git\n'
    remote.commit({"a": b"1", "libs": {"mid": ("160000", middle)}, ".gitmodules": modules.encode()})
    return remote


def test_submodules_are_never_taken_or_left_by_oversight(
    https_git: GitServer, nested: Repository, workshop: Workshop
) -> None:
    """Who says nothing is asked to; true takes them in, at their commits, and false leaves them out."""
    want = {"repository": address(https_git, nested), "ref": "main"}
    with pytest.raises(SourceError, match="'libs/mid' is a submodule"):
        collect(want, workshop)
    assert list(collect({**want, "submodules": False}, workshop)) == [".gitmodules", "a", "libs"]
    found = collect({**want, "submodules": True}, workshop)
    assert content(found["libs/mid/in/x"]) == b"inner"
    assert list(collect({**want, "submodules": True, "folder": "libs"}, workshop))[:2] == ["mid", "mid/.gitmodules"]


def test_lfs_is_never_taken_by_oversight(https_git: GitServer, remote: Repository, workshop: Workshop) -> None:
    """A pointer is not the file that it stands for."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    remote.commit({"big": pointer})
    want = {"repository": address(https_git, remote), "ref": "main"}
    with pytest.raises(SourceError, match="'big' is a pointer of git LFS"):
        collect(want, workshop)
    assert content(collect({**want, "lfs": "pointers"}, workshop)["big"]) == pointer


@pytest.fixture
def ssh_key(tmp_path: Path) -> Path:
    """An SSH key, which `allowed` beside it names."""
    key = tmp_path / "key"
    subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed").write_text(f"dev@example.org {key.with_suffix('.pub').read_text()}")
    return key


def signed(repository: Repository, *settings: str, variables: Mapping[str, str] | None = None, tag: str = "") -> str:
    """A signed commit of `TREE` on `main`, or a signed tag of what `main` is."""
    options = [part for setting in settings for part in ("-c", setting)]
    if tag:
        repository.git(*options, "tag", "--sign", "--message=x", tag, "main", variables=variables)
        return repository.git("rev-parse", tag)
    command = [*options, "commit-tree", "-S", "-m", "signed", repository.tree(TREE)]
    commit = repository.git(*command, variables=variables)
    repository.git("update-ref", "refs/heads/main", commit)
    return commit


def test_a_commit_signed_by_ssh_is_checked(
    https_git: GitServer, remote: Repository, workshop: Workshop, ssh_key: Path, tmp_path: Path
) -> None:
    """Only the keys that the spec names count."""
    signed(remote, "gpg.format=ssh", f"user.signingkey={ssh_key}")
    want = {"repository": address(https_git, remote), "ref": "main", "verify": {"allowed_signers": "allowed"}}
    assert collect(want, workshop)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    (tmp_path / "allowed").write_text(f"dev@example.org {other.with_suffix('.pub').read_text()}")
    with pytest.raises(TrustError, match="not signed by anybody whom allowed_signers names"):
        collect(want, workshop)


def test_a_tag_signed_by_ssh_is_checked(
    https_git: GitServer, remote: Repository, workshop: Workshop, ssh_key: Path
) -> None:
    """The tag counts where `ref` is one, whoever made the commit."""
    remote.commit(TREE)
    signed(remote, "gpg.format=ssh", f"user.signingkey={ssh_key}", tag="v1")
    want = {"repository": address(https_git, remote), "ref": "v1", "verify": {"allowed_signers": "allowed"}}
    assert collect(want, workshop)
    (trace,) = traces_of(source, {**want, **source.pin(want, workshop)})
    assert (trace.signature, trace.digest) == ("signature of the tag", {"gitCommit": remote.git("rev-parse", "main")})
    assert trace.signers[0].startswith("dev@example.org SHA256:")
    with pytest.raises(TrustError, match="is not signed"):
        collect({**want, "ref": "main"}, workshop)
    remote.git("tag", "--annotate", "--message=x", "v2", "main")
    with pytest.raises(TrustError, match="tag v2 is not signed"):
        collect({**want, "ref": "v2"}, workshop)


def test_a_signed_tag_does_not_pass_for_another(
    https_git: GitServer, remote: Repository, workshop: Workshop, ssh_key: Path
) -> None:
    """A server that puts an older, validly signed tag under a newer name is refused."""
    remote.commit(TREE)
    old = signed(remote, "gpg.format=ssh", f"user.signingkey={ssh_key}", tag="v1")
    remote.git("update-ref", "refs/tags/v2", old)
    want = {"repository": address(https_git, remote), "ref": "v2", "verify": {"allowed_signers": "allowed"}}
    with pytest.raises(TrustError, match="another name"):
        collect(want, workshop)


def test_a_signature_for_another_content_is_refused(
    https_git: GitServer, remote: Repository, workshop: Workshop, ssh_key: Path
) -> None:
    """A signature that is moved to another commit is none."""
    good = signed(remote, "gpg.format=ssh", f"user.signingkey={ssh_key}")
    raw = remote.git("cat-file", "commit", good)
    forged = raw.replace(remote.git("rev-parse", f"{good}^{{tree}}"), remote.tree({"a": b"evil"})) + "\n"
    commit = remote.git("hash-object", "-t", "commit", "-w", "--stdin", content=forged.encode())
    remote.git("update-ref", "refs/heads/main", commit)
    want = {"repository": address(https_git, remote), "ref": "main", "verify": {"allowed_signers": "allowed"}}
    with pytest.raises(TrustError):
        collect(want, workshop)


def test_a_commit_signed_by_openpgp_is_checked(
    https_git: GitServer, remote: Repository, workshop: Workshop, gnupg: Path
) -> None:
    """A keyring may be armoured or not, and another's does not count."""
    variables = {"GNUPGHOME": str(gnupg)}
    signed(remote, "user.signingkey=good@example.org", variables=variables)
    want = {"repository": address(https_git, remote), "ref": "main"}
    for keyring in ("good.pgp", "good.asc"):
        assert collect({**want, "verify": {"keyring": str(gnupg / keyring)}}, workshop)
    with pytest.raises(TrustError, match="not in the keyring"):
        collect({**want, "verify": {"keyring": str(gnupg / "old.pgp")}}, workshop)
    with pytest.raises(TrustError, match="signed by an OpenPGP key"):
        collect({**want, "verify": {"allowed_signers": "allowed"}}, workshop)
    signed(remote, "user.signingkey=good@example.org", variables=variables, tag="v1")
    assert collect({**want, "ref": "v1", "verify": {"keyring": str(gnupg / "good.asc")}}, workshop)


def test_a_key_that_expired_is_refused(
    https_git: GitServer, remote: Repository, workshop: Workshop, gnupg: Path, tmp_path: Path
) -> None:
    """`gpgv` would let it pass."""
    gpg = tmp_path / "gpg"
    gpg.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200101T010000 "$@"\n')
    gpg.chmod(0o755)
    settings = ("user.signingkey=old@example.org", f"gpg.program={gpg}")
    signed(remote, *settings, variables={"GNUPGHOME": str(gnupg)})
    want = {"repository": address(https_git, remote), "ref": "main", "verify": {"keyring": str(gnupg / "old.asc")}}
    with pytest.raises(TrustError, match="has expired"):
        collect(want, workshop)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:pass@example.com/a.git",
        "https://token@example.com/a.git",
        "ssh://git:pass@example.com/a.git",
        "ssh://-oProxyCommand=x/a.git",
        "-oProxyCommand=x:a",
        "ext::sh -c true",
        "file:///srv/a.git",
        "git://example.com/a.git",
        "https://example.com/",
        "https://example.com/a.git?x=1",
        "ftp://example.com/a.git",
        "host:-x",
        "",
        "a\nb",
    ],
)
def test_an_address_that_is_not_asked_is_refused(text: str) -> None:
    """Nothing that runs a program, bears a password, or is not authenticated."""
    with pytest.raises(UsageError) as raised:
        parse(text, Path("/base"))
    assert "pass@" not in raised.value.message


@pytest.mark.parametrize(
    ("of", "url", "found"),
    [
        ("https://example.com/team/a.git", "../b.git", "https://example.com/team/b.git"),
        ("https://example.com/team/a.git/", "../../x/b.git", "https://example.com/x/b.git"),
        ("https://example.com/team/a.git", "ssh://git@host/b", "ssh://git@host/b"),
        ("git@host:team/a.git", "../b.git", "git@host:team/b.git"),
        ("git@host:/srv/a.git", "../b.git", "git@host:/srv/b.git"),
        ("ssh://git@host:22/srv/a.git", "./b.git", "ssh://git@host:22/srv/a.git/b.git"),
        ("/srv/a.git", "../b.git", "/srv/b.git"),
    ],
)
def test_the_address_of_a_submodule_is_as_git_sees_it(of: str, url: str, found: str) -> None:
    """A relative one starts from the repository's own."""
    assert parse(of, Path("/base")).beside(url).url == found


@pytest.mark.parametrize(
    "url", ["../../../b", "/srv/private.git", "file:///srv/b", "ext::sh", "http://example.com/b", "../x/../../b", "-x"]
)
def test_a_submodule_leads_nowhere_else(url: str) -> None:
    """Not to this machine's folders, not out of the server, not to a server without TLS."""
    with pytest.raises(UsageError):
        parse("https://example.com/team/a.git", Path("/base")).beside(url)


@pytest.mark.parametrize("url", ["../../b", "../", "./../../../home/b"])
def test_a_submodule_stays_beside_its_repository(url: str) -> None:
    """54: what a repository in a folder says of its submodules reads no folder but those beside it."""
    with pytest.raises(UsageError, match="leads out of the folder of its repository"):
        parse("/srv/git/a.git", Path("/base")).beside(url)


def test_its_problems_are_found_before_work_starts(tmp_path: Path) -> None:
    """Each stands at its key."""
    want = {"repository": "nowhere", "ref": "a..b", "folder": "../x", "verify": {"keyring": "none.asc"}}
    assert [each.steps for each in problems_of(source, want, tmp_path, pinned=False)] == [
        ("repository",),
        ("ref",),
        ("folder",),
        ("verify", "keyring"),
    ]
    good = {"repository": "https://example.com/a.git", "ref": "main"}
    assert [each.missing for each in problems_of(source, good, tmp_path, pinned=True)] == [True]
    assert not problems_of(source, {**good, "ref": "0" * 40}, tmp_path, pinned=True)


def test_a_release_of_it_is_sealed(
    https_git: GitServer, remote: Repository, home: Path, connected: Connected, call: Call
) -> None:
    """By the commands: the lock holds the commit and no password, and a second export is the same."""
    commit = remote.commit(TREE)
    remote.git("tag", "--annotate", "--message=x", "v1", "main")
    spec = connected.root / "sealift.yaml"
    spec.write_text(
        "release: shop\nversion: 1.0.0\nartifacts:\n  manifests:\n    source: git\n"
        f"    repository: {address(https_git, remote)}\n    ref: v1\n    folder: deploy\n"
    )
    assert call("lock", str(spec), "--depot", str(connected.depot.folder)) == 0, call.err
    lock = json.loads(spec.with_suffix(".lock").read_text())["artifacts"]["manifests"]
    assert (lock["commit"], lock["ref"]) == (commit, "v1")
    assert f":{PASSWORD}" not in spec.with_suffix(".lock").read_text()
    before = len(https_git.requests)
    bundle = connected.root / "b.sealift"
    assert call("export", str(spec), "--depot", str(connected.depot.folder), "--out", str(bundle), UNSAFE) == 0, (
        call.err
    )
    assert len(https_git.requests) == before


def test_a_password_stays_out_of_the_cache(
    https_git: GitServer, remote: Repository, workshop: Workshop, home: Path
) -> None:
    """Nothing of what reached the server is written down."""
    remote.commit(TREE)
    with (home / ".gitconfig").open("a") as file:
        file.write("[http]\n\textraHeader = X-Token: hunter2\n")
    collect({"repository": address(https_git, remote), "ref": "main"}, workshop)
    for path in workshop.cache.rglob("*"):
        assert not path.is_file() or not any(word in path.read_bytes() for word in (b"hunter2", b":pass@"))


def test_an_error_is_one_good_sentence(workshop: Workshop, tmp_path: Path) -> None:
    """Git's own words are repeated in our form."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SealiftError) as raised:
        source.pin({"repository": "empty", "ref": "main"}, workshop)
    assert not raised.value.message.endswith(".")
    assert raised.value.hint
    assert os.sep in raised.value.message


def test_a_check_that_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh-keygen that says nothing is not waited for without end."""
    program = tmp_path / "programs/ssh-keygen"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(signing, "_SECONDS_MAX", 0.2)
    (tmp_path / "allowed").touch()
    content = b"tagged\n-----BEGIN SSH SIGNATURE-----\n"
    with pytest.raises(SourceError, match="ssh-keygen said nothing"):
        signing.signers(content, "tag v1", {"allowed_signers": "allowed"}, tmp_path, tmp_path)
