"""`sealift-bundle images-in`: the images that manifests and charts name, and what a release lacks of them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from calls import Call

MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers:
        - {name: first, image: "registry.example.com/shop/migrate:1.0"}
      containers:
        - name: web
          image: registry.example.com/shop/web:1.0
        - name: again
          image: registry.example.com/shop/web:1.0
---
kind: CronJob
image: debian
image2: nothing
"""
VALUES = """\
image:
  registry: registry.example.com
  repository: shop/web
  tag: "1.0"
metrics:
  image: {repository: registry.example.com/metrics, tag: v2, pullPolicy: Always}
database:
  repository: not/an/image
"""
TEMPLATE = """\
{{- if .Values.on }}
      - image: "registry.example.com/shop/sidecar:3"
      - image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
{{- end }}
"""
CHART = (
    "name: shop\nannotations:\n  artifacthub.io/images: |\n    - name: web\n      image: registry.example.com/hub:9\n"
)
SPEC = """\
release: shop
version: "1.0"
artifacts:
  web: {source: oci, image: "registry.example.com/shop/web:1.0"}
  migrate: {source: oci, image: "oci:layout:1", as: "registry.example.com/shop/migrate:1.0"}
  debian: {source: oci, image: "debian:latest"}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart's folder."""
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "values.yaml").write_text(VALUES)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "templates/web.yaml").write_text(TEMPLATE)
    return folder


def test_manifests(call: Call, tmp_path: Path) -> None:
    """Every document and every kind of container; short names are Docker's."""
    (tmp_path / "web.yaml").write_text(MANIFESTS)
    found = call.document("images-in", tmp_path / "web.yaml")
    assert [each["image"] for each in found["images"]] == [
        "registry.example.com/shop/migrate:1.0",
        "registry.example.com/shop/web:1.0",
        "registry.example.com/shop/web:1.0",
        "docker.io/library/debian:latest",
    ]
    assert found["images"][1]["where"].endswith("web.yaml:10")


def test_a_chart(call: Call, chart: Path) -> None:
    """Values, the annotation and what templates say literally; what they compute is unknown."""
    found = call.document("images-in", chart)
    assert {each["image"] for each in found["images"]} == {
        "registry.example.com/hub:9",
        "registry.example.com/shop/web:1.0",
        "registry.example.com/metrics:v2",
        "registry.example.com/shop/sidecar:3",
        None,
    }
    assert found["unknown"] == 1


def test_a_packed_chart(call: Call, chart: Path, tmp_path: Path) -> None:
    """It says the same as its folder."""
    with tarfile.open(tmp_path / "chart.tgz", "w:gz") as tar:
        tar.add(chart, "shop")
    packed, plain = call.document("images-in", tmp_path / "chart.tgz"), call.document("images-in", chart)
    assert sorted(str(each["image"]) for each in packed["images"]) == sorted(
        str(each["image"]) for each in plain["images"]
    )


def test_what_a_release_lacks(call: Call, tmp_path: Path, chart: Path) -> None:
    """Exit code 3, and the lines that the spec needs."""
    (tmp_path / "web.yaml").write_text(MANIFESTS)
    (tmp_path / "sealift.yaml").write_text(SPEC)
    assert call("images-in", tmp_path / "web.yaml", "--spec", tmp_path / "sealift.yaml") == 0
    found = call.document("images-in", tmp_path / "web.yaml", chart, "--spec", tmp_path / "sealift.yaml", code=3)
    assert found["missing"] == [
        "registry.example.com/hub:9",
        "registry.example.com/metrics:v2",
        "registry.example.com/shop/sidecar:3",
    ]
    assert call("images-in", chart, "--spec", tmp_path / "sealift.yaml") == 3
    assert "    image: registry.example.com/metrics:v2" in call.out


def test_an_image_by_its_digest(call: Call, tmp_path: Path) -> None:
    """It is held if the spec or the lock says that digest, whatever the tag."""
    digest = "sha256:" + 64 * "a"
    (tmp_path / "web.yaml").write_text(f"image: registry.example.com/shop/web@{digest}\n")
    (tmp_path / "sealift.yaml").write_text(SPEC)
    assert call("images-in", tmp_path / "web.yaml", "--spec", tmp_path / "sealift.yaml") == 3
    (tmp_path / "sealift.yaml").write_text(SPEC.replace('web:1.0"}', f'web:1.0", manifest: "{digest}"}}', 1))
    assert call("images-in", tmp_path / "web.yaml", "--spec", tmp_path / "sealift.yaml") == 0


def test_a_manifest_that_is_no_yaml(call: Call, tmp_path: Path) -> None:
    """Exit code 4, with the line."""
    (tmp_path / "web.yaml").write_text("a: [\nb: }\n")
    assert call("images-in", tmp_path / "web.yaml") == 4
    assert "web.yaml:2" in call.err


def test_a_place_that_is_not_there(call: Call, tmp_path: Path) -> None:
    """Exit code 3."""
    assert call("images-in", tmp_path / "nowhere") == 3


def test_a_bomb_of_aliases(call: Call, tmp_path: Path) -> None:
    """46: aliases are not followed, so nothing grows."""
    lines = ["a0: &a0 {image: registry.example.com/x:1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    (tmp_path / "web.yaml").write_text("\n".join(lines))
    assert len(call.document("images-in", tmp_path / "web.yaml")["images"]) == 1


def test_a_nest_without_end(call: Call, tmp_path: Path) -> None:
    """39: depth alone harms nobody."""
    (tmp_path / "web.yaml").write_text("[" * 5000 + "]" * 5000)
    assert call("images-in", tmp_path / "web.yaml") in (0, 4)


def test_a_chart_that_is_too_large(call: Call, tmp_path: Path) -> None:
    """67: what a packed chart unpacks to is bounded by what it says before it is read."""
    with tarfile.open(tmp_path / "bomb.tgz", "w:gz", compresslevel=1) as tar:
        for number in range(5):
            member = tarfile.TarInfo(f"shop/{number}.bin")
            member.size = 64 << 20
            tar.addfile(member, io.BytesIO(bytes(64 << 20)))
    assert call("images-in", tmp_path / "bomb.tgz") == 4
