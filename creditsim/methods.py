"""The catalogue: which parts make up each paper's method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.schedules import Schedule

__all__ = ["METHODS", "Catalogue", "Method", "Use"]


@dataclass(frozen=True)
class Use:
    """A part as a method uses it: `name`, `name@preset` or `package.module:function`, and parameters."""

    spec: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.spec}({params})" if params else self.spec


@dataclass(frozen=True)
class Method:
    """What a paper proposes: sampling design + process signals + estimator + update rule.

    `evidence` says for each part where it was read: paper, code, notes or inferred. `regime` says in one line where the
    method should help and where not.
    """

    name: str
    title: str
    paper: str
    evidence: Mapping[str, str]
    estimator: Use
    update: Use
    regime: str
    design: Use = Use("independent")
    signals: tuple[Use, ...] = ()
    timed: bool = False
    """Whether the policy sees the step besides its context, as planning over a finite horizon asks."""

    def described(self) -> dict[str, str]:
        """The parts as text, by kind, in the order in which data flow."""
        return {
            "design": str(self.design),
            "signals": ", ".join(map(str, self.signals)) or "none",
            "estimator": str(self.estimator),
            "update": str(self.update),
        }

    def replaced(self, **parts: Any) -> Method:
        """The method with some parts exchanged."""
        return replace(self, **parts)


class Catalogue:
    """Methods by name; a taken name is never silently replaced."""

    def __init__(self, *methods: Method) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            self.add(method)

    def add(self, method: Method) -> Method:
        """Add a method; a different one under a taken name raises."""
        if self._methods.setdefault(method.name, method) != method:
            raise InputError("method name", repr(method.name), "a free name")
        return method

    def remove(self, name: str) -> None:
        """Forget a method (for tests and interactive work)."""
        self._methods.pop(name, None)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._methods)

    def __iter__(self) -> Iterator[Method]:
        return iter([self._methods[name] for name in self.names()])

    def __getitem__(self, name: str) -> Method:
        if name not in self._methods:
            raise UnknownNameError("method", repr(name), " | ".join(self.names()), nearest(name, self._methods))
        return self._methods[name]

    def __contains__(self, name: object) -> bool:
        return name in self._methods


# All methods share one optimiser and step size, so that their curves differ by what their papers propose.
_PLAIN = Use("reinforce", {"optimiser": "adam", "learning_rate": 0.1})
_GRPO_LOSS = Use("surrogate", {"loss": "ppo@grpo"})
_CONSERVATIVE = {"design": "inferred", "estimator": "notes", "update": "inferred"}
_AGENT_LOSS = Use("surrogate", {"loss": "ppo@verl-agent"})
_CANON_LOSS = Use("surrogate", {"loss": "ppo@verl", "clip_high": 0.28, "aggregation": "seq-mean-token-sum"})

METHODS = Catalogue(
    Method(
        name="reinforce",
        title="REINFORCE",
        paper="Williams 1992, doi:10.1007/BF00992696",
        evidence={"design": "notes", "estimator": "notes", "update": "notes"},
        estimator=Use("reinforce"),
        update=_PLAIN,
        regime="unbiased everywhere; the variance that everything else tries to lower",
    ),
    Method(
        name="reinforce_plus_plus",
        title="REINFORCE++",
        paper="arXiv:2501.03262",
        evidence={"design": "notes", "estimator": "code", "update": "notes"},
        estimator=Use("reinforce_plus_plus"),
        update=Use("surrogate", {"loss": "ppo"}),
        regime="needs no groups; leaves the variance between tasks in",
    ),
    Method(
        name="reinforce_plus_plus_baseline",
        title="REINFORCE++-baseline",
        paper="arXiv:2501.03262",
        evidence={"design": "notes", "estimator": "code", "update": "notes"},
        estimator=Use("reinforce_plus_plus_baseline"),
        update=Use("surrogate", {"loss": "ppo"}),
        regime="tasks of unlike difficulty: centred in the group, scaled by the batch",
    ),
    Method(
        name="rloo",
        title="RLOO",
        paper="arXiv:2402.14740",
        evidence={"design": "paper", "estimator": "code", "update": "notes"},
        estimator=Use("rloo"),
        update=_PLAIN,
        regime="unbiased with a group baseline; one credit for a whole trajectory",
    ),
    Method(
        name="remax",
        title="ReMax",
        paper="arXiv:2310.10505",
        evidence={"design": "code", "estimator": "code", "update": "notes"},
        design=Use("independent_with_greedy"),
        estimator=Use("remax"),
        update=_PLAIN,
        regime="single rollouts per task; the greedy rollout must be near the mean return to help",
    ),
    Method(
        name="grpo",
        title="GRPO",
        paper="arXiv:2402.03300",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        estimator=Use("grpo"),
        update=_GRPO_LOSS,
        regime="terminal reward, groups of one task; groups that all win or all lose give nothing",
    ),
    Method(
        name="dr_grpo",
        title="Dr.GRPO",
        paper="arXiv:2503.20783",
        evidence={"design": "notes", "estimator": "code", "update": "code"},
        estimator=Use("dr_grpo"),
        update=Use("surrogate", {"loss": "ppo@dr-grpo"}),
        regime="as GRPO without its weights by difficulty and by length",
    ),
    Method(
        name="grpo_passk",
        title="GRPO for pass@k",
        paper="arXiv:2503.19595",
        evidence={"design": "notes", "estimator": "code", "update": "inferred"},
        estimator=Use("grpo_passk"),
        update=_GRPO_LOSS,
        regime="the best of the group counts: raises the maximum, not the mean",
    ),
    Method(
        name="dapo",
        title="DAPO",
        paper="arXiv:2503.14476",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        design=Use("filtered@verl-agent"),
        estimator=Use("grpo"),
        update=Use("surrogate", {"loss": "ppo@dapo"}),
        regime="very easy or very hard tasks, where plain batches are mostly without signal; costs rollouts",
    ),
    Method(
        name="gspo",
        title="GSPO",
        paper="arXiv:2507.18071",
        evidence={"design": "notes", "estimator": "code", "update": "code"},
        estimator=Use("grpo"),
        update=Use("surrogate", {"loss": "gspo"}),
        regime="several steps on one batch: one ratio for a sequence is steadier than one for each token",
    ),
    Method(
        name="opo",
        title="OPO",
        paper="arXiv:2505.23585",
        evidence={"design": "notes", "estimator": "code", "update": "notes"},
        estimator=Use("opo"),
        update=_PLAIN,
        regime="exactly on-policy; helps where the score function's size grows with the length",
    ),
    Method(
        name="gpg",
        title="GPG",
        paper="arXiv:2504.02546",
        evidence={"design": "notes", "estimator": "code", "update": "code"},
        estimator=Use("gpg"),
        update=Use("surrogate", {"loss": "gpg"}),
        regime="as Dr.GRPO without ratio and clip, rescaled for groups without signal",
    ),
    Method(
        name="otb",
        title="Optimal token baseline",
        paper="verl: optimal_token_baseline",
        evidence={"design": "inferred", "estimator": "code", "update": "inferred"},
        estimator=Use("optimal_token_baseline"),
        update=_PLAIN,
        regime="fixed length and terminal reward; may be worse than the mean with shared logits or varying length",
    ),
    Method(
        name="ppo",
        title="PPO with GAE",
        paper="arXiv:1707.06347",
        evidence={"design": "paper", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("critic"),),
        estimator=Use("gae", {"gamma": 1.0, "bootstrap": False}),
        update=Use("surrogate", {"loss": "ppo@paper"}),
        regime="long horizons, once the critic has learnt; biased by the critic's errors where lambda < 1",
    ),
    Method(
        name="gigpo",
        title="GiGPO",
        paper="arXiv:2505.10978",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        # A table's actions are all valid; `invalid_action` and a penalty can be asked for.
        estimator=Use("gigpo@verl-agent-alfworld", {"penalty": 0.0}),
        update=_AGENT_LOSS,
        regime="many steps and recurring observations; anchors that are all unique turn it into GRPO",
    ),
    Method(
        name="hgpo",
        title="HGPO",
        paper="arXiv:2602.22817",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        estimator=Use("hgpo@verl-agent"),
        update=_AGENT_LOSS,
        regime="aliased observations and a policy with memory; in a Markov table it cannot help",
    ),
    Method(
        name="3spo",
        title="3SPO",
        paper="arXiv:2606.09961",
        evidence={"design": "notes", "signal": "code", "estimator": "code", "update": "inferred"},
        # `dfs@code` follows each (state, action) once in a run: with texts that is no limit, on a table it ends it all.
        design=Use("dfs@paper"),
        signals=(Use("state_score@code"),),
        estimator=Use("three_spo@code"),
        # Where no group has credit Adam's momentum goes on, as it does in GRPO's silent batches; sgd stands still.
        update=_AGENT_LOSS,
        regime="restorable environments, success not too rare: states under its threshold are given up for good",
    ),
    Method(
        name="ucbvi",
        title="UCBVI",
        paper="Azar et al. 2017, arXiv:1703.05449",
        evidence=_CONSERVATIVE,
        design=Use("conservative@ucbvi"),
        estimator=Use("no_credit"),
        update=Use("optimistic_planning"),
        timed=True,
        regime="small tables, rewards in [0, 1]; plays whatever might be best, safe or not",
    ),
    Method(
        name="stepmix",
        title="StepMix",
        paper="arXiv:2306.06265",
        evidence=_CONSERVATIVE,
        design=Use("conservative@stepmix"),
        estimator=Use("no_credit"),
        update=Use("optimistic_planning"),
        timed=True,
        regime="small tables with a safe baseline; J is that of the optimistic policy, mean_return what was played",
    ),
    Method(
        name="epsmix",
        title="EpsMix",
        paper="arXiv:2306.06265",
        evidence=_CONSERVATIVE,
        design=Use("conservative@epsmix"),
        estimator=Use("no_credit"),
        update=Use("optimistic_planning"),
        timed=True,
        regime="as StepMix, whole episodes at a time",
    ),
    Method(
        name="seeupo",
        title="SeeUPO",
        paper="arXiv:2602.06554",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        estimator=Use("seeupo@paper"),
        update=Use("sequential@paper"),
        regime="turns of one team: monotone turn by turn; no better than all at once where each turn sees everything",
    ),
    Method(
        name="seeupo_code",
        title="SeeUPO, as its code has it",
        paper="arXiv:2602.06554",
        evidence={"design": "code", "estimator": "code", "update": "code"},
        estimator=Use("seeupo@code"),
        update=Use("sequential@code"),
        regime="as SeeUPO with clamped credit and clipped products: rare large rewards are squashed",
    ),
    Method(
        name="igpo",
        title="IGPO",
        paper="arXiv:2510.14967",
        evidence={"design": "notes", "signal": "inferred", "estimator": "notes", "update": "notes"},
        signals=(Use("information_gain"),),
        estimator=Use("igpo@paper"),
        update=_GRPO_LOSS,
        regime="many turns, one outcome and a potential near the value; turns of unlike depth share one scale",
    ),
    Method(
        name="a2tgpo",
        title="A2TGPO",
        paper="arXiv:2605.06200",
        evidence={"design": "notes", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("information_gain"),),
        estimator=Use("a2tgpo@code"),
        # The published clip, 3e-3 and 4e-3, is made for token means of long turns; with one decision per turn and
        # one step per batch it never binds.
        update=Use("surrogate", {"loss": "turn_clip"}),
        regime="as IGPO where gains depend on depth; its normalisation by depth may move the optimum",
    ),
    Method(
        name="dvao",
        title="DVAO",
        paper="arXiv:2605.25604",
        evidence={"design": "notes", "estimator": "notes", "update": "notes"},
        estimator=Use("dvao"),
        update=_GRPO_LOSS,
        regime="several bounded rewards of one scale; weighs by spread, so noise too. One reward: GRPO, divisor N",
    ),
    Method(
        name="rc",
        title="Reward combination",
        paper="arXiv:2605.25604",
        evidence={"design": "notes", "estimator": "notes", "update": "notes"},
        estimator=Use("rc"),
        update=_GRPO_LOSS,
        regime="several rewards that agree; near-perfect conflict is blown up to unit variance",
    ),
    Method(
        name="ac",
        title="Advantage combination",
        paper="arXiv:2605.25604",
        evidence={"design": "notes", "estimator": "notes", "update": "notes"},
        estimator=Use("ac"),
        update=_GRPO_LOSS,
        regime="several rewards of unlike scale; blind to how they vary together",
    ),
    Method(
        name="gdpo",
        title="Decoupled normalisation (GDPO)",
        paper="verl and TRL: GDPO, normalize_then_sum",
        evidence={"design": "notes", "estimator": "code", "update": "notes"},
        estimator=Use("gdpo"),
        update=_GRPO_LOSS,
        regime="as advantage combination, with a scale of one over the batch",
    ),
    Method(
        name="canon_inter",
        title="CANON-Inter",
        paper="arXiv:2509.23962",
        evidence={"design": "code", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("metric"),),
        estimator=Use("canon@paper"),
        update=_CANON_LOSS,
        regime="a metric whose better side is unknown: pushed towards the half that is rewarded, a bias",
    ),
    Method(
        name="canon_intra",
        title="CANON-Intra",
        paper="arXiv:2509.23962",
        evidence={"design": "code", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("metric"),),
        estimator=Use("canon@paper", {"mu": 0.0}),
        update=_CANON_LOSS,
        regime="hard tasks: both halves of the metric stay alive, away from the side that is rewarded",
    ),
    Method(
        name="canon_dynamic",
        title="CANON-Dynamic",
        paper="arXiv:2509.23962",
        evidence={"design": "code", "signal": "inferred", "estimator": "inferred", "update": "code"},
        signals=(Use("metric"),),
        # One fall along a cosine; the code restarts it after 50 of 150 steps and warms up for 30.
        estimator=Use("canon@paper", {"mu": Schedule(1.0, 0.4, "cosine")}),
        update=_CANON_LOSS,
        regime="towards the better half first, back to exploring later",
    ),
    Method(
        name="scpo",
        title="SCPO",
        paper="arXiv:2606.25852",
        evidence={"design": "notes", "estimator": "notes", "update": "notes"},
        estimator=Use("scpo@paper"),
        update=_AGENT_LOSS,
        regime="long tasks whose failures get much right; a bias where the best match of a step leads nowhere",
    ),
    Method(
        name="steppo",
        title="StepPO",
        paper="arXiv:2604.18401",
        evidence={"design": "notes", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("critic", {"learns": "steps"}),),
        estimator=Use("steppo@code"),
        update=Use("surrogate", {"loss": "step_ppo@code"}),
        regime="many tokens per step and gamma < 1; steps of unlike length pull it off the policy gradient",
    ),
    Method(
        name="copo",
        title="COPO",
        paper="arXiv:2508.04138",
        evidence={"design": "code", "signal": "inferred", "estimator": "code", "update": "code"},
        signals=(Use("answer"),),
        estimator=Use("copo@code"),
        update=Use("surrogate", {"loss": "blended"}),
        regime="prompts that all rollouts win or lose, beside unlike ones; adds the spread between prompts as noise",
    ),
    Method(
        name="a_grae",
        title="A-GRAE",
        paper="arXiv:2602.05548",
        evidence={"design": "paper", "estimator": "paper", "update": "code"},
        estimator=Use("a_grae@paper"),
        update=_GRPO_LOSS,
        regime="binary rewards, a table for each task; where tasks share parameters, leaning to the negative loses",
    ),
)
