"""A stranger's reader of bundle format 1, written from `docs/reference/format.md` alone.

It shares no code with Sealift, and is naive on purpose: it holds whole packs in memory and walks everything
twice. Tests use it as an oracle. It knows Ed25519 only, and begins from a root whose fingerprint it is given.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tarfile
import unicodedata
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Object = dict[str, Any]
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"(?!.*\.\.)[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
TEAM = re.compile(r"(?!(root|timestamp|snapshot|targets|waiver)$)[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
VERSION = re.compile(r"(?!.*\.\.)[0-9A-Za-z]([0-9A-Za-z.+_~-]{0,62}[0-9A-Za-z])?")
JSON = re.compile(r"\.json\Z")
FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\\\\\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
MEMBERS = [
    (r"SEALIFT\.json", 256 << 10),
    (r"metadata/([1-9][0-9]{0,15}\.)?[a-z0-9][a-z0-9_-]{0,63}\.json", 8 << 20),
    (r"manifests/[0-9a-f]{64}\.json", 16 << 20),
    (r"trees/[0-9a-f]{64}\.zst", 256 << 20),
    (r"index/[0-9a-f]{64}\.zst", 256 << 20),
    (r"packs/[0-9a-f]{64}\.zst", 1 << 30),
]
CAPS = {"root": 512 << 10, "timestamp": 64 << 10, "snapshot": 2 << 20, "targets": 5 << 20}


class RefusedError(Exception):
    """The bundle breaks a rule of the format."""


REFUSALS = (RefusedError, KeyError, ValueError, TypeError, tarfile.TarError, zstandard.ZstdError, zlib.error)
"""What `extract` raises: it does not translate what its libraries say."""


def need(condition: object, what: str) -> None:
    """Refuse unless `condition` holds."""
    if not condition:
        raise RefusedError(what)


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


# The container.


def header(name: str, size: int, time: int) -> bytes:
    """The one header of a member, from the table of the specification."""
    block = bytearray(512)
    block[0 : len(name)] = name.encode("ascii")
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = f"{size:011o}\0".encode()
    block[136:148] = f"{time:011o}\0".encode()
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    block[329:337] = block[337:345] = b"0000000\0"
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def members(bundle: Path) -> dict[str, bytes]:
    """Every member's content by name, in order; `tarfile` reads, and the raw bytes must be what it saw."""
    found: dict[str, bytes] = {}
    raw = bytearray()
    rank = -1
    with tarfile.open(bundle, "r:") as archive:
        for info in archive:
            need(info.isreg() and not info.pax_headers, f"{info.name} is no plain file")
            at = next((at for at, (form, _) in enumerate(MEMBERS) if re.fullmatch(form, info.name)), -1)
            need(at >= max(rank, 0) and (found or at == 0), f"{info.name} may not stand here")
            need(not (found and at == 0) and info.name not in found, f"{info.name} comes twice")
            need(0 < info.size <= MEMBERS[at][1], f"{info.name} has {info.size} bytes")
            file = archive.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
            raw += header(info.name, info.size, int(info.mtime)) + found[info.name] + bytes(-info.size % 512)
            rank = at
    need(bundle.read_bytes() == raw + bytes(1024), "the container is not in its one form")
    return found


# Metadata.


def canonical(value: Any) -> bytes:
    """OLPC canonical JSON."""
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    if isinstance(value, bool) or value is None:
        return json.dumps(value).encode()
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    assert isinstance(value, dict)
    return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in sorted(value)) + b"}"


def pairs(found: list[tuple[str, Any]]) -> Object:
    """A JSON object without a key twice."""
    need(len(dict(found)) == len(found), "a key comes twice")
    return dict(found)


def parse(content: bytes, cap: int = 16 << 20) -> Object:
    """Strict JSON: one object, integers from 0 to 2^53."""
    need(len(content) <= cap, "a document is too long")
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=pairs)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise RefusedError(f"no JSON: {error}") from error
    need(isinstance(value, dict), "no JSON object")
    rest = [value]
    while rest:
        one = rest.pop()
        need(not isinstance(one, float), "a number is no integer")
        need(not isinstance(one, int) or isinstance(one, bool) or 0 <= one <= 2**53, "a number is out of range")
        rest += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
    return value  # type: ignore[no-any-return]  # needed above to be a dict


