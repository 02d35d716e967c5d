"""What the labels of the report mean."""

from __future__ import annotations

__all__ = ["GLOSSARY", "SOURCES"]

SOURCES = {
    "paper": "the statement was read in the paper itself",
    "code": "the statement was read in the published code",
    "notes": "the statement was read in reading notes about the paper, not in the paper itself",
    "inferred": "the statement is inferred here from the method's formulas; nobody is quoted",
}

GLOSSARY = (
    (
        "supported",
        "The interval lies inside what the statement allows: an equivalence test. "
        "Failing to find a difference supports nothing.",
    ),
    ("refuted", "The interval lies outside what the statement allows."),
    ("conditional", "Supported in the regime that the row names, refuted outside it; the row shows both."),
    ("inconclusive", "The interval meets both sides; more replicates are needed."),
    ("exact", "Computed by enumeration or algebra: no sampling error, only a stated tolerance for rounding."),
    ("alpha", "Probability that the interval shown misses the truth. The ledger's verdicts are decided together."),
    ("adjusted p", "The p-value behind the verdict after Holm's correction over the whole ledger."),
    ("n", "Independent replicates behind a sampled number."),
    (
        "broken twin",
        "The same check applied to something deliberately wrong. It must be refuted, or the check cannot say no.",
    ),
    ("control", "A repaired statement that the same check must support, where the claim itself is refuted."),
    ("critical entry", "Of several numbers that must all agree, the one that decides."),
    *((f"source: {name}", meaning[0].upper() + meaning[1:] + ".") for name, meaning in SOURCES.items()),
    ("estimator@preset", "An estimator with the conventions of a paper or library, such as grpo@verl."),
)
