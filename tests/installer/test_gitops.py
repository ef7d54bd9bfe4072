"""The target `gitops` against git's own server over HTTPS, OpenSSH's, and repositories on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gitserver import GitServer, Repository, repository
from images import sample
from killer import Side, killed_at_program
from molds import Molded
from registries import PASSWORD, USER
from sshserver import SshServer, ssh_server
from worlds import Connected, Isolated

from installer.applying import Outcome
from installer.branch import repository as installer_repository
from installer.environments.environment import load
from installer.storage.deployable import Deployable
from sealift.errors import DeployError, SealiftError, UsageError

MANIFEST = "kind: Deployment\nmetadata:\n  name: shop\nspec:\n  version: {}\n"
THEIRS = {
    "README.md": b"# the site's own\n",
    "apps": {
        "kustomization.yaml": b'# by hand\nimages:\n  - name: web # the shop\n    newTag: "0.9"\n',
        "other": {"a.yaml": b"a: 1\n"},
    },
}
PIN = "pins: [{file: apps/kustomization.yaml, at: [images, 0, newTag], to: '{version}'}]"


def files(version: str) -> dict[str, bytes]:
    """What a release holds."""
    return {
        "deploy/app.yaml": MANIFEST.format(version).encode(),
        "deploy/same.yaml": b"kind: Service\n",
        f"deploy/only-{version}.yaml": b"kind: ConfigMap\n",
        "bin/check": b"#!/bin/sh\n",
        "docs/notes.txt": b"not for the cluster\n",
    }


@dataclass
class Place:
    """A repository of the site that people work in as well, and a site that holds two releases."""

    there: Repository
    site: Isolated
    url: str

    def deploy(self, version: str, more: str = "") -> Outcome:
        extra = f", {more}" if more else ""
        return self.site.deploy(
            version, f"{{kind: gitops, repository: '{self.url}', path: apps/shop, folder: deploy{extra}}}"
        )

    def rollback(self) -> None:
        self.site.installation.rollback("plant-7")

    def problem(self, *, deep: bool = False) -> str | None:
        return self.site.problem(deep=deep)

    def digest(self, version: str) -> str:
        """Of a release's manifest."""
        admitted = self.site.site.state.release("shop", version)
        assert admitted is not None
        return admitted.part.release.sha256

    def names(self) -> set[str]:
        return set(self.there.git("ls-tree", "-r", "--name-only", "main").splitlines())

    def show(self, path: str, commit: str = "main") -> str:
        return self.there.git("show", f"{commit}:{path}")

    def log(self) -> list[str]:
        return self.there.git("log", "--format=%s", "--first-parent", "main").splitlines()

    def edit(self, path: str, content: bytes | None) -> str:
        """Commit another content of a file, or its removal, as people do."""
        index = {"GIT_INDEX_FILE": str(self.there.folder / "index-of-people")}
        self.there.git("read-tree", "main", variables=index)
        spot = "0 " + "0" * 40 if content is None else f"100644 {self.there.blob(content)}"
        self.there.git("update-index", "--index-info", content=f"{spot}\t{path}\n".encode(), variables=index)
        tree = self.there.git("write-tree", variables=index)
        made = self.there.git("commit-tree", tree, "-p", "main", "-m", f"edit {path}")
        self.there.git("update-ref", "refs/heads/main", made)
        return made


