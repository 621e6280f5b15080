"""A few of the trials of `make soak`, always the same ones, and how their disks are judged."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import soak
from tests.soak import (
    Bed,
    Death,
    claims_to_be_whole,
    differences,
    draw,
    look_at_target,
)
from tests.support.machine_bench import Bench
from tests.support.prepared_disks import PreparedDisks, root_for_writing

pytestmark = [pytest.mark.root, pytest.mark.waits]

# Either side, at the plan, in the copy and at the end, onto a blank disk and over an older copy.
SEEDS = (2, 3, 6)


@pytest.fixture(scope="module")
def bed(shared_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory = tmp_path_factory.mktemp("faults")
    yield Bed.prepare(PreparedDisks(shared_directory, directory))
    shutil.rmtree(directory)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_machine_that_dies_leaves_a_copy_or_none(bed: Bed, tmp_path: Path, seed: int) -> None:
    outcome = soak.play_seed(seed, bed, tmp_path)
    # One that died between the tables of two disks cannot tell what was made of the first.
    assert outcome.refusal == "" or "may be overwritten" in outcome.refusal, outcome


def test_a_link_that_is_cut_again_and_again_only_delays(bed: Bed, bench: Bench) -> None:
    soak.play_cuts(bed, Bench(bench.directory, bed.made.site, bench.stack), times=1)


def test_a_seed_is_a_trial() -> None:
    trials = [draw(seed) for seed in range(1, 200)]
    assert trials == [draw(seed) for seed in range(1, 200)]
    deaths = [death for trial in trials for death in trial.deaths]
    assert {(death.side, death.stage) for death in deaths} == {
        (side, stage) for side in ("source", "target") for stage, _ in soak._MOMENTS
    }
    assert {trial.refresh for trial in trials} == {True, False}
    assert all(isinstance(death, Death) for death in deaths)


def test_a_copy_that_is_not_whole_does_not_pass(bed: Bed) -> None:
    """The judgement itself: an older copy is not the server, a file or the boot code may differ."""
    copied = bed.made.copy()
    inventory = look_at_target(copied)
    assert claims_to_be_whole(inventory, copied)
    assert differences(bed.older, copied, inventory) == []
    assert any("usr/share/doc" in one for one in differences(bed.server, copied, inventory))
    with copied[0].open("r+b") as disk:
        disk.seek(600)
        disk.write(b"other")
    assert any("gap" in one for one in differences(bed.older, copied, inventory))


def test_a_blank_disk_and_an_unfinished_copy_claim_nothing(bed: Bed) -> None:
    for images in (bed.made.blank(), bed.made.unfinished_copy()):
        assert not claims_to_be_whole(look_at_target(images), images)
    used = bed.made.used_copy()
    assert claims_to_be_whole(look_at_target(used), used)
    with root_for_writing(used[0]) as root:
        (root / "etc/hostname").write_text("other\n")
    assert any("etc/hostname" in one for one in differences(bed.older, used, look_at_target(used)))
