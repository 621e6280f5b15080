"""The table of states: complete, and closed against everything it does not name."""

import pytest

from payload.session.states import TRANSITIONS, Outcome, OutOfOrderError, State, next_state


def reachable(start: State) -> set[State]:
    seen, front = {start}, [start]
    while front:
        state = front.pop()
        for (origin, _), follower in TRANSITIONS.items():
            if origin is state and follower not in seen:
                seen.add(follower)
                front.append(follower)
    return seen


def test_every_state_is_reached_and_leads_to_the_end() -> None:
    assert reachable(State.IDENTIFY) == set(State)
    for state in State:
        assert State.END in reachable(state)


def test_any_state_before_the_report_can_fail_into_the_report() -> None:
    for state in set(State) - {State.REPORT, State.END}:
        assert next_state(state, Outcome.FAILED) is State.REPORT


def test_nothing_is_copied_without_agreement() -> None:
    into_copy = {origin for (origin, _), follower in TRANSITIONS.items() if follower is State.COPY}
    assert into_copy == {State.AGREE, State.RECONNECT}
    assert reachable_without(State.IDENTIFY, (State.AGREE, Outcome.AGREED)).isdisjoint(
        {State.COPY, State.RECONNECT, State.FINISH}
    )


def reachable_without(start: State, forbidden: tuple[State, Outcome]) -> set[State]:
    seen, front = {start}, [start]
    while front:
        state = front.pop()
        for (origin, outcome), follower in TRANSITIONS.items():
            if origin is state and (origin, outcome) != forbidden and follower not in seen:
                seen.add(follower)
                front.append(follower)
    return seen


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_that_is_not_in_the_table_is_an_error(state: State, outcome: Outcome) -> None:
    if (state, outcome) in TRANSITIONS:
        assert isinstance(next_state(state, outcome), State)
    else:
        with pytest.raises(OutOfOrderError, match=outcome.value):
            next_state(state, outcome)
