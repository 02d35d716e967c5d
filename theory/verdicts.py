"""verdicts.json: what the last run decided, whole or absent, refused when a newer creditsim wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from creditsim.errors import CorruptFileError, InputError
from creditsim.store import replace_file
from creditsim.study.provenance import provenance
from theory.claim import CLAIMS, Size
from theory.ledger import FAMILY_ALPHA, ROW_ALPHA, Row

__all__ = ["NAME", "SCHEMA", "Verdicts", "read", "write"]

NAME = "verdicts.json"
SCHEMA = 1


@dataclass(frozen=True)
class Verdicts:
    """The last run: its size and one JSON object per claim, as `Row`."""

    size: Size = "quick"
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def decided(self) -> dict[str, str]:
        """Claim id -> verdict."""
        return {name: row["verdict"] for name, row in self.claims.items()}


def read(folder: Path) -> Verdicts | None:
    """Return what the folder's last run decided, None where there was none.

    Errors: InputError for a newer schema, CorruptFileError for a file that is no such file.
    """
    path = Path(folder) / NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema, size = data["schema"], data["size"]
        claims = {row["id"]: {"verdict": row["verdict"], **row} for row in data["claims"]}
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise InputError("out", repr(str(folder)), "a folder; this is a file") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(
            str(path), type(error).__name__, "verdicts that `creditsim reproduce` wrote; delete it to start anew"
        ) from None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(str(path), f"results of schema {schema}", f"schema {SCHEMA} or older; update creditsim")
    return Verdicts(size, claims)


def write(folder: Path, size: Size, rows: Sequence[Row], failed: Mapping[str, str], before: Verdicts | None) -> Path:
    """Write the verdicts of a run; claims that a partial run left out keep their last row, marked as `carried`."""
    here = {row.id for row in rows}
    kept = before.claims.values() if before else ()
    carried = [{**row, "carried": True} for row in kept if row["id"] not in here and row["id"] in CLAIMS]
    data = {
        "schema": SCHEMA,
        "size": size,
        "family_alpha": FAMILY_ALPHA,
        "row_alpha": ROW_ALPHA,
        "counts": dict(Counter(row.verdict for row in rows)),
        "failed": dict(failed),
        "provenance": provenance(),
        "claims": sorted([*(asdict(row) for row in rows), *carried], key=lambda row: row["id"]),
    }
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    path = Path(folder) / NAME
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