@pytest.fixture
def place(
    connected: Connected,
    isolated: Isolated,
    molded: Molded,
    quiet_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """The repository lies on the disk."""
    for name in [each for each in os.environ if each.startswith("GIT_")]:
        monkeypatch.delenv(name)
    there = repository(tmp_path / "manifests.git")
    there.commit(THEIRS)
    molded("gitops", lambda: isolated.bring(connected, {version: files(version) for version in ("1.0", "1.1")}))
    return Place(there=there, site=isolated, url=str(there.folder))


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """One server for all tests."""
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def test_over_https_with_a_password(
    place: Place, https_git: GitServer, tmp_path: Path, quiet_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials and authorities are found where git finds them; each step is one commit that says what it is."""
    place.there = https_git.repository(f"{tmp_path.name}.git", writable=True)
    first = place.there.commit(THEIRS)
    place.url = f"{https_git.url}/{place.there.folder.name}"
    (quiet_home / ".gitconfig").write_text(
        f"[credential]\n\thelper = store --file={https_git.stored(tmp_path)}\n"
        f"[http]\n\tsslCAInfo = {https_git.authority}\n"
    )
    place.deploy("1.0")
    place.deploy("1.1")
    assert place.deploy("1.1").changed is False
    place.rollback()
    assert place.log() == [
        "Deploy shop 1.0 to plant-7",
        "Deploy shop 1.1 to plant-7",
        "Deploy shop 1.0 to plant-7",
        "made by a test",
    ]
    assert place.there.git("rev-list", "--max-parents=0", "main") == first
    own = {f"apps/shop/{name}" for name in ("app.yaml", "same.yaml", "only-1.0.yaml")}
    theirs = {"README.md", "apps/kustomization.yaml", "apps/other/a.yaml"}
    assert place.names() == own | theirs | {".sealift/plant-7/apps/shop.json"}
    assert place.show("apps/shop/app.yaml") == MANIFEST.format("1.0").rstrip()
    said = place.there.git("log", "-1", "--format=%an <%ae>%n%B", "main~1")
    entry = list(place.site.site.ledger.read())[-2].detail
    digests = {version: place.digest(version) for version in ("1.0", "1.1")}
    assert said == (
        "Sealift <sealift@localhost>\nDeploy shop 1.1 to plant-7\n\nSealift-Release: shop@1.1\n"
        f"Sealift-Manifest: sha256:{digests['1.1']}\nSealift-Environment: plant-7\n"
        f"Sealift-Operation: {entry['operation']}\nSealift-Former: 1.0-{digests['1.0'][:12]}"
    )


def test_a_wrong_password_is_an_error(
    place: Place, https_git: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked for another one, and nothing was done."""
    place.there = https_git.repository(f"{tmp_path.name}.git", writable=True)
    place.there.commit(THEIRS)
    place.url = f"{https_git.url}/{place.there.folder.name}"
    monkeypatch.setenv("GIT_SSL_CAINFO", str(https_git.authority))
    with pytest.raises(DeployError, match="could not read Username") as caught:
        place.deploy("1.0")
    assert "credential helper" in str(caught.value.hint)
    helper = tmp_path / "askpass"
    helper.write_text(f"#!/bin/sh\ncase $1 in User*) echo {USER};; *) echo not-{PASSWORD};; esac\n")
    helper.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(helper))
    with pytest.raises(DeployError, match="Authentication failed"):
        place.deploy("1.0")
    assert place.log() == ["made by a test"]


def test_over_ssh(place: Place, ssh: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a key, as ssh is set up; without one the server's refusal is the error."""
    place.url = f"{ssh.url}{place.there.folder}"
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.command_without_key)
    with pytest.raises(DeployError, match=r"Permission denied|Could not read from remote"):
        place.deploy("1.0")
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.command)
    place.deploy("1.0")
    assert place.log()[0] == "Deploy shop 1.0 to plant-7"
    assert place.problem(deep=True) is None


def test_a_race_is_run_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was faster keeps their commit, and ours comes on top of it; after some tries it is an error."""
    original = installer_repository.Repository.push
    racing = iter(range(100))

    def raced(self: installer_repository.Repository, commit: str, branch: str) -> str | None:
        if next(racing) < times:
            place.edit("README.md", f"faster {next(racing)}".encode())
        return original(self, commit, branch)

    monkeypatch.setattr(installer_repository.Repository, "push", raced)
    times = 3
    place.deploy("1.0")
    assert place.log() == ["Deploy shop 1.0 to plant-7", "edit README.md", "edit README.md", "made by a test"]
    assert place.show("README.md") == "faster 3"
    racing, times = iter(range(100)), 100
    with pytest.raises(DeployError, match="was changed by others 5 times"):
        place.deploy("1.1")
    assert "1.0" in place.show("apps/shop/app.yaml")


def test_a_push_that_arrived_though_it_failed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection broke after the server had it, there is one commit and no error."""
    original = installer_repository.Repository.push

    def broken(self: installer_repository.Repository, commit: str, branch: str) -> str | None:
        original(self, commit, branch)
        return "the connection broke"

    monkeypatch.setattr(installer_repository.Repository, "push", broken)
    place.deploy("1.0")
    assert place.log() == ["Deploy shop 1.0 to plant-7", "made by a test"]


