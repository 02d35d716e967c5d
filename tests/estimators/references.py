"""Second derivations of the batch methods: slow, plain, one episode after the other, from the papers' definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from reference_cases import Episode, Told, batch_of, by, flat, group_of, mean, standard, std, to_rows

from creditsim.rollouts import Rollouts

__all__ = ["a2tgpo", "a_grae", "agree", "canon", "combined", "copo", "igpo", "seeupo", "steppo"]


def copo(
    episodes: Sequence[Episode],
    *,
    sharpness: float = 5.0,
    midpoint: float = 1.0,
    gate: str = "soft-with-zero",
    consistency: bool = False,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_entropy: float = 0.0,
    singleton: str = "zero",
) -> Told:
    """Local and global advantage and blend; the global one is over prompts, each counted once."""

    def entropy(members: Sequence[Episode]) -> float:
        out = 0.0
        for label in {e.answer for e in members}:
            share = sum(e.answer == label for e in members) / len(members)
            out -= share * math.log2(share + eps_entropy)
        return out

    def prompt_reward(members: Sequence[Episode]) -> float:
        n = len(members)
        plain = mean([e.score for e in members])
        if not consistency or n == 1:
            return plain
        return plain * (1.0 - (1.0 - 1.0 / n) / math.log2(n) * entropy(members))

    def local(i: int) -> float:
        scores = [e.score for e in group_of(episodes, episodes[i])]
        return standard(episodes[i].score, scores, ddof, eps, raw=singleton == "raw")

    def across(i: int) -> float:
        prompts = by(lambda e: e.group, batch_of(episodes, episodes[i]))
        rewards = {group: prompt_reward(members) for group, members in prompts.items()}
        mine, everyone = rewards[episodes[i].group], list(rewards.values())
        if not scale:
            return mine - mean(everyone)
        # Means of unlike groups may agree on paper and differ in the last bit; neither is a difference.
        return 0.0 if max(everyone) - min(everyone) < 1e-12 else standard(mine, everyone, ddof, eps)

    def blend(i: int) -> float:
        h = entropy(group_of(episodes, episodes[i]))
        soft = 1.0 / (1.0 + math.exp(-sharpness * (h - midpoint)))
        right, told = episodes[i].score != 0, local(i) != 0
        return {
            "only-soft": soft,
            "soft-with-zero": soft if right else 0.0,
            "soft-with-forced": soft if told else 0.0,
            "only-zero": 1.0 if right else 0.0,
            "only-forced": 1.0 if told else 0.0,
            "only-global": 0.0,
            "no-global": 1.0,
        }[gate]

    columns = {"advantage": local, "global_advantage": across, "blend": blend}
    return {name: to_rows(episodes, column) for name, column in columns.items()}


def a_grae(
    episodes: Sequence[Episode],
    *,
    focus: str = "adaptive",
    alpha: float | None = 1.0,
    positive: float = 1.0,
    easy: str = "one-minus-p",
    pool: str = "rollouts",
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    singleton: str = "zero",
) -> Told:
    """Equations 11 to 13 for rewards of 0 and 1."""

    def advantage(i: int) -> float:
        episode = episodes[i]
        scores = [e.score for e in group_of(episodes, episode)]
        everyone = batch_of(episodes, episode)
        if pool == "rollouts":
            omega = mean([e.score for e in everyone])
        else:
            omega = mean([mean([e.score for e in g]) for g in by(lambda e: e.group, everyone).values()])
        p = mean(scores)
        if scale:
            a0 = standard(episode.score, scores, ddof, eps, raw=singleton == "raw")
        else:
            a0 = episode.score if len(scores) == 1 and singleton == "raw" else episode.score - p
        hard = a0 if p == 0 else a0 / math.sqrt(p)
        gentle = math.sqrt(1 - p) if easy == "one-minus-p" else 1 - math.sqrt(p) + eps
        soft = a0 if p == 1 else a0 / gentle
        out = {
            "adaptive": omega / 2 * hard + (1 - omega) / 2 * soft, "hard": hard / 2, "easy": soft / 2, "none": a0,
        }[focus]  # fmt: skip
        if out > 0 and alpha is not None:
            out *= min(1.0, omega / alpha)
        return out * positive if out > 0 else out

    return {"advantage": to_rows(episodes, advantage)}


def canon(
    episodes: Sequence[Episode],
    *,
    mu: float = 1.0,
    alpha: float = 1.0,
    discount: str = "length",
    threshold: float | None = None,
    divisor: float = 1.0,
    singleton: str = "zero",
) -> Told:
    """The two halves of a group judge each other, or themselves."""

    def halves(episode: Episode) -> tuple[list[Episode], list[Episode]]:
        members = sorted(group_of(episodes, episode), key=lambda e: e.metric)
        if threshold is not None:
            return [e for e in members if not e.metric > threshold], [e for e in members if e.metric > threshold]
        return members[: len(members) // 2], members[len(members) // 2 :]

    def upper(i: int) -> float:
        return float(any(e is episodes[i] for e in halves(episodes[i])[1]))

    def advantage(i: int) -> float:
        episode = episodes[i]
        low, high = halves(episode)
        if len(low) + len(high) == 1 and singleton == "raw":
            return episode.score / divisor
        if not low or not high:
            return 0.0
        above = upper(i) == 1.0
        own, other = (high, low) if above else (low, high)
        mine, theirs = mean([e.score for e in own]), mean([e.score for e in other])
        # Length: long answers are paid less; entropy: the mirror image.
        if above == (discount == "length"):
            inter = alpha * episode.score - theirs
        else:
            inter = episode.score - alpha * theirs
        return (mu * inter + (1 - mu) * (episode.score - mine)) / divisor

    return {"advantage": to_rows(episodes, advantage), "upper": to_rows(episodes, upper)}


def combined(
    episodes: Sequence[Episode], how: str, *, weights: Sequence[float] | None, ddof: int = 0, eps: float = 0.0
) -> Told:
    """DVAO, RC, AC and GDPO; DVAO as the weighted sum of normalised objectives that the paper writes."""
    weights = [1.0 / len(episodes[0].objectives)] * len(episodes[0].objectives) if weights is None else weights
    k = range(len(weights))

    def column(members: Sequence[Episode], j: int) -> list[float]:
        return [e.objectives[j] for e in members]

    def parts(episode: Episode, ddof: int, eps: float) -> list[float]:
        members = group_of(episodes, episode)
        return [standard(episode.objectives[j], column(members, j), ddof, eps) for j in k]

    def ac(episode: Episode) -> float:
        return math.fsum(w * a for w, a in zip(weights, parts(episode, ddof, eps), strict=True))

    def rc(episode: Episode) -> float:
        def total(e: Episode) -> float:
            return math.fsum(w * r for w, r in zip(weights, e.objectives, strict=True))

        return standard(total(episode), [total(e) for e in group_of(episodes, episode)], ddof, eps)

    def dvao(episode: Episode) -> float:
        members = group_of(episodes, episode)
        power = [w * std(column(members, j), ddof) for j, w in enumerate(weights)]
        whole = math.fsum(power)
        if whole == 0:
            return 0.0
        return math.fsum(v / (whole + eps) * a for v, a in zip(power, parts(episode, ddof, 0.0), strict=True))

    def gdpo(episode: Episode) -> float:
        return standard(ac(episode), [ac(e) for e in batch_of(episodes, episode)], ddof, eps)

    rule = {"ac": ac, "rc": rc, "dvao": dvao, "gdpo": gdpo}[how]
    return {"advantage": to_rows(episodes, lambda i: rule(episodes[i]))}


def seeupo(
    episodes: Sequence[Episode],
    *,
    normalize: bool = True,
    ddof: int = 1,
    floor: float = 1e-6,
    clamp: float | None = 3.0,
    padding: str = "exclude",
    singleton: str = "raw",
) -> Told:
    """Less the group's mean, then over the deviation of the batch at each turn."""

    def centred(episode: Episode) -> float:
        scores = [e.score for e in group_of(episodes, episode)]
        if len(scores) == 1:
            return episode.score if singleton == "raw" else 0.0
        return episode.score - mean(scores)

    whole = to_rows(episodes, lambda i: centred(episodes[i]))
    if not normalize:
        return {"advantage": whole, "global_advantage": whole}

    def at_turn(episode: Episode, turn: int) -> float:
        there = [
            centred(e) for e in batch_of(episodes, episode)
            if padding == "include" or any(w and s == turn for w, s in zip(e.weight, e.steps, strict=True))
        ]  # fmt: skip
        mine, deviation = centred(episode), std(there, ddof)
        if len(there) <= max(ddof, 1) or deviation <= floor:
            return mine
        z = (mine - mean(there)) / deviation
        return z if clamp is None else max(-clamp, min(clamp, z))

    told = [[at_turn(e, s) if w else 0.0 for w, s in zip(e.weight, e.steps, strict=True)] for e in episodes]
    return {"advantage": told, "global_advantage": whole}


