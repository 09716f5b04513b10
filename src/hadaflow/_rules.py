"""What a stopping rule is, and how rules combine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hadaflow._renamed import renamed
from hadaflow.problems import Problem
from hadaflow.snapshots import Snapshot


@dataclass(frozen=True)
class Verdict:
    """Why a run stops.

    Attributes
    ----------
    reason : str
        In words, with the numbers that decided.
    budget : bool
        Whether a budget ran out (steps, seconds), rather than a goal being reached.
    choice : Snapshot or None
        The snapshot to return, where it is not the present one.
    """

    reason: str
    budget: bool = False
    choice: Snapshot | None = None


#: Sees one snapshot after the other, in order of time; one that keeps the best of them is a :class:`BestWatch`.
Watch = Callable[[Snapshot], Verdict | None]


class BestWatch(ABC):
    """A watch that looks for the best snapshot: the run returns it, whichever rule ends the run.

    Attributes
    ----------
    best : Snapshot or None
        The best so far; None before the first.
    """

    best: Snapshot | None = None

    @abstractmethod
    def __call__(self, snapshot: Snapshot) -> Verdict | None: ...


class Rule(ABC):
    """When to stop. Subclass it, or pass a function of a :class:`hadaflow.Snapshot` to :class:`When`.

    Attributes
    ----------
    instant : bool
        Whether the answer depends on the present snapshot alone. In continuous time such a rule stops at the exact
        time.
    budget : bool
        Whether the rule limits effort instead of telling that a goal is reached.
    """

    instant: bool = True
    budget: bool = False

    @abstractmethod
    def watch(self, problem: Problem) -> Watch:
        """A fresh watch for one run on ``problem``."""

    def __or__(self, other: Rule) -> Rule:
        return _Either(_rules(self, _Either) + _rules(other, _Either))

    def __and__(self, other: Rule) -> Rule:
        return _Both(_rules(self, _Both) + _rules(other, _Both))


class Instant(Rule):
    """A rule about one snapshot."""

    def watch(self, problem: Problem) -> Watch:
        def look(snapshot: Snapshot) -> Verdict | None:
            return Verdict(self.reason(snapshot), self.budget) if self.holds(snapshot) else None

        return look

    @abstractmethod
    def holds(self, snapshot: Snapshot) -> bool: ...

    @abstractmethod
    def reason(self, snapshot: Snapshot) -> str: ...


@dataclass(frozen=True)
class _Combined(Rule):
    rules: tuple[Rule, ...]
    instant: bool = field(init=False, repr=False)
    budget: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "instant", all(rule.instant for rule in self.rules))
        object.__setattr__(self, "budget", all(rule.budget for rule in self.rules))


class _Either(_Combined):
    def __repr__(self) -> str:
        return " | ".join(f"({rule!r})" if isinstance(rule, _Both) else repr(rule) for rule in self.rules)

    def watch(self, problem: Problem) -> Watch:
        watches = [rule.watch(problem) for rule in self.rules]

        def look(snapshot: Snapshot) -> Verdict | None:
            verdicts = [verdict for watch in watches if (verdict := watch(snapshot)) is not None]
            if not verdicts:
                return None
            first = min(verdicts, key=lambda verdict: verdict.budget)
            bests = (_best(watch) for watch in watches)
            choice = first.choice or next((snapshot for snapshot in bests if snapshot is not None), None)
            return replace(first, choice=choice)

        return look


class _Both(_Combined):
    def __repr__(self) -> str:
        return " & ".join(f"({rule!r})" if isinstance(rule, _Either) else repr(rule) for rule in self.rules)

    def watch(self, problem: Problem) -> Watch:
        watches = [rule.watch(problem) for rule in self.rules]

        def look(snapshot: Snapshot) -> Verdict | None:
            verdicts = [watch(snapshot) for watch in watches]
            met = [verdict for verdict in verdicts if verdict is not None]
            if len(met) < len(verdicts):
                return None
            choice = next((verdict.choice for verdict in met if verdict.choice is not None), None)
            return Verdict(" and ".join(verdict.reason for verdict in met), all(v.budget for v in met), choice)

        return look


def _best(watch: Watch) -> Snapshot | None:
    if isinstance(watch, BestWatch):
        return watch.best
    if hasattr(watch, "best"):  # a function with an attribute, as watches were written before
        best: Snapshot | None = renamed("the attribute best of a watch", "stopping.BestWatch.best", watch.best())
        return best
    return None


def _rules(rule: object, kind: type) -> tuple[Rule, ...]:
    """The parts of a combination of the same kind, else the rule alone."""
    if not isinstance(rule, Rule):
        raise TypeError(f"stopping rules combine with stopping rules, got {rule!r}")
    return rule.rules if isinstance(rule, kind) else (rule,)  # type: ignore[attr-defined]


def has_budget(rule: Rule) -> bool:
    """Whether some part of a rule, met alone, would end the run for want of steps or seconds."""
    if isinstance(rule, _Either):
        return any(has_budget(part) for part in rule.rules)
    return rule.budget


def check_rule(stop: object) -> None:
    """Raise TypeError unless ``stop`` is a rule."""
    if not isinstance(stop, Rule):
        hint = "; wrap a condition in hadaflow.stopping.When" if callable(stop) else ""
        raise TypeError(f"stop must be a rule out of hadaflow.stopping, got {stop!r}{hint}")
