"""What the commands do to a team: change its rule, and publish that at once where what it published still holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.cli import emit, safe, table

from .options import Opening, note_places

if TYPE_CHECKING:
    from ..lineup import Rule
    from ..public import Public
    from ..state import State


def change_team(
    depot: Path,
    state: State,
    team: str,
    *,
    add: Sequence[Public],
    remove: Sequence[str],
    threshold: int | None,
    opening: Opening,
    keys: Sequence[str],
    now: datetime,
    as_json: bool,
) -> None:
    """Change who signs for `team`, which is there already.

    Where the team has published something that would not hold under the new rule, to the last signature, the team
    signs it anew: the change then waits with that request.

    Raises:
        UsageError: there is no such team, or a number is out of range.
        SealiftError: as `publishing.delegate`, or a key does not open.
    """
    from ..changes import team_rule
    from ..lineup import changed
    from ..proposing import next_team
    from ..publishing import delegate, proposed, still_signed
    from ..repository import ROLE_DAYS, online_signer
    from .concluding import conclude

    rule = team_rule(state.targets, team)
    if rule is None:
        from sealift.errors import UsageError

        raise UsageError(
            f"there is no role {safe(team)[:40]}",
            hint=f"the roles are root, online, waiver and the teams; make a team: sealift-keys delegate {safe(team)}",
        )
    after = changed(rule, add=[public.key for public in add], remove=list(remove), threshold=threshold, role=team)
    note_places(depot, list(add))
    targets = proposed(depot, state, team, after, now)
    if team in state.teams and not still_signed(state, team, targets):
        request = next_team(state, team, now=now, days=ROLE_DAYS, rule=after)
        conclude(depot, request, keys=keys, opening=opening, now=now, as_json=as_json)
        return
    signer_for = online_signer(depot, opening.source, unsafe_unencrypted=opening.unsafe_unencrypted)
    delegate(depot, team, after, signer_for=signer_for, now=now)
    emit(team_document(team, after), as_json, team_text(team, after))


def team_document(team: str, rule: Rule) -> dict[str, object]:
    """A team as JSON."""
    return {
        "team": team,
        "releases": f"{team}/*",
        "threshold": rule.threshold,
        "keys": list(rule.ids),
        "published": True,
    }


def team_text(team: str, rule: Rule) -> str:
    """A team for a person."""
    rows = [(key.keyid, key.scheme) for key in rule.keys]
    return "\n".join(
        [
            f"{team} signs the releases {team}/*, and nothing else: {rule.threshold} of {len(rows)} keys",
            table(rows),
            "",
            "every site follows with the next bundle: sealift-bundle export",
        ]
    )