def test_a_server_that_takes_no_push(place: Place) -> None:
    """Its words are the error, and the branch is as it was."""
    hook = place.there.folder / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho main is frozen until Monday\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(DeployError, match="main is frozen until Monday"):
        place.deploy("1.0")
    assert place.log() == ["made by a test"]


def test_a_branch_whose_name_ends_alike(place: Place) -> None:
    """A branch `refs/heads/main` is never taken for `main`, and a push that git finds ambiguous says so."""
    found = installer_repository.Repository(place.site.root / "git", place.url, {})
    with found.entered():
        former = found.fetch("main")
        assert former is not None
        head = place.edit("README.md", b"newer")
        for name in ("a/refs/heads/main", "refs/heads/main"):
            place.there.git("update-ref", f"refs/heads/{name}", former)
        assert found.fetch("main") == head
    with pytest.raises(DeployError, match="another branch whose name ends with refs/heads/main"):
        place.deploy("1.0")
    place.there.git("update-ref", "-d", "refs/heads/main")
    with found.entered(), pytest.raises(DeployError, match="has no branch main"):
        found.fetch("main")


def test_what_people_add_stays(place: Place) -> None:
    """A file of theirs in the same folder is no drift, and outlives our own."""
    place.deploy("1.0")
    place.edit("apps/shop/patch.yaml", b"theirs: true\n")
    assert place.problem(deep=True) is None
    place.deploy("1.1")
    assert place.show("apps/shop/patch.yaml") == "theirs: true"
    assert "apps/shop/only-1.0.yaml" not in place.names()


@pytest.mark.parametrize("content", [b"edited: true\n", None])
def test_what_people_edit_is_not_lost(place: Place, content: bytes | None) -> None:
    """An edit or a removal of a file of ours is drift, and stops the next deployment; or it is set back."""
    place.deploy("1.0")
    edit = place.edit("apps/shop/app.yaml", content)
    assert place.problem() == f"people have edited apps/shop/app.yaml in {place.url} (main: apps/shop)"
    with pytest.raises(DeployError, match=r"people have edited apps/shop/app\.yaml"):
        place.deploy("1.1")
    assert place.there.git("rev-parse", "main") == edit
    place.deploy("1.1", "edited: overwrite")
    assert place.problem(deep=True) is None
    assert place.there.git("rev-parse", "main~1") == edit


def test_pins_keep_every_other_byte(place: Place) -> None:
    """A value in people's file follows the release, comments and all stay; its first value comes back at the end."""
    before = place.show("apps/kustomization.yaml")
    place.deploy("1.0", PIN)
    assert place.show("apps/kustomization.yaml") == before.replace('"0.9"', '"1.0"')
    place.edit("apps/kustomization.yaml", before.replace('"0.9"', '"1.0"').replace("by hand", "by us").encode())
    assert place.problem() is None
    place.deploy("1.1", PIN)
    assert place.show("apps/kustomization.yaml") == before.replace('"0.9"', '"1.1"').replace("by hand", "by us")
    place.rollback()
    assert place.show("apps/kustomization.yaml") == before.replace('"0.9"', '"1.0"').replace("by hand", "by us")
    place.deploy("1.1")
    assert place.show("apps/kustomization.yaml") == before.replace("by hand", "by us")


def test_a_pin_that_people_changed(place: Place) -> None:
    """Their value stops the deployment, as any edit of what is ours."""
    place.deploy("1.0", PIN)
    place.edit("apps/kustomization.yaml", b"images: [{newTag: mine}]\n")
    assert place.problem() is not None
    with pytest.raises(DeployError, match=r"people have edited apps/kustomization.yaml at images\[0\].newTag"):
        place.deploy("1.1", PIN)


