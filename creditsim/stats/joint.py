"""Verdicts on several statements: all of them, one in two regimes, a whole ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from creditsim.errors import InputError
from creditsim.stats.intervals import check_alpha
from creditsim.stats.multiple import holm
from creditsim.stats.verdict import Evidence, Verdict

__all__ = ["adjudicate", "all_of", "conditional"]


def all_of(parts: Mapping[str, Evidence], *, alpha: float = 0.05, note: str = "") -> Evidence:
    """Every part holds: supported where each part is at `alpha`, refuted where one is at alpha / (number of parts).

    A false statement has a false part, which must be wrongly supported; a true one has only true parts. The numbers
    shown are those of the part that decides, the others are in `detail`. Give parts made from functions of alpha: one
    made from a single interval cannot refute. Errors: InputError for no part, or a conditional one.
    """
    if not parts:
        raise InputError("parts", "none", "at least one")
    if any(part.parts for part in parts.values()):
        raise InputError("parts", "a conditional statement", "its two regimes, one by one")
    p_supported = max(part.p_supported for part in parts.values())
    p_refuted = min(1.0, len(parts) * min(part.p_refuted for part in parts.values()))
    verdict: Verdict = "supported" if p_supported <= alpha else "refuted" if p_refuted <= alpha else "inconclusive"
    critical = (
        min(parts, key=lambda name: parts[name].p_refuted)
        if verdict == "refuted"
        else max(parts, key=lambda name: parts[name].p_supported)
    )
    detail = {"critical": critical, **{name: part.detail for name, part in parts.items()}}
    exact = all(part.alpha == 0.0 for part in parts.values())
    return replace(
        parts[critical], kind="all_of", alpha=0.0 if exact else alpha, verdict=verdict,
        p_supported=p_supported, p_refuted=p_refuted, detail=detail, note=note,
    )  # fmt: skip


def conditional(inside: Evidence, outside: Evidence, *, note: str = "") -> Evidence:
    """A statement checked in the regime it is said to hold in, and outside it.

    inside supported, outside refuted: conditional. Both supported: supported. Inside refuted: refuted. Else
    inconclusive. The numbers shown are those inside; `parts` keeps both.
    """
    verdicts = (inside.verdict, outside.verdict)
    if verdicts == ("supported", "refuted"):
        verdict: Verdict = "conditional"
    elif inside.verdict == "refuted":
        verdict = "refuted"
    else:
        verdict = "supported" if verdicts == ("supported", "supported") else "inconclusive"
    return replace(inside, kind="conditional", verdict=verdict, note=note, parts=(inside, outside))


def adjudicate(ledger: Mapping[str, Evidence], *, alpha: float = 0.05) -> dict[str, Evidence]:
    """Decide all statements together: P(any wrong verdict in the ledger) <= alpha, whatever their dependence.

    A wrong "supported" rejects a true "the statement is false"; a wrong "refuted" rejects a true "the statement is
    true". Holm runs over each of these two families at alpha/2. (One Holm run over the smaller p of each statement does
    not control wrong verdicts: a statement already decided keeps a true hypothesis, so its share may not be passed on.)
    Exact evidence has p-values 0 and 1 and takes no share; the regimes of a conditional statement count one by one.
    Each evidence comes back with its verdict at the family level and `detail` entries adjusted_p_supported,
    adjusted_p_refuted, family_alpha.
    """
    flat = [part for evidence in ledger.values() for part in (evidence.parts or (evidence,))]
    support = holm([part.p_supported for part in flat], alpha=check_alpha(alpha) / 2.0)
    refute = holm([part.p_refuted for part in flat], alpha=alpha / 2.0)
    decided = []
    for i, part in enumerate(flat):
        verdict: Verdict = "supported" if support.reject[i] else "refuted" if refute.reject[i] else "inconclusive"
        adjusted = {
            "adjusted_p_supported": float(support.adjusted[i]),
            "adjusted_p_refuted": float(refute.adjusted[i]),
            "family_alpha": alpha,
        }
        decided.append(replace(part, verdict=verdict, detail={**part.detail, **adjusted}))
    rest = iter(decided)
    out = {}
    for name, evidence in ledger.items():
        if evidence.parts:
            out[name] = conditional(next(rest), next(rest), note=evidence.note)
        else:
            out[name] = next(rest)
    return out
