"""Both machines compute the plan, compare digests, show it and count down. Nothing is written.

The same code runs on both sides; only who speaks first differs. Until both have said `Go` either
side can end the run with a word, a key, or by vanishing.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from payload.decide.planning import describe, plan_copy
from payload.decide.preflight import Preflight, check_copy
from payload.finish.network.destinations import read_names
from payload.identify.survey import look_into_root, take_survey
from payload.model.errors import LinkError, PeerError, PlanError, StoppedError, UndecidedError
from payload.model.event import Agreement, Countdown
from payload.model.message import Go, PlanOffer
from payload.model.plan import Plan
from payload.model.role import Role
from payload.model.survey import Survey
from payload.session.card_names import check_names
from payload.session.context import Context
from payload.session.meeting import agreed_mode, agreed_verify, own_hello
from payload.session.states import Outcome

T = TypeVar("T")
ANSWER = 60.0  # seconds the peer has to compute its plan, or to say Go after our countdown


def compute_plan(context: Context) -> Plan:
    """The plan from both inventories, as the peer computes it too. Raises PlanError, and
    UndecidedError when it would write to a disk the target's last word does not allow."""
    own, other = own_hello(context, ""), context.other
    source, target = (own, other) if context.own_decision.role is Role.SOURCE else (other, own)
    plan = plan_copy(
        source.inventory,
        target.inventory,
        target.decision,
        agreed_mode(own, other),
        verify=agreed_verify(own, other),
    )
    if context.own_decision.role is Role.TARGET:
        check_permissions(context, plan)
    return plan


def compute_checked_plan(context: Context, survey: Survey | None) -> Plan:
    """The plan, on the source only when the copy would start. Raises as `compute_plan`."""
    plan = compute_plan(context)
    if survey is not None:
        preflight(context, plan, survey)
        check_names(context, survey)
    return plan


def check_permissions(context: Context, plan: Plan) -> None:
    """Raise UndecidedError unless every target disk of the plan may be overwritten."""
    verdict = context.verdict
    assert verdict is not None
    allowed = {permission.disk for permission in verdict.permissions}
    for pair in plan.disks:
        if pair.target.id not in allowed:
            raise UndecidedError(
                f"The plan would write to disk {pair.target.label}, for which there is no "
                "permission."
            )


def exchange_plans(
    context: Context, plan: Plan, answer: float | None = ANSWER, survey: Survey | None = None
) -> PlanOffer:
    """The peer's offer. Raises PlanError unless it computed the same plan. `answer` None: wait
    while it is there."""
    with contextlib.suppress(PeerError, StoppedError):  # one that hung up said why: read it next
        context.link.send(PlanOffer(plan.digest, survey=survey))
    offer = expect(context, PlanOffer, answer)
    if offer.refusal:
        raise PlanError(offer.refusal)
    if offer.digest != plan.digest:
        raise PlanError(
            f"The two machines computed different plans ({plan.digest[:12]} here, "
            f"{offer.digest[:12]} there). Boot both from the same medium; "
            "if it happens again, save `python3 -m payload inventory --json` of both and report it."
        )
    return offer


def survey_target(context: Context) -> Survey | None:
    """The source looks whether its system has drivers for the target's devices, and what it calls
    its network cards."""
    if context.own_decision.role is not Role.SOURCE:
        return None
    with context.stage("plan", "looking whether the copy would start on the target"):
        other = context.other.inventory
        survey = take_survey(context.host, context.own, other, context.clock_ahead)
        network = look_into_root(context.host, context.own, read_names, None)
        return replace(survey, network=network)


def preflight(context: Context, plan: Plan, survey: Survey) -> Preflight:
    """The same answers on both machines. Raises PlanError."""
    own, other = context.own, context.other.inventory
    ends = (context.link.card, context.other.card)
    if context.own_decision.role is Role.SOURCE:
        return check_copy(plan, own, other, survey, ends)
    return check_copy(plan, other, own, survey, (ends[1], ends[0]))


def offer_refusal(context: Context, compute: Callable[[Context], Plan]) -> Plan:
    """The plan; that there can be none is told to the peer, who may stand before its screen."""
    try:
        return compute(context)
    except (PlanError, UndecidedError) as error:
        with contextlib.suppress(PeerError):  # it computes the same, and may be gone for it
            context.link.send(PlanOffer("", str(error)))
        raise


def expect(context: Context, kind: type[T], timeout: float | None) -> T:
    """The next message, which must be of that kind. Raises LinkError, PeerError, StoppedError."""
    message = context.link.receive(timeout)
    if not isinstance(message, kind):
        raise PeerError(
            f"The other machine said {type(message).__name__} where {kind.__name__} belongs."
        )
    return message


def agree(context: Context, check_alone: Callable[[], None]) -> Outcome:
    """From equal plans to both having said Go. Losing the peer here costs nothing, nor does
    leaving it: `check_alone` raises LinkError when another machine fits as well."""
    try:
        survey = context.survey = survey_target(context)
        plan = offer_refusal(context, lambda _: compute_checked_plan(context, survey))
        offer = exchange_plans(context, plan, survey=survey)
        context.survey = survey or offer.survey or Survey()
        checked = preflight(context, plan, context.survey)
        for sentence in check_names(context, context.survey):
            context.note_once(sentence)
        context.plan = plan
        context.monitor(Agreement((*describe(plan), *checked.lines)))
        for warning in (*plan.warnings, *checked.warnings):
            context.warn(warning)
        if plan.verify and not context.settings.verify:
            context.note("The other machine was not told failover.verify=off: all is read back.")
        seconds = max(context.settings.countdown, context.other.countdown)
        count_down(context, seconds, check_alone)
        if context.settings.dry_run or context.other.dry_run:
            return Outcome.LOOKED
        exchange_go(context)
    except LinkError as error:
        untouched = "" if context.other.resume else " Nothing was written."
        context.note(f"{error}{untouched}")
        context.link.close()
        return Outcome.PEER_LEFT
    return Outcome.AGREED


def count_down(context: Context, seconds: int, check_alone: Callable[[], None]) -> None:
    """Raises StoppedError when a person pressed a key on either machine, and what `check_alone`
    raises."""
    context.stop.clear()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.monitor(Countdown(round(left)))
        check_stop(context)
        check_alone()
        wait_a_second(context, left)
    check_stop(context)
    check_alone()


def check_stop(context: Context) -> None:
    if context.stop.is_set():
        sentence = "a person pressed a key during the countdown."
        context.link.say_stop(sentence, by_person=True)
        raise StoppedError(f"Stopped: {sentence}")


def wait_a_second(context: Context, left: float) -> None:
    """Sleep towards the next second of the countdown. Raises what ended the conversation, when
    the peer stopped or is gone; its Go, when its countdown was faster than ours, stays unread."""
    if context.stop.wait(min(1.0, left)):
        return
    while context.link.ended:
        context.link.poll(0)


def exchange_go(context: Context) -> None:
    """After this the target writes. A peer that says anything else is refused."""
    context.link.send(Go())
    expect(context, Go, ANSWER + context.other.countdown)