def test_an_image_is_pinned_by_digest(place: Place, connected: Connected) -> None:
    """The digest is that of the release's own image; nothing but the pin is written."""
    made = sample(3)
    place.site.admit(connected.export(connected.images("2.0", made)))
    pin = "artifacts: [], pins: [{file: apps/kustomization.yaml, at: [images, 0, newTag], to: 'web@{digest:image-0}'}]"
    place.site.deploy("2.0", f"{{kind: gitops, repository: '{place.url}', path: apps/shop, {pin}}}")
    assert f'newTag: "web@{made.root["digest"]}"' in place.show("apps/kustomization.yaml")
    assert not any(name.startswith("apps/shop/") for name in place.names())


def test_a_first_deployment_that_fails_leaves_what_was_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree is that of before, and the history has both commits."""
    before = place.there.git("rev-parse", "main^{tree}")
    monkeypatch.setattr("installer.applying.unhealthy", lambda *_, **__: "it does not answer")
    with pytest.raises(DeployError):
        place.deploy("1.0", PIN)
    assert place.there.git("rev-parse", "main^{tree}") == before
    assert place.log() == ["Take shop away from plant-7", "Deploy shop 1.0 to plant-7", "made by a test"]


def test_values_are_what_is_committed(place: Place) -> None:
    """What values made of a template is written, and not the template."""
    admitted = place.site.site.state.release("shop", "1.0")
    assert admitted is not None
    place.deploy("1.1")
    installation = place.site.installation
    target = installation.targets(load(place.site.root / "environment.yaml"))[0]
    sealed = installation._deployable(admitted)
    filled = Deployable(
        release=sealed.release, part=sealed.part, filled={("web", "deploy/app.yaml"): b"filled: 1\n"}, variant="0" * 12
    )
    target.stage(filled, None)
    target.activate(filled.identity)
    assert place.show("apps/shop/app.yaml") == "filled: 1"
    assert target.check(filled, deep=True) is None


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("word", ["fast-import", "commit-tree", "push"])
def test_a_killed_apply(place: Place, word: str, side: Side) -> None:
    """95: whatever the instant, the branch has one release whole; the next command ends with one commit on top."""
    place.deploy("1.0")
    killed_at_program(lambda: place.deploy("1.1"), lambda words: word in words, side)
    for room in (place.site.folder / "environments/plant-7/targets").iterdir():
        (room / "git/shallow.lock").touch()
    whole = {"1.0": "apps/shop/only-1.0.yaml", "1.1": "apps/shop/only-1.1.yaml"}
    assert sum(name in place.names() for name in whole.values()) == 1
    place.deploy("1.1")
    assert place.problem(deep=True) is None
    assert "apps/shop/only-1.1.yaml" in place.names()
    assert place.deploy("1.1").changed is False
    assert set(place.log()) == {"Deploy shop 1.0 to plant-7", "Deploy shop 1.1 to plant-7", "made by a test"}


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("repository: 'http://127.0.0.1:1/a.git', path: a", "is no https:// address"),
        ("repository: 'https://127.0.0.1:1/a.git', path: a", "(?i)failed to connect"),
        ("repository: '{url}', branch: other, path: a", "has no branch other"),
        ("repository: '{url}', path: .sealift/a", "keeps for itself"),
        ("repository: '{url}', path: a/.GIT/hooks", "keeps for itself"),
        ("repository: '{url}', path: README.md", "README.md .* was not written by sealift"),
        ("repository: '{url}', path: apps/kustomization.yaml/a", "kustomization.yaml in .* was not written by sealift"),
        ("repository: '{url}', path: a, artifacts: [none]", "has no artifact 'none'"),
        ("repository: '{url}', path: a, folder: none", "has nothing in the folder none"),
        ("repository: '{url}', path: a, pins: [{{file: b.yaml, at: [a], to: x}}]", "there is no file b.yaml"),
        ("repository: '{url}', path: a, pins: [{{file: a/b, at: [a], to: x}}]", "about a file of the release"),
        ("repository: '{url}', path: a, pins: [{{file: README.md, at: [a], to: x}}]", "has no values at a"),
        ("repository: '{url}', path: a, pins: [{{file: b, at: [a], to: '{{who}}'}}]", "means nothing"),
        ("repository: '{url}', path: a, pins: [{{file: b, at: [a], to: '{{digest:web}}'}}]", "has no image 'web'"),
        ("repository: 'ext::sh -c true', path: a", "repository"),
        ("repository: 'https://u:secret@host/a.git', path: a", "repository"),
        ("repository: '--upload-pack=x', path: a", "repository"),
        ("repository: '{url}', path: ../a", "path"),
        ("repository: '{url}', path: a, branch: 'a..b'", "branch"),
    ],
    ids=lambda value: value[:50],
)
def test_what_cannot_be(place: Place, settings: str, error: str) -> None:
    """Bad settings and places that do not fit are errors before the branch is touched."""
    with pytest.raises(SealiftError, match=error):
        place.site.deploy("1.0", "{kind: gitops, " + settings.format(url=place.url) + "}")
    assert place.log() == ["made by a test"]


@pytest.mark.parametrize("content", [b"{}", b"no json", b'{"format":1}' + b" " * (17 << 20)])
def test_a_damaged_footprint(place: Place, content: bytes) -> None:
    """What cannot be read is refused, and nothing is taken for ours."""
    place.deploy("1.0")
    place.edit(".sealift/plant-7/apps/shop.json", content)
    with pytest.raises((UsageError, DeployError)):
        place.deploy("1.1")
    assert place.log()[0].startswith("edit")


def test_a_footprint_that_claims_what_is_not_ours(place: Place) -> None:
    """A path outside of the target's folder is not removed because the footprint says so."""
    place.deploy("1.0")
    said = json.loads(place.show(".sealift/plant-7/apps/shop.json"))
    said["files"]["README.md"] = "100644 " + "0" * 40
    place.edit(".sealift/plant-7/apps/shop.json", json.dumps(said).encode())
    with pytest.raises(UsageError, match="damaged"):
        place.deploy("1.1")


