"""The `kubectl` command: objects of a cluster, each call bounded in time and output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealift.errors import DeployError
from sealift.names import visible

from ..programs import commands
from . import kube
from .kube import Object

ANSWER_MAX = 64 << 20
"""Bytes of what kubectl may answer."""
MANAGER = "sealift"
"""The name under which fields of objects are ours."""
OWNER = "sealift/target"
"""The label of every object of ours."""
_KEPT = re.compile(r"KUBECONFIG|SSL_CERT_(?:FILE|DIR)|(?i:https?|all|no)_proxy")


class Kubectl:
    """Runs kubectl for one namespace of one cluster."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str], *, timeout: float) -> None:
        """Run nothing yet.

        Args:
            settings: `namespace`, and `kubeconfig` and `context` where they are said.
            environment: where kubectl's own variables are taken from.
            timeout: seconds that the cluster may need for one call.
        """
        self._words = ["kubectl", f"--namespace={settings['namespace']}"]
        self._words += [f"--{key}={settings[key]}" for key in ("kubeconfig", "context") if key in settings]
        self._variables = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
        self._timeout = timeout

    def ask(self, *words: str) -> bytes:
        """What kubectl answers.

        Raises:
            DeployError: it fails, with its own words.
        """
        outcome = self._run(words)
        if outcome.problem:
            said = visible("; ".join(outcome.output.strip().splitlines()))[:600]
            raise DeployError(f"kubectl {words[0]} {outcome.problem}{': ' + said if said else ''}")
        return outcome.answer

    def _run(self, words: Iterable[str]) -> commands.Outcome:
        return commands.run(
            [*self._words, *words],
            timeout=self._timeout + 10,
            folder=None,
            variables=self._variables,
            answer_max=ANSWER_MAX,
        )

    def live(self, file: Path) -> dict[Object, dict[str, Any]]:
        """What the cluster has of the objects in a file.

        Raises:
            DeployError: it does not say.
        """
        answer = self.ask("get", "--ignore-not-found", "--output=json", f"--filename={file}").strip()
        try:
            tree = json.loads(answer or b"{}")
            found = tree.get("items", []) if tree.get("kind", "List") == "List" else [tree]
            return {kube.object_of(each, "the cluster's answer"): each for each in found}
        except (ValueError, AttributeError) as error:
            raise DeployError("kubectl get answers what is no list of objects") from error

    def apply(self, file: Path, *, force: bool, dry: bool = False) -> None:
        """Apply the objects in a file on the server's side; with `dry`, let it say whether that could be done.

        It is the server that refuses a field which is not in its schema, so kubectl need not know one.

        Raises:
            DeployError: it cannot.
        """
        words = [
            "--server-side",
            "--validate=false",
            f"--field-manager={MANAGER}",
            f"--force-conflicts={str(force).lower()}",
        ]
        self.ask("apply", *words, *(["--dry-run=server"] if dry else []), f"--filename={file}")

    def patch(self, each: Object, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Change an object by a JSON patch (RFC 6902), wholly or not at all; return it as it is then.

        Raises:
            DeployError: a test in the patch does not hold, or the cluster refuses.
        """
        words = ["--type=json", f"--field-manager={MANAGER}", f"--patch={json.dumps(operations)}", "--output=json"]
        answer = self.ask("patch", _kind(each), each.name, *words, *_in(each))
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise DeployError("kubectl patch answers what is no object") from error
        return found if isinstance(found, dict) else {}

    def rolled_out(self, each: Object) -> None:
        """Wait for the rollout of a workload.

        Raises:
            DeployError: it did not end well in time.
        """
        timeout = f"--timeout={max(1, int(self._timeout))}s"
        self.ask("rollout", "status", f"{each.kind.lower()}/{each.name}", timeout, *_in(each))

    def delete(self, each: Object) -> None:
        """Delete an object, and wait until it is gone.

        Raises:
            DeployError: it stays.
        """
        timeout = f"--timeout={max(1, int(self._timeout))}s"
        self.ask("delete", _kind(each), each.name, "--ignore-not-found", "--wait=true", timeout, *_in(each))

    def one(self, each: Object) -> dict[str, Any] | None:
        """An object as the cluster has it; None where it is gone.

        Raises:
            DeployError: the cluster does not say.
        """
        answer = self.ask("get", _kind(each), each.name, "--ignore-not-found", "--output=json", *_in(each)).strip()
        found = json.loads(answer) if answer else None
        return found if isinstance(found, dict) else None

    def differs(self, file: Path) -> bool:
        """Whether applying the objects in a file would change anything.

        Raises:
            DeployError: the cluster does not say.
        """
        words = ("diff", "--server-side", f"--field-manager={MANAGER}", "--force-conflicts", f"--filename={file}")
        outcome = self._run(words)
        if outcome.problem not in (None, "failed with exit code 1"):
            raise DeployError(f"kubectl diff {outcome.problem}: {visible(outcome.words)[:400]}")
        return outcome.problem is not None


def _kind(each: Object) -> str:
    """The kind with its group, as kubectl is told it."""
    group, slash, version = each.api.rpartition("/")
    return f"{each.kind}.{version}.{group}" if slash else each.kind


def _in(each: Object) -> list[str]:
    return [f"--namespace={each.namespace}"] if each.namespace else []


def owner_of(live: Mapping[str, Any]) -> str | None:
    """Whose an object is, by our label."""
    labels = (live.get("metadata") or {}).get("labels") or {}
    found = labels.get(OWNER)
    return found if isinstance(found, str) else None
