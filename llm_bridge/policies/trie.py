"""Commands as a prefix tree of tokens: what they share is put through the model once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Trie", "build_trie"]


@dataclass(frozen=True)
class Trie:
    """K nodes below a root (the prompt's last token), E edges out of root and nodes, C commands.

    Node j carries `token[j]`, stands `depth[j]` tokens behind the prompt (from 0), and sees itself and its ancestors:
    `sees[j]`. Edge e asks for the log-probability of `edge_token[e]` after place `edge_place[e]` (0: the root, j + 1:
    node j), in ascending order of places. Command c is the sum over the edges `path[c]`; E stands for none.
    """

    token: np.ndarray
    depth: np.ndarray
    sees: np.ndarray
    edge_place: np.ndarray
    edge_token: np.ndarray
    path: np.ndarray
    length: np.ndarray
    """(C,) tokens of each command, the end token included."""


def build_trie(commands: Sequence[Sequence[int] | np.ndarray], end: int) -> Trie:
    """Merge token sequences that begin alike; each command ends with the token `end`, so none is another's prefix."""
    children: dict[tuple[int, int], int] = {}
    parents, tokens, depths = [], [], []
    walks = []
    for command in commands:
        place = 0
        walk = []
        for token in command:
            key = (place, int(token))
            walk.append(key)
            if key not in children:
                parents.append(place)
                tokens.append(token)
                depths.append(len(walk) - 1)
                children[key] = len(tokens)
            place = children[key]
        walks.append([*walk, (place, int(end))])
    edges = sorted({key for walk in walks for key in walk})
    number = {key: i for i, key in enumerate(edges)}
    path = np.full((len(walks), max(len(walk) for walk in walks)), len(edges), np.int64)
    for c, walk in enumerate(walks):
        path[c, : len(walk)] = [number[key] for key in walk]
    sees = np.eye(len(tokens), dtype=bool)
    for j, parent in enumerate(parents):
        if parent:
            sees[j] |= sees[parent - 1]
    return Trie(
        np.asarray(tokens, np.int64),
        np.asarray(depths, np.int64),
        sees,
        np.asarray([key[0] for key in edges], np.int64),
        np.asarray([key[1] for key in edges], np.int64),
        path,
        np.asarray([len(walk) for walk in walks], np.int64),
    )
