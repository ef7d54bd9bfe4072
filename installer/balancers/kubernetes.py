"""Balancer `kubernetes`: a Service by one label of its selector, or an HTTPRoute of the Gateway API by its weights.

The object belongs to the site, and is read anew each time. A change is one JSON patch, which the cluster makes wholly
or not at all: it tests the former value and sets the label's value, or the weights, and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sealift.errors import DeployError, UsageError
from sealift.hooks import seconds

from ..cluster.kube import CONNECTION, Object
from ..cluster.kubectl import Kubectl, owner_of
from . import Shares

NOBODY = "none"
"""The label's value where no slot is to serve."""
TIMEOUT = 30
_DNS = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SLOT = "{slot}"
_PART = r"(?:[a-z0-9-]|\{slot\})+"
_BY_SERVICE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "service": {
            "description": "The Service; all traffic goes to one slot, and shares between are refused.",
            "type": "string",
            "pattern": f"^{_DNS}$",
        },
        "label": {
            "description": "The label in its selector whose value is the serving slot's name; 'none' where none is.",
            "type": "string",
            "maxLength": 317,
            "pattern": rf"^(?:{_DNS}(?:\.{_DNS})*/)?{_LABEL}$",
            "default": "slot",
        },
    },
    "required": ["service"],
    "additionalProperties": False,
}
_BY_ROUTE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "route": {
            "description": "The HTTPRoute; each slot gets its share by the weight of its backend.",
            "type": "string",
            "maxLength": 253,
            "pattern": rf"^{_DNS}(?:\.{_DNS})*$",
        },
        "backend": {
            "description": f"The Service of a slot, where it is in another namespace with that and a slash before it; "
            f"{_SLOT} is the slot's name, and all of it where nothing is said.",
            "type": "string",
            "maxLength": 127,
            "pattern": f"^(?:{_PART}/)?{_PART}$",
            "default": _SLOT,
        },
    },
    "required": ["route"],
    "additionalProperties": False,
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "namespace": {
            "description": "The namespace of the Service or the HTTPRoute.",
            "type": "string",
            "pattern": f"^{_DNS}$",
        },
        "by": {"description": "What moves the traffic, a Service or an HTTPRoute.", "oneOf": [_BY_SERVICE, _BY_ROUTE]},
        **CONNECTION,
        "timeout": seconds("For one call of kubectl.", default=TIMEOUT),
        "drain": seconds("How long the cluster gets to follow, and what is under way to end.", least=0, default=5),
    },
    "required": ["namespace", "by"],
    "additionalProperties": False,
}
Operation = Mapping[str, Any]
"""One of a JSON patch (RFC 6902)."""


class Means(Protocol):
    """How an object says where the traffic goes. Nothing here asks the cluster."""

    about: Object
    divides: bool

    def shares(self, live: Mapping[str, Any]) -> Shares:
        """The share of each slot, by the object.

        Raises:
            UsageError: it has not the form that is needed.
        """

    def patch(self, live: Mapping[str, Any], shares: Shares) -> list[Operation]:
        """What makes it say these shares, provided it still says what `live` does; nothing where it says them.

        Raises:
            UsageError: as `shares`.
        """


class Selector:
    """One label in the selector of a Service."""

    divides = False

    def __init__(self, by: Mapping[str, Any], namespace: str, slots: Sequence[str]) -> None:
        self.about = Object(api="v1", kind="Service", namespace=namespace, name=by["service"])
        self._label: str = by.get("label", "slot")
        self._slots = tuple(slots)
        if NOBODY in slots:
            raise UsageError(
                f"a slot is called {NOBODY!r}, which stands for no slot in a selector", hint="give it another name"
            )

    def shares(self, live: Mapping[str, Any]) -> Shares:
        """All for the slot that is selected."""
        serving = self._selector(live)[self._label]
        return {name: 100 if name == serving else 0 for name in self._slots}

    def patch(self, live: Mapping[str, Any], shares: Shares) -> list[Operation]:
        """Test the selector, and replace the label's value."""
        selector = self._selector(live)
        serving = next((name for name in self._slots if shares[name]), NOBODY)
        if selector[self._label] == serving:
            return []
        place = self._label.replace("~", "~0").replace("/", "~1")
        return [
            {"op": "test", "path": "/spec/selector", "value": selector},
            {"op": "replace", "path": f"/spec/selector/{place}", "value": serving},
        ]

    def _selector(self, live: Mapping[str, Any]) -> Mapping[str, Any]:
        spec = live.get("spec") or {}
        selector = spec.get("selector") or {}
        values = (*self._slots, NOBODY)
        if selector.get(self._label) not in values or spec.get("type") == "ExternalName":
            raise UsageError(
                f"the {self.about} does not select by the label {self._label} one of {', '.join(values)}",
                hint=f"let its selector have `{self._label}: {NOBODY}` before the first deployment",
            )
        return selector


