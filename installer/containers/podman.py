"""The `podman` command: images, containers and pods on this machine, each call bounded in time and output."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift.errors import DeployError
from sealift.names import visible

from ..programs import commands

ANSWER_MAX = 4 << 20
"""Bytes of what podman may answer."""
OWNER, DEFINITION = "io.sealift.target", "io.sealift.definition"
"""Labels: whose a container is, and by which definition it was started."""
_KEPT = re.compile(
    r"CONTAINERS_(?:CONF|STORAGE_CONF|REGISTRIES_CONF)|REGISTRY_AUTH_FILE|DOCKER_CONFIG|XDG_(?:CONFIG_HOME|DATA_HOME|"
    r"RUNTIME_DIR)|SSL_CERT_(?:FILE|DIR)|(?i:https?|all|no)_proxy"
)
"""The variables of ours that podman gets: by these a site says how it is set up."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A container as podman lists it."""

    owner: str | None
    definition: str | None
    """Both by our labels."""
    state: str
    code: int
    """Its exit code, where it has ended."""


class Podman:
    """Runs podman."""

    def __init__(self, environment: Mapping[str, str], *, timeout: float) -> None:
        """Run nothing yet.

        Args:
            environment: where podman's own variables are taken from.
            timeout: seconds for one call.
        """
        self._variables = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
        self._timeout = timeout

    def _run(self, words: Sequence[str]) -> commands.Outcome:
        return commands.run(
            ["podman", *words], timeout=self._timeout, folder=None, variables=self._variables, answer_max=ANSWER_MAX
        )

    def ask(self, *words: str) -> bytes:
        """What podman answers.

        Raises:
            DeployError: it fails, with its own last words.
        """
        outcome = self._run(words)
        if outcome.problem:
            what = " ".join(words[:2]) if words[0] in ("kube", "pod", "container", "image") else words[0]
            said = visible(outcome.words.removeprefix("Error: "))[:400]
            raise DeployError(f"podman {what} {outcome.problem}{': ' + said if said else ''}")
        return outcome.answer

    def succeeds(self, *words: str) -> bool:
        """Whether a call ends well."""
        return self._run(words).problem is None

    def has_image(self, image: str) -> bool:
        """Whether there is an image of this ID.

        Raises:
            DeployError: podman does not know.
        """
        outcome = self._run(("image", "exists", image))
        if outcome.problem not in (None, "failed with exit code 1"):
            raise DeployError(f"podman image exists {outcome.problem}: {visible(outcome.words)[:400]}")
        return outcome.problem is None

    def containers(self) -> dict[str, Seen]:
        """Every container of this user, by name.

        Raises:
            DeployError: podman does not say.
        """
        found: dict[str, Seen] = {}
        for each in self._listed("ps", "--all"):
            labels = each.get("Labels") or {}
            seen = Seen(
                owner=labels.get(OWNER),
                definition=labels.get(DEFINITION),
                state=str(each.get("State", "unknown")).lower(),
                code=int(each.get("ExitCode") or 0),
            )
            found.update((name, seen) for name in each.get("Names") or ())
        return found

    def pods(self) -> dict[str, str]:
        """The state of every pod of this user, by name.

        Raises:
            DeployError: podman does not say.
        """
        return {str(each.get("Name")): str(each.get("Status", "unknown")).lower() for each in self._listed("pod", "ps")}

    def tags(self) -> dict[str, str]:
        """The ID of every image of this user that has a name, by each of its names.

        Raises:
            DeployError: podman does not say.
        """
        images = self._listed("images", "--no-trunc")
        return {
            name: str(each.get("Id")).removeprefix("sha256:") for each in images for name in each.get("Names") or ()
        }

    def _listed(self, *words: str) -> list[dict[str, Any]]:
        try:
            found = json.loads(self.ask(*words, "--format=json") or b"[]")
            return [each for each in found or () if isinstance(each, dict)]
        except (ValueError, TypeError) as error:
            raise DeployError("podman answers what is no list") from error

    def has_health_check(self, name: str) -> bool:
        """Whether a container has one.

        Raises:
            DeployError: there is no such container.
        """
        said = self.ask("container", "inspect", "--format={{json .Config.Healthcheck}}", name)
        test = (json.loads(said) or {}).get("Test")
        return bool(test) and test != ["NONE"]

    def pull(self, place: str, image: str, *, insecure: bool = False) -> None:
        """Bring an image, which must have this ID then.

        Raises:
            DeployError: it cannot be had, or is another one.
        """
        words = ["pull", "--quiet", *(["--tls-verify=false"] if insecure else []), place]
        self.ask(*words)
        if not self.has_image(image):
            raise DeployError(f"podman pull of {place} did not bring the image {image[:19]}")


def layout(folder: Path) -> str:
    """Where podman pulls from, of a layout whose image is called `image`."""
    return f"oci:{folder}:image"
