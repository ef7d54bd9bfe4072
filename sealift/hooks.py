"""Hooks: commands around the switch of a deployment, sealed in a release or written in an environment.

A command is a list of arguments, never a line for a shell. The types here and the JSON Schema that
`schema` gives accept the same values.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

ARGUMENT_MAX = 4096
"""Characters of one argument."""
ARGUMENTS_MAX = 1024
HOOKS_MAX = 64
"""Hooks of one moment."""
TIMEOUT_MAX = 86_400
"""Seconds: a day."""
TIMEOUT = 60
"""Seconds, where nothing is said."""
ARGUMENT = r"^[^\u0000]*$"
"""What the system lets an argument be."""

Argument = Annotated[str, msgspec.Meta(max_length=ARGUMENT_MAX, pattern=ARGUMENT)]


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One command."""

    run: Annotated[tuple[Argument, ...], msgspec.Meta(min_length=1, max_length=ARGUMENTS_MAX)]
    """The program and its arguments."""
    timeout: Annotated[int, msgspec.Meta(ge=1, le=TIMEOUT_MAX)] = TIMEOUT
    """Seconds after which it is killed, which counts as a failure."""

    def __post_init__(self) -> None:
        if not self.run[0]:
            raise ValueError("a hook names no program")


class Hooks(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"before_switch": "before-switch", "after_switch": "after-switch"},
):
    """The commands of each moment, in the order in which they run."""

    before_switch: Annotated[tuple[Hook, ...], msgspec.Meta(max_length=HOOKS_MAX)] = ()
    """A failure here leaves the former release in place."""
    after_switch: Annotated[tuple[Hook, ...], msgspec.Meta(max_length=HOOKS_MAX)] = ()
    """A failure here returns to the former release."""


NONE = Hooks()


def convert(value: Any) -> Hooks:
    """The hooks that `value` says, which a schema of this module has accepted."""
    hooks = msgspec.convert(_whole(value), Hooks)
    return NONE if hooks == NONE else hooks


def _whole(value: Any) -> Any:
    """The same, with 60 for 60.0: to JSON Schema both are the same integer."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def command(description: str, *, absolute: bool) -> dict[str, Any]:
    """The JSON Schema of a command; with `absolute`, of one whose program is an absolute path."""
    argument = {"type": "string", "maxLength": ARGUMENT_MAX, "pattern": ARGUMENT}
    first = "The program, as an absolute path." if absolute else "The program."
    form = r"^/[^\u0000]*$" if absolute else ARGUMENT
    return {
        "description": description,
        "type": "array",
        "minItems": 1,
        "maxItems": ARGUMENTS_MAX,
        "prefixItems": [{**argument, "description": first, "minLength": 1, "pattern": form}],
        "items": {"description": "One argument.", **argument},
    }


def seconds(description: str, *, least: int = 1, default: int) -> dict[str, Any]:
    """The JSON Schema of a number of seconds."""
    return {
        "description": f"{description} Seconds, {default} where nothing is said.",
        "type": "integer",
        "minimum": least,
        "maximum": TIMEOUT_MAX,
        "default": default,
    }


def schema(*, absolute: bool) -> dict[str, Any]:
    """The JSON Schema of hooks; with `absolute`, of those whose programs are absolute paths."""
    hook = {
        "type": "object",
        "properties": {
            "run": command("The program and its arguments; no shell reads them.", absolute=absolute),
            "timeout": seconds("How long it may run before it is killed, which counts as a failure.", default=TIMEOUT),
        },
        "required": ["run"],
        "additionalProperties": False,
    }
    moment = {"type": "array", "maxItems": HOOKS_MAX, "items": hook}
    return {
        "type": "object",
        "properties": {
            "before-switch": {
                "description": "Run before the switch; a failure leaves the former release in place.",
                **moment,
            },
            "after-switch": {
                "description": "Run after the switch; a failure returns to the former release.",
                **moment,
            },
        },
        "additionalProperties": False,
    }
