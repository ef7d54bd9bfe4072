"""Requests to a store that no library of ours makes: AWS's signature 4, and Azure's shared key, in a few lines each."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import http.client
import urllib.parse


def signed(
    method: str, url: str, user: str, secret: str, body: bytes = b"", region: str = "us-east-1"
) -> tuple[int, bytes]:
    """The status and the body of an answer to a request that bears AWS's signature 4."""
    address = urllib.parse.urlsplit(url)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": address.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    query = "&".join(sorted(part if "=" in part else f"{part}=" for part in address.query.split("&") if part))
    lines = [method, address.path, query, *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    asked = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    signature = hmac.new(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{asked}".encode(), "sha256").hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={user}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return _send(method, address, body, headers)


def make_container(endpoint: str, account: str, key: str, name: str) -> tuple[int, bytes]:
    """The status and the body of an answer to a request for a new container of Azure's."""
    date = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items()))]
    asked = "\n".join(lines) + f"\n/{account}/{account}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(key), asked.encode(), "sha256").digest()).decode()
    headers["Authorization"] = f"SharedKey {account}:{signature}"
    return _send("PUT", urllib.parse.urlsplit(f"{endpoint}/{name}?restype=container"), b"", headers)


def shared_access(account: str, key: str) -> str:
    """A signature that lets its bearer read and list every blob of an account for an hour (Azure's account SAS)."""
    until = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {"sv": "2021-08-06", "ss": "b", "srt": "sco", "sp": "rl", "se": until, "spr": "https,http"}
    asked = [account, fields["sp"], fields["ss"], fields["srt"], "", until, "", fields["spr"], fields["sv"], "", ""]
    digest = hmac.new(base64.b64decode(key), "\n".join(asked).encode(), "sha256").digest()
    return urllib.parse.urlencode({**fields, "sig": base64.b64encode(digest).decode()})


def _send(method: str, address: urllib.parse.SplitResult, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    try:
        path = address.path + (f"?{address.query}" if address.query else "")
        connection.request(method, path, body or None, {**headers, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