def igpo(
    episodes: Sequence[Episode], *, mode: str = "joint", gamma: float = 1.0, ddof: int = 1, eps: float = 1e-6
) -> Told:
    """Turns are paid their gain and the last one the outcome."""

    def paid(episode: Episode, t: int) -> float:
        return episode.score if t == len(episode) - 1 else episode.gain[t]

    def pool(group: int) -> list[float]:
        return [paid(e, t) for e in episodes if e.group == group for t in range(len(e)) if e.weight[t]]

    def to_go(episode: Episode, t: int) -> float:
        return math.fsum(gamma ** (k - t) * paid(episode, k) for k in range(t, len(episode)) if episode.weight[k])

    def joint(episode: Episode, t: int) -> float:
        xs = pool(episode.group)
        rest = [k for k in range(t, len(episode)) if episode.weight[k]]
        return math.fsum(gamma ** (k - t) * standard(paid(episode, k), xs, ddof, eps) for k in rest)

    def position(episode: Episode, t: int) -> float:
        there = [to_go(e, t) for e in episodes if e.group == episode.group and len(e) > t and e.weight[t]]
        return to_go(episode, t) - mean(there)

    rule = joint if mode == "joint" else position
    return {"advantage": [[rule(e, t) if e.weight[t] else 0.0 for t in range(len(e))] for e in episodes]}


