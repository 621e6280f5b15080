"""depmod's lists, of etch and of today, and what they say about a device."""

from hypothesis import given
from hypothesis import strategies as st

from payload.formats.kernel.kernel_modules import (
    Kernel,
    parse_built_in,
    parse_config,
    parse_modules_alias,
    parse_modules_dep,
    parse_pcimap,
)

PIIX = "pci:v00008086d00007111sv000015ADsd00001976bc01sc01i8A"
PCIMAP = b"""\
# pci module         vendor     device     subvendor  subdevice  class      class_mask driver_data
piix                 0x00008086 0x00007111 0xffffffff 0xffffffff 0x00000000 0x00000000 0x0
ehci-hcd             0xffffffff 0xffffffff 0xffffffff 0xffffffff 0x000c0320 0xffffffff 0x0
ahci                 0xffffffff 0xffffffff 0xffffffff 0xffffffff 0x00010601 0x00ffffff 0x0
generic              0xffffffff 0xffffffff 0xffffffff 0xffffffff 0x00010100 0x00ffff00 0x0
broken               0x00008086
"""


def test_the_map_of_etch_says_the_same_as_aliases() -> None:
    kernel = Kernel("2.6.18", tuple(parse_pcimap(PCIMAP)), tells_built_in=False)
    assert kernel.claiming(PIIX) == ("piix", "generic")
    assert kernel.claiming("pci:v00008086d00002922sv0sd0bc01sc06i01") == ("ahci",)
    assert kernel.claiming("pci:v00001000d00000030sv0sd0bc01sc00i00") == ()


def test_a_module_needs_what_goes_before_it() -> None:
    document = (
        b"/lib/modules/2.6.18/kernel/drivers/ide/pci/piix.ko: "
        b"/lib/modules/2.6.18/kernel/drivers/ide/ide-core.ko\n"
        b"kernel/drivers/block/virtio-blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz\nnonsense\n"
    )
    found = dict(parse_modules_dep(document))
    assert found["piix"][1] == ("ide_core",)
    assert found["virtio_blk"] == ("kernel/drivers/block/virtio-blk.ko.xz", ("virtio",))
    needs = {name: names for name, (_, names) in found.items()}
    kernel = Kernel("2.6.18", (), False, needs=needs, built_in=frozenset({"ide_core", "sd_mod"}))
    assert kernel.held("piix", frozenset({"piix"}))
    assert not kernel.held("virtio_blk", frozenset({"virtio_blk"}))
    assert kernel.held("virtio_blk", frozenset({"virtio_blk", "virtio"}))
    assert kernel.held("sd_mod", frozenset())


def test_what_is_built_in_stands_in_the_configuration() -> None:
    document = b"# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=y # no\n"
    assert parse_config(document) == {"CONFIG_B"}


@given(st.binary(max_size=200), st.sampled_from([b"", b"alias pci:", b"x.ko: ", b"m 0x1 0x2 "]))
def test_no_list_is_too_broken_to_be_read(document: bytes, before: bytes) -> None:
    whole = before + document
    for parse in (parse_modules_alias, parse_built_in, parse_pcimap, parse_modules_dep):
        for found in parse(whole):
            assert len(found) == 2
    assert all(option.startswith("CONFIG_") for option in parse_config(whole))
