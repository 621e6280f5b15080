"""Two wires between two machines: both are used, and the loss of either only slows the copy."""

import re
import time

import pytest

from payload.model.report import Result
from tests.integration.harness import (
    DEADLINE,
    NO_COUNTDOWN,
    SOURCE_ID,
    TARGET_ID,
    sha256,
    slow_down,
    speed_up,
)
from tests.integration.namespaces import Machine, network
from tests.integration.server_image import make_server

pytestmark = pytest.mark.root

JOINED = r"also runs over network card (eth\d) now"


def received(machine: Machine, card: str) -> int:
    """Bytes that came in by that card."""
    counter = f"/sys/class/net/{card}/statistics/rx_bytes"
    return int(machine.run(["cat", counter]).stdout)


def test_both_wires_carry_the_copy_and_losing_either_only_slows_it(bench, tmp_path, blanks):
    """Each card meets every card of the source; those of two different wires never answer."""
    (tmp_path / "server").mkdir()
    images = make_server(tmp_path / "server", files=100)
    server = [images.system, images.data]
    before = [sha256(path) for path in server]
    with network(2, cards=2) as (first, second):
        for card in second.cards:
            slow_down(second, card, "3mbit")
        source = bench.start(first, SOURCE_ID, server)
        target = bench.start(second, TARGET_ID, blanks, f"{NO_COUNTDOWN} failover.connections=1")
        found = re.search(JOINED, target.wait_for(JOINED))
        assert found is not None
        further = found[1]
        (main,) = set(second.cards) - {further}
        end = time.monotonic() + DEADLINE
        while min(received(second, card) for card in second.cards) < 300_000:
            assert time.monotonic() < end and "[report]" not in target.log, target.log
            time.sleep(0.2)

        second.unplug(further)
        target.wait_for("The copy goes on over the other link; this one is tried again")
        second.plug(further)
        target.wait_for(rf"(?s){JOINED}.*{JOINED}")

        second.unplug(main)  # and with it the control conversation
        target.wait_for("The source answers again")
        speed_up(second, further)
        ours, theirs = target.report(), source.report()
    assert ours.result is Result.OK, ours.sentence
    assert theirs.result is Result.OK and theirs.regions == ours.regions
    assert ours.verified
    assert "the copy carries on where it was" not in target.log, "it was never interrupted"
    assert [sha256(path) for path in server] == before