def check_root(root: Object) -> None:
    """The rules for roots beyond TUF."""
    need(root["consistent_snapshot"] is True and set(root["roles"]) == set(CAPS), "not the four roles")
    terms = root.get("x-sealift", {})
    keys(terms, "", "purpose waiver")
    need(terms.get("purpose", "production") in ("production", "development"), "a root for something else")
    check_keys(root["keys"], [*root["roles"].values(), *([terms["waiver"]] if "waiver" in terms else [])])


def check_keys(found: Object, roles: list[Object]) -> None:
    """The rules for keys, and for roles that count them."""
    for keyid, key in found.items():
        need((key["keytype"], key["scheme"]) == ("ed25519", "ed25519"), "a key that this reader does not know")
        need(set(key["keyval"]) == {"public"} and DIGEST.fullmatch(key["keyval"]["public"]), "no ed25519 key")
        core = {part: key[part] for part in ("keytype", "keyval", "scheme")}
        need(digest(canonical(core)) == keyid, "a key id is not its key's digest")
    need(len({key["keyval"]["public"] for key in found.values()}) == len(found), "one key twice")
    for role in roles:
        need(len(set(role["keyids"])) == len(role["keyids"]), "a key id counts twice")
        need(set(role["keyids"]) <= set(found), "a role's key is missing")
        need(1 <= role["threshold"] <= len(role["keyids"]), "a threshold that cannot be met")


def signed(content: bytes, role: str, root: Object, version: int | None = None) -> Object:
    """The signed part of metadata, after enough keys of `root` (or of a delegator) were found to have signed it."""
    kind = role if role in CAPS else "targets"
    tree = parse(content, CAPS[kind])
    need(set(tree) == {"signed", "signatures"} and tree["signed"]["_type"] == kind, f"no {kind} metadata")
    ids = [signature["keyid"] for signature in tree["signatures"]]
    need(len(set(ids)) == len(ids), "signed twice under one key id")
    good = set()
    for signature in tree["signatures"]:
        need(set(signature) == {"keyid", "sig"}, "a signature with other fields")
        if signature["keyid"] in root["roles"][role]["keyids"]:
            key = Ed25519PublicKey.from_public_bytes(
                bytes.fromhex(root["keys"][signature["keyid"]]["keyval"]["public"])
            )
            try:
                key.verify(bytes.fromhex(signature["sig"]), canonical(tree["signed"]))
            except InvalidSignature:
                continue
            good.add(signature["keyid"])
    need(len(good) >= root["roles"][role]["threshold"], f"{role} is not signed by enough keys")
    need(version is None or tree["signed"]["version"] == version, f"{role} has another version")
    return tree["signed"]  # type: ignore[no-any-return]  # its fields are looked at one by one