def a2tgpo(
    episodes: Sequence[Episode],
    *,
    mode: str = "turn-group-v1d",
    alpha: float = 0.3,
    gamma: float = 1.0,
    rescale: str = "terms",
    clip_span: float = 0.3,
    ddof: int = 0,
    eps: float = 1e-6,
    eps_inside: float = 1e-8,
) -> Told:
    """Turns of one prompt and one depth are compared; the last turn answers."""

    def norm(x: float, xs: Sequence[float]) -> float:
        return standard(x, xs, ddof, eps, inside=eps_inside)

    def tells(e: Episode, t: int) -> bool:
        return bool(e.weight[t]) and t < len(e) - 1

    def outcome(e: Episode) -> float:
        return norm(e.score, [m.score for m in group_of(episodes, e)])

    def z(e: Episode, t: int) -> float:
        cell = [m.gain[t] for m in episodes if m.group == e.group and len(m) > t and tells(m, t)]
        return norm(e.gain[t], cell) if tells(e, t) else 0.0

    def information(e: Episode, t: int) -> float:
        rest = [j for j in range(t, len(e)) if tells(e, j)]
        if not tells(e, t):
            return 0.0
        divisor = {
            "terms": math.sqrt(len(rest)), "weights": math.sqrt(math.fsum(gamma ** (2 * (j - t)) for j in rest)),
            "none": 1.0,
        }[rescale]  # fmt: skip
        return alpha * math.fsum(gamma ** (j - t) * z(e, j) for j in rest) / divisor

    def scaled(e: Episode, t: int) -> float:
        """Mode turn-group's reward of a turn: the gain at the outcomes' spread, and the outcome on the answer."""
        if t == len(e) - 1:
            return e.score
        mates = batch_of(episodes, e)
        gains = std([m.gain[j] for m in mates for j in range(len(m)) if tells(m, j)], ddof)
        return e.gain[t] * std([m.score for m in mates], ddof) / gains if gains > 0 else 0.0

    def summed(e: Episode, t: int) -> float:
        return math.fsum(gamma ** (j - t) * scaled(e, j) for j in range(t, len(e)) if e.weight[j])

    def turn_group(e: Episode, t: int) -> float:
        cell = [summed(m, t) for m in episodes if m.group == e.group and len(m) > t and m.weight[t]]
        if max(cell) - min(cell) < 1e-12:
            return 0.0
        return norm(summed(e, t), cell)

    def turn_reward(e: Episode, t: int) -> float:
        last = t == len(e) - 1
        mates = [m for m in episodes if m.group == e.group]
        if mode == "separate":
            pool = [m.gain[j] for m in mates for j in range(len(m)) if tells(m, j)]
            return outcome(e) if last else norm(e.gain[t], pool)
        pool = [m.score if j == len(m) - 1 else m.gain[j] for m in mates for j in range(len(m)) if m.weight[j]]
        return norm(e.score if last else e.gain[t], pool)

    def advantage(e: Episode, t: int) -> float:
        if mode == "turn-group-v1d":
            return information(e, t) + outcome(e)
        if mode == "turn-group":
            return turn_group(e, t)
        return math.fsum(gamma ** (j - t) * turn_reward(e, j) for j in range(t, len(e)) if e.weight[j])

    def clip_scale(e: Episode, t: int) -> float:
        return 1.0 + clip_span * (2.0 / (1.0 + math.exp(-z(e, t))) - 1.0)

    def rows(rule: Callable[[Episode, int], float], dead: float = 0.0) -> list[list[float]]:
        return [[rule(e, t) if e.weight[t] else dead for t in range(len(e))] for e in episodes]

    out = {
        "advantage": rows(advantage), "outcome_advantage": rows(lambda e, t: outcome(e)), "gain_score": rows(z),
        "clip_scale": rows(clip_scale, 1.0),
    }  # fmt: skip
    return out | ({"information_advantage": rows(information)} if mode == "turn-group-v1d" else {})