class Route:
    """The weights of two backends, in each rule of an HTTPRoute that has them."""

    divides = True

    def __init__(self, by: Mapping[str, Any], namespace: str, slots: Sequence[str]) -> None:
        api = "gateway.networking.k8s.io/v1"
        self.about = Object(api=api, kind="HTTPRoute", namespace=namespace, name=by["route"])
        self._slots = tuple(slots)
        self._backends: dict[tuple[str, str], str] = {}
        for slot in slots:
            where, _, name = by.get("backend", _SLOT).replace(_SLOT, slot).rpartition("/")
            self._backends[where or namespace, name] = slot
        if len(self._backends) < len(slots):
            raise UsageError(
                f"both slots have the same backend in the {self.about}", hint=f"write {_SLOT} in `backend`"
            )

    def shares(self, live: Mapping[str, Any]) -> Shares:
        """The weights in percent, which are the same in all rules."""
        found = [
            _percent({slot: self._weight(number, ref) for slot, (_, ref) in refs.items()})
            for number, refs in self._rules(live)
        ]
        if any(each != found[0] for each in found):
            raise UsageError(
                f"the rules of the {self.about} share the traffic differently",
                hint="give the backends of the slots the same weights in all of them",
            )
        return found[0]

    def patch(self, live: Mapping[str, Any], shares: Shares) -> list[Operation]:
        """Test the backends of the slots, and set the weights that differ."""
        tests, changes = [], []
        for number, refs in self._rules(live):
            for slot, (index, ref) in refs.items():
                path = f"/spec/rules/{number}/backendRefs/{index}"
                tests.append({"op": "test", "path": path, "value": ref})
                if self._weight(number, ref) != shares[slot]:
                    changes.append({"op": "add", "path": f"{path}/weight", "value": shares[slot]})
        return [*tests, *changes] if changes else []

    def _rules(self, live: Mapping[str, Any]) -> list[tuple[int, dict[str, tuple[int, Mapping[str, Any]]]]]:
        """The number of each rule that has the slots' backends; of each slot there, the number and the backend."""
        found = list(self._found(live))
        if not found:
            names = " and ".join("/".join(each) for each in self._backends)
            raise UsageError(f"the {self.about} has no rule with the backends {names}", hint="give it one with both")
        return found

    def _found(self, live: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, tuple[int, Mapping[str, Any]]]]]:
        for number, rule in enumerate((live.get("spec") or {}).get("rules") or ()):
            refs = rule.get("backendRefs") or []
            slots = [self._slot_of(ref) for ref in refs]
            if not any(slots):
                continue
            if len(slots) != len(self._slots) or set(slots) != set(self._slots):
                raise UsageError(
                    f"rule {number} of the {self.about} has other backends than one for each slot",
                    hint="let it have those two and no other",
                )
            yield number, {slot: (slots.index(slot), refs[slots.index(slot)]) for slot in self._slots}

    def _slot_of(self, ref: Mapping[str, Any]) -> str | None:
        if ref.get("group") or ref.get("kind", "Service") != "Service":
            return None
        return self._backends.get((ref.get("namespace") or self.about.namespace, str(ref.get("name"))))

    def _weight(self, number: int, ref: Mapping[str, Any]) -> int:
        weight = ref.get("weight", 1)
        if type(weight) is not int or weight < 0:
            raise UsageError(f"rule {number} of the {self.about} has a weight that is none", hint="give it a number")
        return weight


def _percent(weights: Mapping[str, int]) -> dict[str, int]:
    """Shares that are 0 and 100 only where nothing and all goes there."""
    total = sum(weights.values())
    if sum(map(bool, weights.values())) < 2:
        return {name: 100 if weight else 0 for name, weight in weights.items()}
    return {name: min(99, max(1, round(100 * weight / total))) for name, weight in weights.items()}


class Kubernetes:
    """A Service or an HTTPRoute of a cluster."""

    def __init__(self, settings: Mapping[str, Any], slots: Sequence[str]) -> None:
        by, namespace = settings["by"], settings["namespace"]
        self._means: Means = (Selector if "service" in by else Route)(by, namespace, slots)
        self._kubectl = Kubectl(settings, os.environ, timeout=int(settings.get("timeout", TIMEOUT)))
        self._drain = int(settings.get("drain", 5))
        self.divides = self._means.divides
        where = [settings[key] for key in ("kubeconfig", "context") if key in settings]
        self.place = self.owns = f"kubernetes {self._means.about}" + (f" ({', '.join(where)})" if where else "")

    def shares(self) -> Shares:
        """What the object says."""
        return self._means.shares(self._live())

    def share_out(self, shares: Shares) -> None:
        """Let the cluster change the object, see that it did, and give it time to follow."""
        if not self.divides and set(shares.values()) - {0, 100}:
            raise DeployError(f"{self.place} gives all traffic to a slot, or none", hint="use an HTTPRoute for shares")
        operations = self._means.patch(self._live(), shares)
        if not operations:
            return
        try:
            changed = self._kubectl.patch(self._means.about, operations)
        except DeployError as error:
            raise DeployError(
                error.message, hint=f"if somebody else changed the {self._means.about} meanwhile, apply again"
            ) from error
        if self._means.shares(changed) != shares:
            raise DeployError(
                f"the cluster does not keep what was set in the {self._means.about}",
                hint="see which controller or webhook sets it back",
            )
        time.sleep(self._drain)

    def counts(self) -> None:
        """It does not count."""

    def _live(self) -> Mapping[str, Any]:
        about = self._means.about
        live = self._kubectl.one(about)
        if live is None:
            raise UsageError(f"the {about} is not there", hint="make it before the first deployment")
        if owner_of(live) is not None:
            raise UsageError(
                f"the {about} comes with a release, which would move the traffic each time that it is applied",
                hint="take it out of the release, and make it at the site",
            )
        return live


def balancer(settings: Mapping[str, Any], slots: Mapping[str, str], room: Path) -> Kubernetes:
    """The object that `settings` names."""
    return Kubernetes(settings, tuple(slots))
