"""Small wheels and source distributions, and an index that serves them, in whichever form a test wants."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name
from routes import Answer, Routes

JSON = "application/vnd.pypi.simple.v1+json"


def wheel(project: str, version: str = "1.0", tag: str = "py3-none-any", content: bytes = b"") -> tuple[str, bytes]:
    """The name and the bytes of a wheel that can be installed."""
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": b"it = 1\n" + content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, body in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), body)
    return f"{name}-{version}-{tag}.whl", made.getvalue()


def sdist(project: str, version: str = "1.0") -> tuple[str, bytes]:
    """The name and the bytes of a source distribution."""
    name = f"{project.replace('-', '_')}-{version}"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        body = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode()
        entry = tarfile.TarInfo(f"{name}/PKG-INFO")
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    return f"{name}.tar.gz", made.getvalue()


def sha256(content: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Index:
    """An index on a server, below `/simple`, and its files below `/files`."""

    server: Routes
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Names and contents, by project."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.server.url}/simple"

    def add(self, project: str, *made: tuple[str, bytes], authorization: str | None = None) -> None:
        """Offer files of a project, as JSON."""
        self.files.setdefault(project, {}).update(made)
        for name, content in made:
            self.server.answers[f"/files/{name}"] = Answer(body=content, authorization=authorization)
        page = {
            "meta": {"api-version": "1.0"},
            "name": project,
            "files": [
                {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": sha256(content)}}
                for name, content in self.files[project].items()
            ],
        }
        self.page(project, json.dumps(page).encode(), JSON, authorization=authorization)

    def page(self, project: str, body: bytes, kind: str, *, authorization: str | None = None) -> None:
        """Answer with this page for a project."""
        path = f"/simple/{canonicalize_name(project)}/"
        self.server.answers[path] = Answer(body=body, kind=kind, authorization=authorization)

    def html(self, project: str, links: Sequence[str]) -> None:
        """Offer these anchors, as HTML."""
        body = "<!DOCTYPE html><html><body>" + "\n".join(f'<a href="{link}">it</a>' for link in links)
        self.page(project, body.encode(), "text/html; charset=utf-8")

    def requirements(self, *projects: str, version: str = "1.0", more: Mapping[str, str] | None = None) -> str:
        """A requirements file that pins all files of these projects."""
        lines = []
        for project in projects:
            hashes = " ".join(f"\\\n    --hash=sha256:{sha256(body)}" for body in self.files[project].values())
            lines.append(f"{project}=={version}{(more or {}).get(project, '')} {hashes}")
        return "\n".join(lines) + "\n"

    def pylock(self, *projects: str, version: str = "1.0", more: str = "") -> str:
        """A lock file of PEP 751 that says all wheels of these projects."""
        text = f'lock-version = "1.0"\ncreated-by = "test"\n{more}'
        for project in projects:
            text += f'[[packages]]\nname = "{canonicalize_name(project)}"\nversion = "{version}"\n'
            for name, body in self.files[project].items():
                url = f"{self.server.url}/files/{name}"
                digest = f'hashes = {{sha256 = "{sha256(body)}"}}'
                table = "[[packages.wheels]]" if name.endswith(".whl") else "[packages.sdist]"
                text += f'{table}\nname = "{name}"\nurl = "{url}"\nsize = {len(body)}\n{digest}\n'
        return text
