"""Which role this machine has, and whether it and its peer fit together. No I/O.

The decision is a table: the first row whose condition holds decides, and tells its reason. What
no row allows is UNDECIDED, and then nothing is written anywhere. `docs/safety.md` prints the
tables from here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from payload.decide.disk_verdict import (
    GROUNDS,
    Finding,
    Verdict,
    describe_system,
    disks_named,
    judge,
)
from payload.decide.shared import shared_disks, words_for_both
from payload.model.disk import Hardware
from payload.model.inventory import Inventory
from payload.model.machine import MachineIdentity
from payload.model.role import Decision, Ground, Permission, Role
from payload.model.settings import Settings


@dataclass(frozen=True)
class Facts:
    """What a decision about one machine is made from."""

    inventory: Inventory
    asked: Role | None
    verdicts: tuple[Verdict, ...]
    ambiguous: tuple[str, ...] = ()  # words that mean two disks, or one that is never written to
    unmatched: tuple[str, ...] = ()  # words that mean no disk

    def has(self, *findings: Finding) -> bool:
        return any(verdict.finding in findings for verdict in self.verdicts)

    @property
    def permitted(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.finding in GROUNDS)

    @property
    def unseen(self) -> tuple[Hardware, ...]:
        return tuple(disk.hardware for disk in self.inventory.disks if disk.hardware.unseen)


@dataclass(frozen=True)
class Rule:
    """One row: when it holds, what follows, and the sentence that says why."""

    name: str
    role: Role
    when: Callable[[Facts], bool]
    reason: str


_COPIES = (Finding.UNUSED_COPY, Finding.USED_COPY, Finding.COPY_ELSEWHERE)
_BROKEN = (Finding.UNFINISHED, Finding.UNFINISHED_ELSEWHERE)

RULES: tuple[Rule, ...] = (
    Rule(
        "no disk",
        Role.UNDECIDED,
        lambda facts: not facts.verdicts,
        "This machine has no disk that may be copied from or to.",
    ),
    Rule(
        "ambiguous name",
        Role.UNDECIDED,
        lambda facts: bool(facts.ambiguous),
        "failover.overwrite= has to mean one disk that may be written to: name it by its id.",
    ),
    Rule(
        "asked source, unfinished copy",
        Role.UNDECIDED,
        lambda facts: facts.asked is Role.SOURCE and facts.has(*_BROKEN),
        "failover.role=source asks for a source, but a disk here holds an unfinished copy.",
    ),
    Rule(
        "asked source, no system",
        Role.UNDECIDED,
        lambda facts: facts.asked is Role.SOURCE and not _systems(facts),
        "failover.role=source asks for a source, but no installed system was found here.",
    ),
    Rule(
        "asked source",
        Role.SOURCE,
        lambda facts: facts.asked is Role.SOURCE,
        "A person made this machine the source (failover.role=source).",
    ),
    Rule(
        "asked target, nothing to overwrite",
        Role.UNDECIDED,
        lambda facts: facts.asked is Role.TARGET and not facts.permitted,
        "failover.role=target asks for a target, but no disk here is blank or our own unused copy."
        " To overwrite what is there, name each disk with failover.overwrite=.",
    ),
    Rule(
        "asked target",
        Role.TARGET,
        lambda facts: facts.asked is Role.TARGET,
        "A person made this machine the target (failover.role=target).",
    ),
    Rule(
        "system beside a named disk",
        Role.UNDECIDED,
        lambda facts: facts.has(Finding.SYSTEM) and facts.has(Finding.NAMED),
        "A disk here was named to be overwritten, but another holds an installed system. Say with"
        " failover.role= which of both this machine is.",
    ),
    Rule(
        "system beside a copy",
        Role.UNDECIDED,
        lambda facts: (
            facts.has(Finding.MIXED)
            or (facts.has(Finding.SYSTEM) and facts.has(*_COPIES, *_BROKEN))
        ),
        "An installed system and a copy lie in the same machine. Take one out, or name what may"
        " be overwritten.",
    ),
    Rule(
        "installed system",
        Role.SOURCE,
        lambda facts: facts.has(Finding.SYSTEM),
        "This machine has an installed system, and no disk of it was made by us.",
    ),
    Rule(
        "used copy",
        Role.UNDECIDED,
        lambda facts: facts.has(Finding.USED_COPY),
        "Our copy on this machine was in service, so it may hold newer data than the server it was"
        " made from. To copy from it: failover.role=source, or that choice in the boot menu; a"
        " machine that holds the old system takes the copy back when it is started with"
        " failover.overwrite= and the serial of each of its disks. To overwrite this copy:"
        " failover.overwrite= with each of its disks here.",
    ),
    Rule(
        "copy for another machine",
        Role.UNDECIDED,
        lambda facts: facts.has(Finding.COPY_ELSEWHERE),
        "A disk here holds a copy that was not made for this disk in this machine. A disk that was"
        " moved and a network card added or removed look like that. To overwrite it, name it with"
        " failover.overwrite=.",
    ),
    Rule(
        "unfinished copy for another machine",
        Role.UNDECIDED,
        lambda facts: facts.has(Finding.UNFINISHED_ELSEWHERE),
        "A disk here holds an unfinished copy that was not made for this disk in this machine. To"
        " overwrite it, name it with failover.overwrite=.",
    ),
    Rule(
        "not looked into",
        Role.UNDECIDED,
        lambda facts: facts.has(Finding.HIDDEN),
        "A disk here may hold a system that could not be looked into. Say with failover.role="
        " what this machine is.",
    ),
    Rule(
        "disk out of reach",
        Role.UNDECIDED,
        lambda facts: bool(facts.unseen),
        "A fixed disk of this machine is never looked into, so this may be a server that runs from"
        " it. If it is the spare, disconnect that disk, or start the machine with"
        " failover.role=target: that disk is not written to for it.",
    ),
    Rule(
        "foreign data",
        Role.UNDECIDED,
        lambda facts: not facts.permitted,
        "This machine has no system that could be copied, and no disk that may be overwritten: none"
        " is blank and none is our own unused copy. To overwrite one, name it with"
        " failover.overwrite=.",
    ),
    Rule(
        "unfinished copy",
        Role.TARGET,
        lambda facts: facts.has(Finding.UNFINISHED),
        "An interrupted copy, made for this machine, waits to be carried on.",
    ),
    Rule(
        "unused copy",
        Role.TARGET,
        lambda facts: facts.has(Finding.UNUSED_COPY),
        "Our copy, made for this machine and unused since, may be refreshed.",
    ),
    Rule(
        "named disk",
        Role.TARGET,
        lambda facts: facts.has(Finding.NAMED),
        "There is no installed system here beyond the disks a person named to be overwritten.",
    ),
    Rule(
        "blank beside foreign data",
        Role.TARGET,
        lambda facts: facts.has(Finding.FOREIGN),
        "There is no installed system here. Blank disks may be written to, the others are not"
        " touched.",
    ),
    Rule(
        "blank",
        Role.TARGET,
        lambda facts: True,  # whoever came here has permitted disks, and all of them are blank
        "Every disk of this machine that a system may be on is blank.",
    ),
)


def decide_role(inventory: Inventory, settings: Settings) -> Decision:
    """Source, target or undecided, with reasons, and what may be overwritten on a target."""
    facts = gather(inventory, settings)
    rule = next(rule for rule in RULES if rule.when(facts))
    is_target = rule.role is Role.TARGET
    return Decision(
        role=rule.role,
        rule=rule.name,
        reasons=tuple(_reasons(rule, facts)),
        permissions=tuple(_permission(one) for one in facts.permitted) if is_target else (),
        ready_since=_ready_since(facts) if rule.name == "unused copy" else 0,
    )


def gather(inventory: Inventory, settings: Settings) -> Facts:
    """The facts: which disks a person means, and what each disk is to us."""
    meant = {word: disks_named(inventory, word) for word in settings.overwrite}
    clear = {word: disks for word, disks in meant.items() if _is_clear(disks)}
    return Facts(
        inventory=inventory,
        asked=settings.role,
        verdicts=judge(inventory, frozenset(disks[0].id for disks in clear.values())),
        ambiguous=tuple(word for word, disks in meant.items() if disks and word not in clear),
        unmatched=tuple(word for word, disks in meant.items() if not disks),
    )


def _is_clear(disks: tuple[Hardware, ...]) -> bool:
    return len(disks) == 1 and not disks[0].ineligible


def _systems(facts: Facts) -> tuple[str, ...]:
    eligible = {verdict.disk.id for verdict in facts.verdicts}
    found = (system for system in facts.inventory.systems if system.disk in eligible)
    return tuple(describe_system(system) for system in found)


def _reasons(rule: Rule, facts: Facts) -> list[str]:
    reasons = [rule.reason, *(verdict.sentence for verdict in facts.verdicts)]
    for word in facts.ambiguous:
        reasons += [
            f"failover.overwrite={word} means {disk.label}"
            + (f", which may not be written to: {disk.ineligible}." if disk.ineligible else ".")
            for disk in disks_named(facts.inventory, word)
        ]
    reasons += [f"failover.overwrite={word} means no disk here." for word in facts.unmatched]
    if rule.name == "no disk":
        apart = tuple(disk.hardware for disk in facts.inventory.disks)
    else:
        apart = facts.unseen
    return reasons + [f"{one.label} was not looked into: {one.ineligible}." for one in apart]


def _permission(verdict: Verdict) -> Permission:
    ground = GROUNDS[verdict.finding]
    source = verdict.source_id if ground is Ground.OUR_COPY else ""
    return Permission(verdict.disk.id, ground, verdict.words, source)


def _ready_since(facts: Facts) -> int:
    return max(verdict.finished_at for verdict in facts.verdicts)


@dataclass(frozen=True)
class Pair:
    """Two machines that met, and what each decided about itself."""

    own: Inventory
    own_decision: Decision
    peer: Inventory
    peer_decision: Decision
    justified: tuple[Permission, ...]  # what our own facts allow to be overwritten
    words: tuple[str, ...] = ()  # of failover.overwrite=, where they alone made us a target

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset((self.own_decision.role, self.peer_decision.role))

    @property
    def source(self) -> Inventory:
        return self.own if self.own_decision.role is Role.SOURCE else self.peer

    @property
    def target_decision(self) -> Decision:
        own_is_target = self.own_decision.role is Role.TARGET
        return self.own_decision if own_is_target else self.peer_decision

    @property
    def other_sources(self) -> tuple[Permission, ...]:
        """Copies on the target that only another machine may refresh or carry on."""
        return tuple(
            permission
            for permission in self.target_decision.permissions
            if permission.ground is Ground.OUR_COPY
            and permission.source_id != self.source.machine.id
        )


@dataclass(frozen=True)
class PairRule:
    """One row about two machines: when it holds, nothing is written, for this reason."""

    name: str
    when: Callable[[Pair], bool]
    reason: str


PAIR_RULES: tuple[PairRule, ...] = (
    PairRule(
        "same machine",
        lambda pair: _is_same_machine(pair.own.machine, pair.peer.machine),
        "The other machine has the identity or a network card of this one: it is this machine seen"
        " twice, or a clone that needs network addresses of its own.",
    ),
    PairRule(
        "name for both",
        lambda pair: bool(words_for_both(pair.own, pair.peer, pair.words)),
        "failover.overwrite= names a disk of the other machine as well, so it does not tell which"
        " of both is to be overwritten. Name the disk by a serial or id that only it has, or say"
        " on the target failover.role=target as well.",
    ),
    PairRule(
        "own role undecided",
        lambda pair: pair.own_decision.role is Role.UNDECIDED,
        "This machine does not know its own role.",
    ),
    PairRule(
        "other undecided",
        lambda pair: pair.peer_decision.role is Role.UNDECIDED,
        "The other machine does not know its role; its screen says why.",
    ),
    PairRule(
        "two sources",
        lambda pair: pair.roles == {Role.SOURCE},
        "Both machines hold an installed system. If one is to be overwritten, name its disks there"
        " with failover.overwrite=.",
    ),
    PairRule(
        "two targets",
        lambda pair: pair.roles == {Role.TARGET},
        "Neither machine is a source: nobody here has a system to copy. If one of them holds a copy"
        " that is to be copied, start it with failover.role=source.",
    ),
    PairRule(
        "source without a system",
        lambda pair: (
            not any(
                system.disk in {disk.id for disk in pair.source.eligible_disks}
                for system in pair.source.systems
            )
        ),
        "The machine that calls itself the source shows no installed system.",
    ),
    PairRule(
        "shared disk",
        lambda pair: bool(shared_disks(pair.own, pair.peer)),
        "Both machines see the same disk (equal WWN, or serial, size and content): it would be"
        " copied onto itself. Disconnect the shared storage from one of them. If they are two disks"
        " that were cloned with their serial, give one of them another serial, or empty the"
        " target's.",
    ),
    PairRule(
        "nothing to overwrite",
        lambda pair: not pair.target_decision.permissions,
        "The target names no disk that may be overwritten.",
    ),
    PairRule(
        "permission without a ground",
        lambda pair: not set(pair.own_decision.permissions) <= set(pair.justified),
        "A disk of this machine was to be overwritten for which no ground is found any more.",
    ),
    PairRule(
        "copy of another source",
        lambda pair: bool(pair.other_sources),
        "The target holds a copy of another machine than this source. To overwrite it, name its"
        " disks on the target with failover.overwrite=.",
    ),
)


def decide_pair(
    own: Inventory,
    own_decision: Decision,
    peer: Inventory,
    peer_decision: Decision,
    settings: Settings,
) -> Decision:
    """Our role beside this peer: what we decided alone, or UNDECIDED when both do not fit.

    Each machine asks for itself; only when both come to their own role may a plan be made.
    """
    justified = decide_role(own, settings).permissions
    words = () if settings.role else settings.overwrite  # a role is told to one machine alone
    pair = Pair(own, own_decision, peer, peer_decision, justified, words)
    for rule in PAIR_RULES:
        if rule.when(pair):
            reasons = (rule.reason, *_pair_details(rule, pair))
            return Decision(Role.UNDECIDED, rule.name, reasons)
    return Decision(
        role=own_decision.role,
        rule="source and target",
        reasons=(_fit(pair),),
        permissions=own_decision.permissions,
        ready_since=own_decision.ready_since,
    )


def _is_same_machine(one: MachineIdentity, other: MachineIdentity) -> bool:
    return one.id == other.id or bool(set(one.macs) & set(other.macs))


def _pair_details(rule: PairRule, pair: Pair) -> tuple[str, ...]:
    if rule.name == "other undecided":
        return pair.peer_decision.reasons
    if rule.name == "own role undecided":
        return pair.own_decision.reasons
    if rule.name == "name for both":
        return tuple(
            f"{word} means {mine.label} here and {theirs.label} there."
            for word in words_for_both(pair.own, pair.peer, pair.words)
            for mine in disks_named(pair.own, word)
            for theirs in disks_named(pair.peer, word)
        )
    if rule.name == "shared disk":
        shared = shared_disks(pair.own, pair.peer)
        return tuple(f"{one.label} here is {other.label} there." for one, other in shared)
    if rule.name == "copy of another source":
        return tuple(f"{one.disk}: {one.content}." for one in pair.other_sources)
    return ()


def _fit(pair: Pair) -> str:
    target = pair.own if pair.own_decision.role is Role.TARGET else pair.peer
    return (
        f"{pair.source.reference.host_name or pair.source.machine.label} is the source,"
        f" {target.machine.label} is the target."
    )
