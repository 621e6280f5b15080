"""Strangers on the wire, without the site's key: they cannot keep two machines from a copy."""

import pytest

from tests.support.machine_bench import NO_COUNTDOWN, SOURCE_ID, TARGET_ID
from tests.support.network_namespaces import network
from tests.support.scenario import Scenario, assert_copied, unchanged
from tests.support.strangers import ATTACKS, attacking, card_addresses, link_local

pytestmark = [pytest.mark.root, pytest.mark.waits]

BEGINS_WITHIN = 300  # looks of the target from when the source is there; five a second at most


@pytest.mark.parametrize("attack", [*ATTACKS, "all at once"])
def test_a_copy_begins_and_ends_whatever_a_stranger_does(case: Scenario, attack: str) -> None:
    attacks = list(ATTACKS) if attack == "all at once" else [attack]
    server, blank = case.made.server(), case.made.blank()
    with network(3) as (first, second, stranger), unchanged(server):
        host = link_local(first)
        for machine in (first, second, stranger):
            machine.ip("link", "set", "eth0", "up")
        card_addresses(stranger)
        with attacking(stranger, attacks, host, SOURCE_ID):
            target = case.bench.start(second, TARGET_ID, blank, NO_COUNTDOWN)
            target.wait_for(r"^\[wait\]")
            target.wait_for_looks()  # so that it heard the stranger first, and much of it
            source = case.bench.start(first, SOURCE_ID, server, NO_COUNTDOWN)
            source.wait_for(r"^\[wait\]")
            before = target.look_count
            target.wait_for(r"^\[copy\]")
            assert target.look_count - before < BEGINS_WITHIN, target.log
            assert_copied((source.report(), target.report()))
        for process in (source, target):
            assert "press F" not in process.log  # a stranger's words are no advice
