"""The rehearsal's own case: the sample server, onto a machine with another controller and card."""

from tests.vm.case import SOURCE_UUID, TARGET_UUID, Case, Expected
from tests.vm.evidence import Mount, SeenCard
from tests.vm.hardware import Bus, Card, Hardware
from tests.vm.sample_server import ADDRESS, DISK_SIZES, MAC, RECIPE

TARGET_MAC = "52:54:00:c0:97:02"
MIB = 1 << 20

SAMPLE = Case(
    number=0,
    source_text="MBR, ext3 /boot, ext4 in a logical partition, xfs data, GRUB 2, z25 rules, IDE",
    target_text="SATA controller, other card, a larger disk",
    recipe=RECIPE,
    source=Hardware(
        "source", bus=Bus.IDE, cards=(Card(MAC, "e1000", network="lan"),), uuid=SOURCE_UUID
    ),
    target=Hardware(
        "target",
        bus=Bus.AHCI,
        cards=(Card(TARGET_MAC, "e1000e", network="lan"),),
        uuid=TARGET_UUID,
    ),
    target_sizes=(2458 * MIB, DISK_SIZES[1]),
    expected=Expected(
        cards=(SeenCard("eth0", TARGET_MAC, (ADDRESS,)),),
        by_rules=True,
        mounts=(
            Mount("/dev/sda1", "/boot", "ext3"),
            Mount("/dev/sdb1", "/srv/groupware", "xfs"),
        ),
        swap=True,
        least_files=10000,
    ),
)