def test_a_file_of_theirs_is_no_folder_of_ours(place: Place) -> None:
    """Where a release needs a folder, a file of theirs is in the way, and the other way round."""
    place.edit("apps/shop/app.yaml/x", b"theirs")
    with pytest.raises(DeployError, match=r"apps/shop/app\.yaml/x in .* was not written by sealift"):
        place.deploy("1.0")
    place.edit("apps/shop/app.yaml/x", None)
    place.deploy("1.0")
    place.edit(".sealift/plant-8", b"theirs")
    other = (place.site.root / "environment.yaml").read_text()
    other = other.replace("plant-7", "plant-8").replace("apps/shop", "apps/shop-8")
    (place.site.root / "environment.yaml").write_text(other)
    with pytest.raises(UsageError, match=r"\.sealift/plant-8 in .* was not written by sealift"):
        place.site.installation.apply(load(place.site.root / "environment.yaml"))


def test_two_environments_share_a_branch(place: Place) -> None:
    """Each has its own folder, and neither touches the other's, of whatever site it is."""
    place.deploy("1.0")
    other = place.site.root / "other.yaml"
    other.write_text(
        'environment: plant-8\nrelease: shop\nversion: "1.1"\ntargets:\n'
        f"  - {{kind: gitops, repository: '{place.url}', path: apps/shop-8, folder: deploy}}\npolicy: none\n"
    )
    place.site.installation.apply(load(other))
    assert place.problem(deep=True) is None
    assert {"apps/shop/only-1.0.yaml", "apps/shop-8/only-1.1.yaml"} <= place.names()
    same = other.read_text().replace("apps/shop-8", "apps/shop")
    other.write_text(same)
    with pytest.raises(UsageError, match="environment plant-7 is deployed to"):
        place.site.installation.apply(load(other))
    declared = load(other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("installer.outlook.Outlook._check_apart", lambda *_, **__: None)
        with pytest.raises(DeployError, match="was not written by sealift"):
            place.site.installation.apply(declared)
