"""`sealift-install`: the isolated site's program. One module here is one command, imported when it runs."""

from __future__ import annotations

from typing import NoReturn

from sealift.cli import Program, run

PROGRAM = Program(
    "sealift-install",
    help="Verify bundles, deploy releases, and prove what was done. Needs no network.",
    commands={
        "enroll": ("installer.cli.enroll:enroll", "Begin a site with a root of trust and its fingerprint."),
        "import": ("installer.cli.import_:import_", "Verify a bundle and take its releases into the site."),
        "list": ("installer.cli.list:list_", "List the releases that the site holds."),
        "plan": ("installer.cli.plan:plan", "Show what apply would do, and change nothing."),
        "apply": ("installer.cli.apply:apply", "Make an environment what its file declares."),
        "status": ("installer.cli.status:status", "Show what each environment runs."),
        "rollback": ("installer.cli.rollback:rollback", "Return an environment to the release before."),
        "history": ("installer.cli.history:history", "Read the ledger: what was admitted, refused, deployed."),
        "verify": ("installer.cli.verify:verify", "Re-check the whole store and the ledger; repair from a bundle."),
        "receipt": ("installer.cli.receipt:receipt", "Sign what the site holds, for a bundle with what it lacks."),
        "conform": ("installer.cli.conform:conform", "Try whether a program of yours can be a target."),
        "gc": ("installer.cli.gc:gc", "Remove releases and content that nothing uses."),
    },
    example="""
    sealift-install import --site site shop-1.0.0.sealift
    sealift-install apply --site site environment.yaml
    """,
)


def main() -> NoReturn:
    """Run `sealift-install`."""
    run(PROGRAM)
