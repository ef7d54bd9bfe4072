"""`sealift-keys`: the security team's program. One module here is one command, imported when it runs."""

from __future__ import annotations

from typing import NoReturn

from sealift.cli import Program, run

PROGRAM = Program(
    "sealift-keys",
    help="Make and look after the keys that releases are signed with.",
    commands={
        "init": ("keys.cli.init:init", "Make a depot with its keys and its root of trust."),
        "show": ("keys.cli.show:show", "Show who may sign what, with which threshold, until when."),
        "key": ("keys.cli.key:key", "Make a key, or write the public half of one."),
        "rotate": ("keys.cli.rotate:rotate", "Change the keys or the threshold of a role."),
        "revoke": ("keys.cli.revoke:revoke", "Take a lost or stolen key out of every role."),
        "renew": ("keys.cli.renew:renew", "Give a root, the online metadata or a team's a new expiry."),
        "delegate": ("keys.cli.delegate:delegate", "Let a team sign releases of its own."),
        "dismiss": ("keys.cli.dismiss:dismiss", "Let a team sign no more."),
        "sign": ("keys.cli.sign:sign", "Sign a request on a machine of your own, once you have read it."),
        "publish": ("keys.cli.publish:publish", "Collect signatures, and publish what has enough of them."),
        "waive": ("keys.cli.waive:waive", "Let one late bundle pass although it has expired."),
        "clients": ("keys.cli.clients:clients", "Note which version of sealift each site runs."),
    },
    example="sealift-keys init --depot depot",
)


def main() -> NoReturn:
    """Run `sealift-keys`."""
    run(PROGRAM)
