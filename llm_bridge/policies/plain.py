"""Policies without parameters: what collection is tried with, and the baselines of every report. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp import TabularMDP
from creditsim.mdp.policy import Policy
from llm_bridge.policies.base import Prompt, Response, Stream
from llm_bridge.policies.draws import decision_uniforms, inverse_cdf

__all__ = ["Acts", "FollowsOracle", "LookupPolicy", "OraclePolicy", "RandomPolicy", "table_policy"]


class Acts(Protocol):
    """All that collection asks of a policy; every `TextPolicy` does it."""

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Answer each prompt."""
        ...


@runtime_checkable
class FollowsOracle(Protocol):
    """A policy that wants the environment's own solution at the start of each of its episodes."""

    def follow(self, stream: Stream, commands: Sequence[str]) -> None:
        """The commands that win the stream's episode from its step on."""
        ...


class RandomPolicy:
    """Uniform over the commands of the prompt; greedy: the first.

    Word prompts with `answer="command"`, which fills templates such as search[<your query>].
    """

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Answer each prompt; InputError where a prompt admits no command."""
        out = []
        for prompt, draw in zip(prompts, decision_uniforms(streams)[:, 0], strict=True):
            n = len(_admissible(prompt))
            index = 0 if greedy else int(draw * n)
            out.append(_chosen(prompt.admissible[index], index, -np.log(n), np.log(n)))
        return out


class OraclePolicy:
    """Says what the environment's own solution says: the upper end of every comparison, and the imitator's teacher.

    Past the end of a solution that has not won it says nothing, so that the game is lost and not the run.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple[int, int], tuple[int, tuple[str, ...]]] = {}

    def follow(self, stream: Stream, commands: Sequence[str]) -> None:
        """Note an episode's solution."""
        self._plans[stream.seed, stream.episode] = (stream.step, tuple(commands))

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """The command of each episode's step; InputError for an episode whose solution was never told."""
        return [_chosen(self._next(stream), 0, 0.0, 0.0) for stream in streams]

    def _next(self, stream: Stream) -> str:
        if (stream.seed, stream.episode) not in self._plans:
            raise InputError("oracle", f"episode {stream.episode} without a solution", "`follow` before `act`")
        first, plan = self._plans[stream.seed, stream.episode]
        at = stream.step - first
        return plan[at] if at < len(plan) else ""


class LookupPolicy:
    """A table of laws over commands by the text of the prompt; commands that are not admissible share no probability.

    Greedy: the likeliest command, the first of equals.
    """

    def __init__(self, laws: Mapping[str, Mapping[str, float]]) -> None:
        self._laws = laws

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Answer each prompt; InputError for a prompt that the table does not have."""
        out = []
        for prompt, draw in zip(prompts, decision_uniforms(streams)[:, 0], strict=True):
            if prompt.text not in self._laws:
                raise InputError("prompt", repr(prompt.text), f"one of the table's {len(self._laws)} prompts")
            law = self._laws[prompt.text]
            mass = np.array([law.get(each, 0.0) for each in _admissible(prompt)])
            if not mass.sum() > 0:
                raise InputError("prompt", repr(prompt.text), "a command of positive probability")
            mass = mass / mass.sum()
            index = int(mass.argmax()) if greedy else inverse_cdf(mass, draw)
            some = mass[mass > 0]
            entropy = -float((some * np.log(some)).sum())
            out.append(_chosen(prompt.admissible[index], index, float(np.log(mass[index])), entropy))
        return out


def table_policy(mdp: TabularMDP, policy: Policy) -> LookupPolicy:
    """A tabular policy as a text policy on the same MDP told in words, for prompts that are the observation alone.

    Errors: InputError where the policy sees more than the observation.
    """
    from llm_bridge.envs.table import command, place

    pi, laws = policy.probabilities(mdp), {}
    for state in np.flatnonzero(~mdp.terminal).tolist():
        law = {command(a): float(pi[state, a]) for a in range(mdp.n_actions)}
        if laws.setdefault(place(int(mdp.observation[state])), law) != law:
            raise InputError("policy", "two laws behind one observation", "a policy that sees the observation alone")
    return LookupPolicy(laws)


def _admissible(prompt: Prompt) -> tuple[str, ...]:
    if not prompt.admissible:
        raise InputError("prompt", "no admissible command", "an environment that lists its commands")
    return prompt.admissible


def _chosen(action: str, index: int, log_prob: float, entropy: float) -> Response:
    return Response(action, action, np.array([index], np.int64), np.array([log_prob]), float(entropy))