def fresh(document: Object, now: datetime) -> None:
    """Refuse what has expired."""
    expires = datetime.strptime(document["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    need(now < expires, f"{document['_type']} expired")


def check_meta(meta: Object, content: bytes) -> None:
    """What a timestamp or a snapshot says of the next file."""
    need(meta.get("length", len(content)) >= len(content), "metadata has another length")
    need(meta.get("hashes", {}).get("sha256", digest(content)) == digest(content), "metadata has another digest")


def targets(held: dict[str, bytes], fingerprint: str, now: datetime) -> tuple[Object, int]:
    """The signed targets by path, and the version of the newest root."""
    names = [name for name in held if re.fullmatch(r"metadata/[0-9]+\.root\.json", name)]
    chain = sorted(int(name.split("/")[1].split(".")[0]) for name in names)
    need(chain == list(range(1, len(chain) + 1)) and chain, "the root chain has a gap")
    content = held["metadata/1.root.json"]
    need(digest(content) == fingerprint, "the first root is a stranger's")
    root = parse(content, CAPS["root"])["signed"]
    for version in chain:
        content = held[f"metadata/{version}.root.json"]
        new = parse(content, CAPS["root"])["signed"]
        check_root(new)
        signed(content, "root", root, version)
        purposes = {each.get("x-sealift", {}).get("purpose", "production") for each in (root, new)}
        need(len(purposes) == 1, "a root for another purpose")
        root = signed(content, "root", new, version)
    fresh(root, now)

    timestamp = signed(held["metadata/timestamp.json"], "timestamp", root)
    fresh(timestamp, now)
    meta = timestamp["meta"]["snapshot.json"]
    content = held[f"metadata/{meta['version']}.snapshot.json"]
    check_meta(meta, content)
    snapshot = signed(content, "snapshot", root, meta["version"])
    fresh(snapshot, now)
    meta = snapshot["meta"]["targets.json"]
    content = held[f"metadata/{meta['version']}.targets.json"]
    check_meta(meta, content)
    listed = signed(content, "targets", root, meta["version"])
    fresh(listed, now)
    need(set(timestamp["meta"]) == {"snapshot.json"}, "a timestamp names something else")
    teams = {name.removesuffix(".json") for name in snapshot["meta"]} - {"targets"}
    need(all(TEAM.fullmatch(team) for team in teams) and all(map(JSON.search, snapshot["meta"])), "no teams")
    check_listed(listed["targets"], None)
    found = dict(listed["targets"])
    for team, delegator in delegated(listed).items():
        if team in teams:
            meta = snapshot["meta"][f"{team}.json"]
            content = held[f"metadata/{meta['version']}.{team}.json"]
            check_meta(meta, content)
            own = signed(content, team, delegator, meta["version"])
            need("delegations" not in own, "a team delegates")
            fresh(own, now)
            check_listed(own["targets"], team)
            found |= own["targets"]
    return found, root["version"]


def delegated(listed: Object) -> dict[str, Object]:
    """The teams that targets delegate to, each with what says who signs for it."""
    said = listed.get("delegations")
    if said is None:
        return {}
    keys(said, "keys roles")
    check_keys(said["keys"], said["roles"])
    for rule in said["roles"]:
        keys(rule, "keyids name paths terminating threshold")
        need(TEAM.fullmatch(rule["name"]) and rule["terminating"] is True, "no team")
        need(rule["paths"] == [f"releases/{rule['name']}/*/*.json"], "a team with other paths")
    teams = {rule["name"]: {"keys": said["keys"], "roles": {rule["name"]: rule}} for rule in said["roles"]}
    need(len(teams) == len(said["roles"]) <= 512, "a team twice, or too many")
    return teams


def check_listed(paths: Object, team: str | None) -> None:
    """What one role may list."""
    for path in paths:
        check_path(path)
        parts = path.split("/")
        if team is None:
            need(not (len(parts) > 3 and fold(parts[0]) == "releases"), f"{path!a} is a team's")
        else:
            need(len(parts) == 4 and parts[:2] == ["releases", team], f"{path!a} is not the team's")
            version = parts[3].removesuffix(".json")
            need(JSON.search(path) and NAME.fullmatch(parts[2]) and VERSION.fullmatch(version), "no name or no version")
    need(len(set(map(fold, paths))) == len(paths), "targets collide")


# Names.


def check_path(path: str) -> None:
    """The rules for paths."""
    need(path and not FORBIDDEN.search(path) and len(path.encode()) <= 3072, f"{path!a} is no path")
    for component in path.split("/"):
        need(component not in ("", ".", "..") and len(component.encode()) <= 255, f"{path!a} is no path")


def check_link(path: str, target: str) -> None:
    """The rules for links."""
    what = f"link {path!a} leaves the tree"
    need(target and target[0] != "/" and not FORBIDDEN.search(target) and len(target.encode()) <= 3072, what)
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    need(".." not in parts[climbs:] and climbs <= path.count("/"), what)


def fold(name: str) -> str:
    """What two names may not have in common."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


# Manifests and listings.


def plain(value: object, *, by_key: bool) -> bytes:
    """JSON in canonical form."""
    return json.dumps(value, ensure_ascii=False, sort_keys=by_key, separators=(",", ":")).encode()


def keys(value: Object, wanted: str, optional: str = "") -> None:
    """Refuse missing and unknown keys."""
    have, must = set(value), set(wanted.split())
    need(must <= have <= must | set(optional.split()), f"an object has the keys {sorted(have)}")


def manifest(content: bytes, kind: str) -> Object:
    """A manifest in its one form."""
    tree = parse(content)
    need(tree.get("format") == 1 and tree.get("type") == kind, f"no {kind} manifest of format 1")
    need(plain(tree, by_key=True) == content, "a manifest is not in canonical form")
    return tree


def decompress(frame: bytes, size: int, reference: bytes = b"") -> bytes:
    """Exactly one frame that gives exactly `size` bytes, compressed with a reference or without."""
    need(
        frame[:4] == b"\x28\xb5\x2f\xfd" and not frame[4] & 0x0F, "no zstd frame, or one with a checksum or dictionary"
    )
    prefix = zstandard.ZstdCompressionDict(reference, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    tool = zstandard.ZstdDecompressor(max_window_size=8 << 20, dict_data=prefix if reference else None).decompressobj()
    content = tool.decompress(frame)
    need(tool.eof and not tool.unused_data and len(content) == size, "a frame does not hold what it should")
    return content


def lines(held: dict[str, bytes], kind: str, folder: str, blob: Object) -> tuple[list[Object], str]:
    """The lines of a listing after its heading, and the digest of its content."""
    keys(blob, "length sha256 size")
    file = held[f"{folder}/{blob['sha256']}.zst"]
    need((len(file), digest(file)) == (blob["length"], blob["sha256"]), f"{kind} {blob['sha256']} is damaged")
    content = decompress(file, blob["size"])
    need(content.endswith(b"\n"), "a listing ends in the middle of a line")
    found = [parse(line) for line in content[:-1].split(b"\n")]
    need(b"".join(plain(line, by_key=False) + b"\n" for line in found) == content, "a line is not in canonical form")
    need(found[0] == {"format": 1, "type": kind} and list(found[0]) == ["format", "type"], "another heading")
    return found[1:], digest(content)


ENTRY = ["path", "type", "mode", "size", "chunks", "sizes", "target"]
FRAME = ["pack", "offset", "length", "size", "sha256", "chunks"]


def check_entry(entry: Object) -> list[tuple[str, int]]:
    """The rules for one entry; its chunks with their sizes."""
    need(list(entry) == [key for key in ENTRY if key in entry], "keys out of order")
    need(all(value or key in ("path", "type") for key, value in entry.items()), "a default is spelled out")
    check_path(entry["path"])
    if entry["type"] == "dir":
        keys(entry, "path type mode")
        need(entry["mode"] == "0755", "a folder has another mode")
        return []
    if entry["type"] == "link":
        keys(entry, "path type target")
        check_link(entry["path"], entry["target"])
        return []
    need(entry["type"] == "file" and entry.get("mode") in ("0644", "0755"), "no type or no mode")
    keys(entry, "path type mode", "size chunks sizes")
    chunks, size = entry.get("chunks", []), entry.get("size", 0)
    sizes = entry["sizes"] if len(chunks) > 1 else [size] * len(chunks)
    need(("sizes" in entry) == (len(chunks) > 1) and len(sizes) == len(chunks), "sizes do not fit")
    need(sum(sizes) == size <= 2**50 and all(0 < each <= 8 << 20 for each in sizes), "sizes do not fit")
    need(all(DIGEST.fullmatch(chunk) for chunk in chunks), "no digest")
    return list(zip(chunks, sizes, strict=True))


def check_order(entries: list[Object]) -> None:
    """The rules for the entries of a tree together."""
    places = [entry["path"].encode().replace(b"/", b"\0") for entry in entries]
    need(all(one < next_ for one, next_ in itertools.pairwise(places)), "entries out of order")
    folders = {""} | {entry["path"] for entry in entries if entry["type"] == "dir"}
    taken = set()
    for entry in entries:
        parent, _, name = entry["path"].rpartition("/")
        need(parent in folders, f"{entry['path']!a} lies in no folder")
        need((parent, fold(name)) not in taken, f"{entry['path']!a} collides")
        taken.add((parent, fold(name)))


@dataclass(frozen=True)
class Base:
    """A release that was extracted before."""

    manifest: str
    """The digest of its manifest."""
    trees: dict[str, list[Object]]
    """The lines of each artifact's tree."""
    chunks: dict[str, bytes]
    """Its chunks in the order of their numbers."""


def changed_tree(held: dict[str, bytes], artifact: Object, blob: Object, bases: list[Base]) -> list[Object]:
    """The lines of a tree that a difference gives."""
    edits, _ = lines(held, "tree-difference", "trees", blob)
    before: list[Object] = []
    found: list[Object] = []
    for at, line in enumerate(edits):
        if "path" in line:
            found.append(line)
        elif at == 0 and list(line) == ["base", "artifact"]:
            before = list(bases[line["base"]].trees[line["artifact"]])
        else:
            keys(line, "", "keep skip")
            (count,) = line.values()
            need(0 < count <= len(before), "a tree difference does not fit to its base")
            found += before[:count] if "keep" in line else []
            del before[:count]
    text = b"".join(plain(line, by_key=False) + b"\n" for line in [{"format": 1, "type": "tree"}, *found])
    need((len(text), digest(text)) == (artifact["tree"]["size"], artifact["digest"]), "a difference gives another tree")
    return found


def referred(frame: Object, bases: list[Base]) -> bytes:
    """The reference content of a frame."""
    parts = []
    need(len(frame.get("reference", [])) <= 1024, "a reference has too many runs")
    for base, first, count in frame.get("reference", []):
        chunks = list(bases[base].chunks.values())
        need(first >= 0 and 0 < count <= len(chunks) - first, "a reference to what no base has")
        parts += chunks[first : first + count]
    content = b"".join(parts)
    need("reference" not in frame or 8 <= len(content) <= 8 << 20, "a reference is too long or too short")
    return content


def probe(said: Object) -> str:
    """The digest of what a setting gives for the content of the probe."""
    long = b"".join(hashlib.sha256(b"sealift probe %d" % number).digest() for number in range(2048))
    words = [long[16 * i : 16 * i + 2 + 16 * i % 11].hex().encode() for i in range(512)]
    text = b" ".join(words[(long[2 * j] * long[2 * j + 1] >> 7) % 512] for j in range(32768))[:196_608]
    return digest(deflated(text, said))


def deflated(content: bytes, said: Object) -> bytes:
    """What a setting makes of a content."""
    tool = zlib.compressobj(said["level"], zlib.DEFLATED, -said["window"], said["memory"], said["strategy"])
    return tool.compress(content) + tool.flush()


def setting(said: Object) -> Object:
    """A setting that this zlib knows and obeys."""
    keys(said, "level memory strategy window probe")
    ranges = {"level": range(1, 10), "memory": range(1, 10), "strategy": range(5), "window": range(9, 16)}
    need(all(said[name] in values for name, values in ranges.items()), "no setting of zlib")
    need(probe(said) == said["probe"], "this zlib deflates otherwise")
    return said


def old_material(recipe: Object, bases: list[Base]) -> bytes:
    """What a recipe makes of its source."""
    source = b""
    for base, first, count in recipe.get("source", []):
        chunks = list(bases[base].chunks.values())
        need(first >= 0 and 0 < count <= len(chunks) - first, "a source that no base has")
        source += b"".join(chunks[first : first + count])
    made = []
    for piece in recipe.get("old", []):
        place, size, *rest = piece
        need(len(piece) in (2, 3) and place >= 0 and min(size, *rest, 1) > 0, "no piece of old material")
        content = source[place : place + size]
        need(len(content) == size, "old material from beyond the source")
        if rest:
            need(rest[0] <= 128 * size + 1024, "old material without bound")
            content = zlib.decompressobj(-15).decompress(content, rest[0])
            need(len(content) == rest[0], "an old member that is too short")
        made.append(content)
    return b"".join(made)


def made_by(recipe: Object, material: bytes, settings: list[Object]) -> bytes:
    """The bytes that a recipe makes of its material."""
    made = []
    for piece in recipe["pieces"]:
        size, *rest = piece
        content, material = material[:size], material[size:]
        need(len(piece) in (1, 3) and size > 0 and len(content) == size, "no piece of material")
        if rest:
            need(size <= 128 * rest[0] + 1024, "material without bound")
            content = deflated(content, settings[rest[1]])
            need(len(content) == rest[0], "a member that does not deflate to its size")
        made.append(content)
    need(not material, "more material than pieces")
    return b"".join(made)


def subtracted_from(reference: bytes, raw: bytes, sizes: list[int], size: int) -> bytes:
    """The content of a frame that is a subtraction from its reference content."""
    need(len(sizes) == 4 and 1 <= sizes[0] <= 1 << 20, "a subtraction has other streams")
    need(0 <= sizes[2] <= sizes[1] <= size and 0 <= sizes[3] <= size, "a stream is too long")
    streams = []
    for number, length in enumerate(sizes):
        tool = zstandard.ZstdDecompressor().decompressobj()  # only to find where the next frame starts
        if number < 3 and length:
            tool.decompress(raw)
            here, raw = raw[: len(raw) - len(tool.unused_data)], tool.unused_data
            streams.append(decompress(here, length))
        else:
            streams.append(decompress(raw, length, reference) if length else b"")
            raw = b"" if number == 3 and length else raw
    need(not raw, "something follows the streams")
    instructions, gaps, values, literals = streams
    numbers = []
    while instructions:
        count = next((place for place, byte in enumerate(instructions) if byte < 128), 9) + 1
        need(count <= 4, "a number has no end")
        numbers.append(sum((byte & 127) << 7 * place for place, byte in enumerate(instructions[:count])))
        instructions = instructions[count:]
    need(len(numbers) % 3 == 0, "an instruction has no end")
    content = b""
    shift = 0
    for literal, count, move in zip(*[iter(numbers)] * 3, strict=True):
        need(literal <= len(literals) and count > 0, "there are too few literals")
        content, literals = content + literals[:literal], literals[literal:]
        shift += -(move // 2) - 1 if move % 2 else move // 2
        start = len(content) + shift
        need(start >= 0 and start + count <= len(reference), "an instruction takes what is not there")
        content += reference[start : start + count]
    content += literals
    need(len(content) == size, "a subtraction gives another size")
    changed = bytearray(content)
    place = 0
    for gap in gaps:
        place += gap
        if gap < 255:
            need(place < size and bool(values), "a value has no place, or a place no value")
            changed[place] = (changed[place] + values[0]) % 256
            values = values[1:]
            place += 1
    need(place <= size and not values, "values are left")
    return bytes(changed)


def chunks_of(held: dict[str, bytes], part: Object, sizes: dict[str, int], bases: list[Base]) -> dict[str, bytes]:
    """Every chunk of a part by its digest; `sizes` has them in the order of their numbers."""
    numbered = list(sizes)
    there = {name: base.chunks[name] for base in bases for name in sizes if name in base.chunks}
    listed, _ = lines(held, "difference" if bases else "index", "index", part["index"])
    packs = []
    for blob in part["packs"]:
        keys(blob, "length sha256")
        pack = held[f"packs/{blob['sha256']}.zst"]
        need((len(pack), digest(pack)) == (blob["length"], blob["sha256"]), f"pack {blob['sha256']} is damaged")
        packs.append(pack)
    ends = [0] * len(packs)
    last = 0
    found: dict[str, bytes] = {}

    def content_of(frame: Object, reference: bytes) -> bytes:
        nonlocal last
        which, start, length = frame["pack"], frame["offset"], frame["length"]
        need(last <= which < len(packs) and start == ends[which] and length > 0, "frames overlap or leave a gap")
        last, ends[which] = which, start + length
        raw = packs[which][start : start + length]
        need(digest(raw) == frame["sha256"] and 0 < frame["size"] <= 8 << 20, "a frame is damaged")
        if "subtraction" in frame:
            return subtracted_from(reference, raw, frame["subtraction"], frame["size"])
        need(zstandard.frame_content_size(raw) == frame["size"], "a frame does not state its size")
        return decompress(raw, frame["size"], reference)

    def take(content: bytes, runs: list[tuple[int, int]], *, holes: bool) -> None:
        at = 0
        for first, count in runs:
            need(count > 0 and (first >= 0 or (holes and first == -1)), "an empty run")
            if first < 0:
                at += count
                continue
            for name in numbered[first : first + count]:
                piece = content[at : at + sizes[name]]
                need(name not in found | there and digest(piece) == name, f"chunk {name} is damaged or comes twice")
                found[name] = piece
                at += len(piece)
        need(at == len(content), "a frame holds more than its chunks")

    settings: list[Object] = []
    waiting = iter(listed)
    for line in waiting:
        if bases and "level" in line:
            settings.append(setting(line))
        elif bases and "makes" in line:
            keys(line, "makes frames pieces", "source old")
            old = old_material(line, bases)
            material = b""
            for frame in itertools.islice(waiting, line["frames"]):
                forms = [FRAME, [*FRAME, "window"], [*FRAME, "subtraction", "window"]]
                need(list(frame) in forms and not frame["chunks"], "no frame of a recipe")
                start, size = frame.get("window", (0, 0))
                window = old[start : start + size]
                need("window" not in frame or 8 <= size == len(window) <= 8 << 20, "no window on old material")
                material += content_of(frame, window)
            take(made_by(line, material, settings), line["makes"], holes=True)
        else:
            forms = [FRAME, [*FRAME, "reference"], [*FRAME, "reference", "subtraction"]] if bases else [FRAME]
            need(list(line) in forms, "a frame has other keys")
            take(content_of(line, referred(line, bases)), line["chunks"], holes=False)
    found |= there
    need(ends == [len(pack) for pack in packs] and len(found) == len(sizes), "the index does not cover everything")
    return {name: found[name] for name in sizes}


# All of it.


def extract(
    bundle: Path, fingerprint: str, now: datetime, out: Path, known: dict[str, Base] | None = None
) -> list[str]:
    """Check `bundle` wholly, and write its trees to `out/<name>@<version>/<artifact>`; return the releases.

    `known` are those that were extracted before, which differences may refer to; these are added.

    Raises:
        REFUSALS: it breaks the format.
    """
    held = members(bundle)
    listed, root_version = targets(held, fingerprint, now)
    mine = [
        name
        for name in held
        if name.startswith("manifests/") and f"bundles/{name.removeprefix('manifests/')}" in listed
    ]
    need(len(mine) == 1, "not exactly one bundle manifest")
    content = held[mine[0]]
    check_target(listed[f"bundles/{mine[0].removeprefix('manifests/')}"], content, mine[0])
    box = manifest(content, "bundle")
    keys(box, "format parts root_version type", "audience")
    sites = box.get("audience", [""])
    need(0 < len(sites) <= 1000 and sites == sorted(set(sites)), "an audience that is not in order")
    need("audience" not in box or all(map(NAME.fullmatch, sites)), "no name of a site")
    need(box["root_version"] == root_version and 0 < len(box["parts"]) <= 1024, "a root is missing")
    expected = {mine[0]}
    labels = []
    for part in box["parts"]:
        keys(part, "index packs release", "base trees")
        labels.append(extract_part(held, part, listed, out, expected, {} if known is None else known))
    need(len(set(labels)) == len(labels), "a release comes twice")
    strays = {name for name in held if not re.match("SEALIFT|metadata/", name)} ^ expected
    need(not strays, f"members without a manifest, or the other way round: {strays}")
    return labels


def check_target(target: Object, content: bytes, name: str) -> None:
    """What targets metadata says of a manifest."""
    need((target["length"], target["hashes"]["sha256"]) == (len(content), digest(content)), f"{name} is not as signed")
    need(name == f"manifests/{digest(content)}.json", f"{name} bears another digest")


def bases_of(part: Object, known: dict[str, Base]) -> list[Base]:
    """The bases of a difference; none of a whole part."""
    need(("base" in part) == ("trees" in part) and len(part.get("base", [0])) in range(1, 9), "base without trees")
    found = []
    for said in part.get("base", []):
        keys(said, "length name sha256 version")
        label = f"{said['name']}@{said['version']}"
        need(label in known and known[label].manifest == said["sha256"], f"{label} is not held here")
        found.append(known[label])
    need(len({id(base) for base in found}) == len(found), "a base comes twice")
    return found


def extract_part(
    held: dict[str, bytes], part: Object, listed: Object, out: Path, expected: set[str], known: dict[str, Base]
) -> str:
    """One release; its members are added to `expected`, and itself to `known`."""
    bases = bases_of(part, known)
    said = part["release"]
    keys(said, "length name sha256 version")
    name = f"manifests/{said['sha256']}.json"
    need(len(held[name]) == said["length"], "a manifest has another length")
    check_target(listed[f"releases/{said['name']}/{said['version']}.json"], held[name], name)
    release = manifest(held[name], "release")
    keys(release, "artifacts format name type version", "hooks provenance")
    need((release["name"], release["version"]) == (said["name"], said["version"]), "another release")
    team, slash, own = release["name"].rpartition("/")
    need(not slash or TEAM.fullmatch(team), "no namespace")
    need(NAME.fullmatch(own) and VERSION.fullmatch(release["version"]), "no name or no version")
    label = f"{release['name']}@{release['version']}"
    sizes: dict[str, int] = {}
    trees: list[tuple[Path, list[Object]]] = []
    names = [artifact["name"] for artifact in release["artifacts"]]
    need(names and names == sorted(set(names)), "artifacts out of order")
    need(not bases or len(part["trees"]) == len(release["artifacts"]), "not one tree for each artifact")
    for at, artifact in enumerate(release["artifacts"]):
        keys(artifact, "bytes digest files kind name tree")
        need(
            artifact["kind"] in ("files", "oci", "wheels", "npm", "debs") and NAME.fullmatch(artifact["name"]),
            "no artifact",
        )
        if bases:
            entries, blob = changed_tree(held, artifact, part["trees"][at], bases), part["trees"][at]
        else:
            entries, identity = lines(held, "tree", "trees", artifact["tree"])
            need(identity == artifact["digest"], "a tree has another digest")
            blob = artifact["tree"]
        for entry in entries:
            for chunk, size in check_entry(entry):
                need(sizes.setdefault(chunk, size) == size, "one chunk has two sizes")
        check_order(entries)
        files = [entry for entry in entries if entry["type"] == "file"]
        total = sum(entry.get("size", 0) for entry in files)
        need((len(files), total) == (artifact["files"], artifact["bytes"]), "a tree does not hold what it should")
        trees.append((out / label.replace("/", "~") / artifact["name"], entries))
        expected.add(f"trees/{blob['sha256']}.zst")
    content = chunks_of(held, part, sizes, bases)
    known[label] = Base(
        said["sha256"],
        {artifact["name"]: lines for artifact, (_, lines) in zip(release["artifacts"], trees, strict=True)},
        content,
    )
    if "provenance" in release:
        expected.add(provenance_of(held, release))
    expected |= {name, f"index/{part['index']['sha256']}.zst"} | {f"packs/{p['sha256']}.zst" for p in part["packs"]}
    for folder, entries in trees:
        write(folder, entries, content)
    return label


def provenance_of(held: dict[str, bytes], release: Object) -> str:
    """The member that says where a release came from, once it was checked."""
    blob = release["provenance"]
    keys(blob, "length sha256")
    name = f"manifests/{blob['sha256']}.json"
    need((len(held[name]), digest(held[name])) == (blob["length"], blob["sha256"]), "the provenance is not as signed")
    return name


def write(folder: Path, entries: list[Object], content: dict[str, bytes]) -> None:
    """A tree on disk."""
    folder.mkdir(parents=True)
    for entry in entries:
        path = folder / entry["path"]
        if entry["type"] == "dir":
            path.mkdir()
        elif entry["type"] == "link":
            os.symlink(entry["target"], path)
        else:
            path.write_bytes(b"".join(content[chunk] for chunk in entry.get("chunks", [])))
            path.chmod(int(entry["mode"], 8))
