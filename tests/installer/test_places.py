"""What tells places apart that people call the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from installer.balancers.haproxy import HAProxy
from installer.balancers.nginx import Nginx
from installer.storage.store import Store
from installer.target import Workplace, owned_place
from installer.targets import bucket
from sealift.progress import Silent


@pytest.mark.parametrize(
    ("address", "one", "other"),
    [
        ("az://$web/", {"account": "production"}, {"account": "staging"}),
        ("s3://releases/", {"endpoint": "https://one.site.local"}, {"endpoint": "https://other.site.local"}),
    ],
    ids=["accounts", "endpoints"],
)
def test_a_bucket_of_the_same_name_elsewhere(
    tmp_path: Path, address: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """It is another place, and an environment may have it although another environment has its namesake."""
    workplace = Workplace(
        store=Store(tmp_path), workers=1, progress=Silent(), environment="plant-7", rooms=tmp_path / "rooms"
    )
    left, right, same = (bucket.target({"bucket": address, **more}, workplace) for more in (one, other, one))
    assert left.place == right.place
    assert owned_place(left) == owned_place(same) != owned_place(right)


def test_a_proxy_whose_backend_has_the_same_name(tmp_path: Path) -> None:
    """Two proxies are two places."""
    slots = {"blue": "127.0.0.1:1", "green": "127.0.0.1:2"}
    proxies = [HAProxy({"socket": f"/run/{name}.sock", "backend": "shop"}, tuple(slots)) for name in "ab"]
    assert proxies[0].place == proxies[1].place
    assert proxies[0].owns != proxies[1].owns
    upstreams = [Nginx({"file": f"/etc/nginx/{name}", "upstream": "shop"}, slots, tmp_path) for name in "ab"]
    assert upstreams[0].place == upstreams[1].place
    assert upstreams[0].owns != upstreams[1].owns
