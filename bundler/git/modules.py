"""Where submodules are, by a commit's `.gitmodules`, as git itself reads that form."""

from __future__ import annotations

from sealift.errors import SourceError

from .objects import Objects


def modules(objects: Objects, blob: str) -> dict[str, str]:
    """The addresses of submodules by their paths.

    Args:
        objects: where the file is; its content was checked against its name.
        blob: its id.

    Raises:
        SourceError: it is no configuration of git, or says one thing twice.
    """
    listed = objects.git.run(["config", "--blob", blob, "--no-includes", "--list", "-z"])
    said: dict[str, dict[str, str]] = {}
    for line in listed.decode("utf-8", "surrogateescape").split("\0"):
        key, newline, value = line.partition("\n")
        section, _, rest = key.partition(".")
        name, _, word = rest.rpartition(".")
        if section == "submodule" and word in ("path", "url") and newline:
            if word in said.setdefault(name, {}):
                raise SourceError(f".gitmodules says the {word} of one submodule twice")
            said[name][word] = value
    found: dict[str, str] = {}
    for each in said.values():
        if "path" in each and "url" in each:
            if each["path"] in found:
                raise SourceError(".gitmodules names two submodules of one path")
            found[each["path"]] = each["url"]
    return found
