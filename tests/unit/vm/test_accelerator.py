"""KVM or emulation: what is asked for, what a trial shows, what is remembered of it."""

from pathlib import Path

import pytest

from payload.model.codec import to_pretty_json
from tests.vm import accelerator
from tests.vm.accelerator import (
    Accelerator,
    Outcome,
    Remembered,
    Trial,
    choose_accelerator,
    decide_by_trial,
    parse_wish,
    plan_processor,
    read_complaint,
    recall,
)

NOWHERE = Path("/nonexistent/file")


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (Trial(Outcome.SPOKE), "KVM: the live system's kernel starts under it"),
        (
            Trial(Outcome.ENDED, "failed to set MSR 0x10a"),
            "emulated: KVM does not start a kernel here (QEMU ended: failed to set MSR 0x10a)",
        ),
        (Trial(Outcome.ENDED), "emulated: KVM does not start a kernel here (QEMU ended)"),
        (
            Trial(Outcome.STOOD_STILL),
            "emulated: KVM does not start a kernel here (no word of it in 10 s)",
        ),
        (
            Trial(Outcome.NOT_STARTED, "/dev/kvm: No such file or directory"),
            "emulated: KVM cannot be used here: /dev/kvm: No such file or directory",
        ),
    ],
    ids=lambda value: value.outcome if isinstance(value, Trial) else "",
)
def test_a_trial_decides_and_says_why(trial: Trial, said: str) -> None:
    choice = decide_by_trial(trial)
    assert str(choice) == said
    assert (choice.accelerator is Accelerator.KVM) == (trial.outcome is Outcome.SPOKE)


@pytest.mark.parametrize("word", ["kvm", "tcg", "KVM"])
def test_who_asks_is_not_contradicted(word: str) -> None:
    choice = choose_accelerator(NOWHERE, NOWHERE, word)
    assert choice.accelerator.value == word.lower()
    assert f"ACCEL={word.lower()} asks for it" in str(choice)


def test_an_unknown_word_is_refused() -> None:
    assert parse_wish("") is None
    with pytest.raises(ValueError, match="ACCEL is 'hvf'; it can be kvm, tcg, or left out"):
        parse_wish("hvf")


def test_without_the_node_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "KVM", NOWHERE)
    choice = choose_accelerator(NOWHERE, NOWHERE, "")
    assert choice.accelerator is Accelerator.TCG
    assert f"{NOWHERE}: No such file" in choice.why


def test_a_trial_is_remembered_for_its_inputs_alone(tmp_path: Path) -> None:
    memory = tmp_path / "accelerator.json"
    assert recall(memory, "key") is None
    trial = Trial(Outcome.ENDED, "why")
    memory.write_bytes(to_pretty_json(Remembered("key", trial)))
    assert recall(memory, "key") == trial
    assert recall(memory, "other") is None
    memory.write_text("{")
    assert recall(memory, "key") is None


def test_warnings_are_no_complaints() -> None:
    said = (
        "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H\n"
        "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\n"
        "qemu-system-x86_64: kvm_buf_set_msrs: Assertion `ret == n' failed.\n"
    )
    assert read_complaint(said) == "error: failed to set MSR 0x10a to 0x69"
    assert read_complaint("") == ""


@pytest.mark.parametrize(
    ("kind", "virtualizes", "processor"),
    [
        (Accelerator.KVM, True, "host"),
        (Accelerator.KVM, False, "host,svm=off,vmx=off"),
        (Accelerator.TCG, True, "max,erms=off,fsrm=off"),
        (Accelerator.TCG, False, "max,erms=off,fsrm=off,svm=off,xlevel=0x8000000a"),
    ],
)
def test_only_who_is_to_has_virtualization(
    kind: Accelerator, virtualizes: bool, processor: str
) -> None:
    words = plan_processor(kind, virtualizes=virtualizes)
    assert words[words.index("-cpu") + 1] == processor
    assert words[words.index("-accel") + 1].split(",")[0] == kind.value