def steppo(
    episodes: Sequence[Episode],
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    whiten: bool = True,
    whiten_eps: float = 1e-8,
    scale_reward: bool = False,
) -> Told:
    """Steps are runs of rows with one step number; a step's value is its first row's, its reward their sum."""

    def folded(e: Episode) -> list[tuple[list[int], float, float, bool]]:
        """Rows, reward and value of each step, and whether it counts."""
        runs = by(lambda row: e.steps[row], range(len(e))).values()
        return [
            (rows, math.fsum(e.rewards[row] for row in rows), e.value[rows[0]], any(e.weight[row] for row in rows))
            for rows in runs
        ]

    def unit(batch: int) -> float:
        """What rewards are divided by: the spread of the running discounted return."""
        running = []
        for e in episodes:
            so_far = 0.0
            for _, reward, _, counts in folded(e) if e.batch == batch else ():
                so_far = gamma * so_far + (reward if counts else 0.0)
                running += [so_far] if counts else []
        return math.sqrt(std(running, 0) ** 2 + 1e-8) if scale_reward else 1.0

    advantage: dict[int, list[float]] = {}
    for i, e in enumerate(episodes):
        steps, size = [step for step in folded(e) if step[3]], unit(e.batch)
        delta = [
            reward / size + (gamma * steps[t + 1][2] if t + 1 < len(steps) else 0.0) - value
            for t, (_, reward, value, _) in enumerate(steps)
        ]
        advantage[i] = [
            math.fsum((gamma * lam) ** (k - t) * delta[k] for k in range(t, len(steps))) for t in range(len(steps))
        ]
    pool = by(lambda pair: pair[0], [(e.batch, a) for i, e in enumerate(episodes) for a in advantage[i]])
    told, target = [], []
    for i, e in enumerate(episodes):
        mine, goal, left = [0.0] * len(e), [0.0] * len(e), iter(advantage[i])
        for rows, _, value, counts in folded(e):
            a = next(left) if counts else 0.0
            xs = [x for _, x in pool.get(e.batch, [])]
            for row in rows:
                mine[row] = (standard(a, xs, 1, whiten_eps) if whiten else a) if counts else 0.0
                goal[row] = a + value
        told.append(mine)
        target.append(goal)
    return {"advantage": told, "value_target": target}


def agree(found: Mapping[str, np.ndarray], wanted: Told, rollouts: Rollouts, tolerance: float = 1e-9) -> bool:
    """Whether every column of the reference is the estimator's."""
    return all(
        found[name].shape == (rollouts.n_rows,) and np.allclose(found[name], flat(rows), rtol=0, atol=tolerance)
        for name, rows in wanted.items()
    )
