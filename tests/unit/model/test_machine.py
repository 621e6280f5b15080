"""A machine's name for people."""

import pytest

from payload.model.machine import MachineIdentity


@pytest.mark.parametrize(
    ("vendor", "product", "label"),
    [
        ("Dell", "PowerEdge R710", "Dell PowerEdge R710 01234567"),
        ("", "KVM", "KVM 01234567"),
        ("HP", "", "HP 01234567"),
        ("", "", "machine 01234567"),
    ],
)
def test_a_label_has_what_is_on_the_case_and_the_begin_of_the_id(
    vendor: str, product: str, label: str
) -> None:
    assert MachineIdentity("0123456789abcdef" * 2, vendor, product).label == label
