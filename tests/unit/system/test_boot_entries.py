"""The firmware's own list of what it starts, as efibootmgr prints it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.system.boot_entries import parse_boot_table

GUID, SECOND = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1b4e28ba-2fa1-11d2-883f-0016d3cca428"
VERSION_17 = f"""\
BootCurrent: 0001
Timeout: 0 seconds
BootOrder: 0001,0000,0003
Boot0000* UiApp	FvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21)
Boot0001* UEFI QEMU DVD-ROM QM00005 	PciRoot(0x0)/Pci(0x1f,0x2)/Sata(2,65535,0)N.....YM....R,Y.
Boot0003* debian	HD(1,GPT,{GUID.upper()},0x800,0x5f800)/File(\\EFI\\debian\\shimx64.efi)
Boot0004  off	HD(1,GPT,{SECOND},0x800,0x5f800)/File(\\EFI\\debian\\shimx64.efi)
"""
VERSION_18 = f"""\
BootOrder: 0003
Boot0003* debian	HD(1,GPT,{GUID},0x800,0x5f800)/\\EFI\\debian\\shimx64.efi
      dp: 04 01 2a 00 01 00 00 00 / 04 04 34 00 / 7f ff 04 00
"""


@pytest.mark.parametrize("text", [VERSION_17, VERSION_18])
def test_what_efibootmgr_prints(text: str) -> None:
    table = parse_boot_table(text)
    found = table.find(GUID, "\\EFI\\Debian\\SHIMX64.EFI")
    assert found is not None
    assert (found.number, found.label) == ("0003", "debian")
    assert table.find(SECOND, "\\EFI\\debian\\shimx64.efi") is None, "it is switched off"
    assert table.order[-1] == "0003"


@given(st.text(alphabet="Boot0123* \tHD(,GP)/File\\.efi\n:Order-ab", max_size=300))
def test_any_text_gives_an_answer(text: str) -> None:
    table = parse_boot_table(text)
    assert table.find(GUID, "\\x.efi") is None
