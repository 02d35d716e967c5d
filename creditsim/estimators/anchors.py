"""Clusters of similar observation texts: the sequential search of GiGPO's similarity mode."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np

from creditsim.arrays import Array, namespace, to_numpy
from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize

__all__ = ["similar_anchors"]


def similar_anchors(rollouts: Rollouts, threshold: float) -> tuple[Array, int]:
    """Cluster the observations of each group by similarity to the first member of a cluster.

    Returns ids (M,), dense over all groups in order of first appearance, and their number. The search is over the
    distinct observations of a group in order of first appearance: a text seen again finds the cluster it found before,
    because clusters are tried in the order in which they were opened. It runs on the host.
    Errors: InputError for a threshold outside (0, 1] and for observations without texts.
    """
    if not 0.0 < threshold <= 1.0:
        raise InputError("threshold", threshold, "0 < threshold <= 1")
    texts = _texts(rollouts)
    anchor, n = factorize(rollouts.group_rows, rollouts.observation)
    on_host = to_numpy(anchor)
    first = np.unique(on_host, return_index=True)[1]
    group = to_numpy(rollouts.group_rows)[first].tolist()
    observation = to_numpy(rollouts.observation)[first].tolist()
    matchers: dict[int, SequenceMatcher[str]] = {}
    heads: dict[int, list[tuple[int, int]]] = {}
    cluster = np.empty(n, np.int64)
    known: dict[tuple[int, int], bool] = {}
    opened = 0
    for j in range(n):
        clusters = heads.setdefault(group[j], [])
        for head, identity in clusters:
            pair = (observation[j], head)
            if pair not in known:
                known[pair] = _similar(matchers[head], texts[observation[j]], threshold)
            if known[pair]:
                cluster[j] = identity
                break
        else:
            clusters.append((observation[j], opened))
            # The matcher prepares its second text; as the head of a cluster that text is met again and again.
            matchers.setdefault(observation[j], SequenceMatcher(None, "", texts[observation[j]]))
            cluster[j] = opened
            opened += 1
    return namespace(anchor).asarray(cluster)[anchor], opened


def _similar(matcher: SequenceMatcher[str], text: str, threshold: float) -> bool:
    matcher.set_seq1(text)
    # The two quick ratios are upper bounds of the ratio.
    return (
        matcher.real_quick_ratio() >= threshold and matcher.quick_ratio() >= threshold and matcher.ratio() >= threshold
    )


def _texts(rollouts: Rollouts) -> list[str]:
    labels = rollouts.labels.get("observation")
    if labels is None:
        raise InputError(
            "observation", "ids without labels", "texts: build the rollouts with from_steps(observation=...)"
        )
    texts = to_numpy(labels).tolist()
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError("observation", f"the label {wrong!r}", "texts")
    return texts
