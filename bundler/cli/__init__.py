"""`sealift-bundle`: the connected side's program. One module here is one command, imported when it runs."""

from __future__ import annotations

from typing import NoReturn

from sealift.cli import Program, run

PROGRAM = Program(
    "sealift-bundle",
    help="Collect artifacts, seal them as releases, and export signed bundles.",
    commands={
        "init": ("bundler.cli.init:init", "Write a first spec to start from."),
        "lint": ("bundler.cli.lint:lint", "Check a spec and show every problem in it."),
        "lock": ("bundler.cli.lock:lock", "Write the digests that a spec resolves to."),
        "images-in": ("bundler.cli.images_in:images_in", "Find the images that manifests and charts name."),
        "export": ("bundler.cli.export:export", "Seal releases and write them as one bundle."),
        "inspect": ("bundler.cli.inspect:inspect", "Show what a bundle or a published release holds."),
        "verify": ("bundler.cli.verify:verify", "Check every signature and digest of a bundle."),
        "diff": ("bundler.cli.diff:diff", "Show what changed between two releases, file by file."),
        "site": ("bundler.cli.site:site", "Make a site known by its receipt, or list the sites and what was sent."),
        "list": ("bundler.cli.list:list_", "List the releases that a depot published."),
    },
    example="sealift-bundle export sealift.yaml --depot depot --out shop-1.0.0.sealift",
)


def main() -> NoReturn:
    """Run `sealift-bundle`."""
    run(PROGRAM)
