"""Where the udev of a copied system is told names, by what lies in its tree."""

from pathlib import Path

import pytest

from payload.finish.network.name_files import (
    is_generated,
    keeps_kernel_names,
    name_edits,
    our_links,
    reads_links,
    rules_edit,
    rules_edits,
    rules_files,
    systemd_version,
    unswappable,
)
from payload.formats.network.interface import Assignment
from payload.model.errors import AdaptError
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "00:50:56:9a:00:11", "00:50:56:9a:00:22"
CARD = Card("ens1", HERE, "e1000", bus="0000:02:00.0")
SECOND = Card("ens2", OTHER, "e1000", bus="0000:03:00.0")
RULES, LINKS = "etc/udev/rules.d", "etc/systemd/network"
LINK_SETUP = "lib/udev/rules.d/80-net-setup-link.rules"
GENERATOR = "lib/udev/rules.d/75-persistent-net-generator.rules"
RULE = f'SUBSYSTEM=="net", ATTR{{address}}=="{OLD}", NAME="eth0"\n'
ONE = Assignment({"eth0": HERE}, [CARD])


def put(root: Path, *files: str, text: str = "") -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / RULES).mkdir(parents=True)
    return tmp_path


def paths(root: Path, assignment: Assignment = ONE) -> list[str]:
    return [edit.path for edit in name_edits(root, assignment)]


# --- what a system's udev reads


def test_the_rules_files_of_generators_that_of_today_first(root: Path) -> None:
    names = ("z25_persistent-net.rules", "30-net_persistent_names.rules", "70-persistent-net.rules")
    put(root, *(f"{RULES}/{name}" for name in names))
    put(root, f"{RULES}/70-persistent-cd.rules", f"{RULES}/90-own.rules", f"{RULES}/README")
    put(root, f"{RULES}/75-persistent-net-generator.rules")
    (root / RULES / "71-persistent-net.rules").mkdir()
    assert rules_files(root) == tuple(
        f"/{RULES}/{name}"
        for name in (
            "70-persistent-net.rules",
            "30-net_persistent_names.rules",
            "z25_persistent-net.rules",
        )
    )


def test_two_names_of_one_rules_file_are_one(root: Path) -> None:
    put(root, f"{RULES}/z25_persistent-net.rules")
    (root / RULES / "70-persistent-net.rules").symlink_to("z25_persistent-net.rules")
    assert rules_files(root) == (f"/{RULES}/z25_persistent-net.rules",)


def test_a_system_without_rules_has_none(tmp_path: Path) -> None:
    assert rules_files(tmp_path) == ()
    assert our_links(tmp_path) == []


@pytest.mark.parametrize("directory", ["lib", "usr/lib"])
def test_a_udev_that_reads_link_files(root: Path, directory: str) -> None:
    assert not reads_links(root)
    put(root, f"{directory}/udev/rules.d/80-net-setup-link.rules")
    assert reads_links(root)
    (root / RULES / "80-net-setup-link.rules").symlink_to("/dev/null")
    assert not reads_links(root), "somebody switched it off"


@pytest.mark.parametrize(
    "path",
    [
        GENERATOR,
        "usr/lib/udev/rules.d/75-persistent-net-generator.rules",
        "etc/udev/rules.d/75-persistent-net-generator.rules",
        "lib/udev/write_net_rules",
    ],
)
def test_a_udev_that_writes_rules_itself(root: Path, path: str) -> None:
    assert not is_generated(root)
    assert is_generated(put(root, path))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('GRUB_CMDLINE_LINUX="net.ifnames=0 biosdevname=0"\n', True),
        ('A=1\n  GRUB_CMDLINE_LINUX="quiet net.ifnames=0"', True),
        ('#GRUB_CMDLINE_LINUX="net.ifnames=0"\n', False),
        ('GRUB_CMDLINE_LINUX="net.ifnames=01"\n', False),
        ('GRUB_CMDLINE_LINUX="net.ifnames=1"\n', False),
        ("", False),
    ],
)
def test_names_of_the_kernel_by_its_command_line(root: Path, line: str, *, expected: bool) -> None:
    put(root, "etc/default/grub", text=line)
    assert keeps_kernel_names(root) is expected


@pytest.mark.parametrize(("target", "expected"), [("/dev/null", True), ("/etc/x", False)])
def test_names_of_the_kernel_by_a_masked_file(root: Path, target: str, *, expected: bool) -> None:
    (root / LINKS).mkdir(parents=True)
    assert not keeps_kernel_names(root)
    (root / LINKS / "99-default.link").symlink_to(target)
    assert keeps_kernel_names(root) is expected


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ((), 0),
        (("lib/systemd/libsystemd-shared-241.so",), 241),
        (("usr/lib/systemd/libsystemd-shared-239.so",), 239),
        (("usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-252.so",), 252),
        (("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-255.4-1ubuntu8.so",), 255),
        (("lib/systemd/libsystemd-shared-231.so", "usr/lib/systemd/libsystemd-core-250.so"), 250),
        (("lib/systemd/libsystemd-journal.so.0", "lib/systemd/systemd"), 0),
    ],
)
def test_the_version_of_systemd_by_its_library(
    root: Path, files: tuple[str, ...], version: int
) -> None:
    assert systemd_version(put(root, *files)) == version


# --- where names are told


def test_rules_that_are_there_stay_the_place_of_names(root: Path) -> None:
    put(root, LINK_SETUP, f"{RULES}/z25_persistent-net.rules", text=RULE)
    put(root, f"{RULES}/70-persistent-net.rules", text="# empty\n")
    edits = name_edits(root, ONE)
    assert [edit.path for edit in edits if HERE.encode() in edit.content] == [
        f"/{RULES}/z25_persistent-net.rules"
    ]
    assert [edit.content for edit in edits if "70-" in edit.path] == [b"# empty\n"]


def test_each_name_gets_a_link_file_in_the_order_of_numbers(root: Path) -> None:
    put(root, LINK_SETUP, "lib/systemd/libsystemd-shared-252.so")
    edits = name_edits(root, Assignment({"lan10": OTHER, "lan2": HERE}, [CARD, SECOND]))
    assert [(edit.path, edit.what) for edit in edits] == [
        (f"/{LINKS}/10-failover-lan2.link", f"lan2 is {HERE}"),
        (f"/{LINKS}/10-failover-lan10.link", f"lan10 is {OTHER}"),
    ]
    assert all(b"\nType=ether\n" in edit.content for edit in edits)


@pytest.mark.parametrize(
    ("names", "kernel_names", "expected"),
    [
        ({"eth0": HERE}, True, []),  # the only card is eth0 anyway
        ({"eth0": HERE}, False, [f"/{LINKS}/10-failover-eth0.link"]),
        (
            {"eth0": HERE, "eth1": OTHER},
            True,
            [f"/{LINKS}/10-failover-eth0.link", f"/{LINKS}/10-failover-eth1.link"],
        ),
    ],
)
def test_names_of_the_kernel_need_a_file_where_it_could_give_others(
    root: Path, names: dict[str, str], kernel_names: object, expected: list[str]
) -> None:
    put(root, LINK_SETUP)
    if kernel_names:
        put(root, "etc/default/grub", text='GRUB_CMDLINE_LINUX="net.ifnames=0"\n')
    assert paths(root, Assignment(names, [CARD, SECOND])) == expected


def test_beside_a_generator_ethn_is_told_by_a_rule_and_other_names_by_link_files(
    root: Path,
) -> None:
    put(root, LINK_SETUP, GENERATOR)
    assert paths(root) == [f"/{RULES}/70-persistent-net.rules"]
    assert paths(root, Assignment({"enp2s0": HERE}, [CARD])) == [
        f"/{LINKS}/10-failover-enp2s0.link"
    ]


def test_a_name_that_another_file_ties_needs_no_second_one(root: Path) -> None:
    put(root, LINK_SETUP)
    text = f"[Match]\nMACAddress={OLD}\n[Link]\nName=enp2s0\n"
    put(root, f"{LINKS}/50-own.link", text=text)
    assert paths(root, Assignment({"enp2s0": HERE}, [CARD], macs={OLD: HERE})) == []
    # Ours is no other file: it is told anew, as for other hardware.
    (root / LINKS / "50-own.link").rename(root / LINKS / "10-failover-enp2s0.link")
    assert our_links(root) == [f"/{LINKS}/10-failover-enp2s0.link"]
    assert paths(root, Assignment({"enp2s0": HERE}, [CARD])) == [
        f"/{LINKS}/10-failover-enp2s0.link"
    ]


@pytest.mark.parametrize(("generator", "expected"), [(False, []), (True, ["70-persistent-net"])])
def test_hwaddr_names_cards_where_no_generator_does(
    root: Path, generator: object, expected: list[str]
) -> None:
    text = f"DEVICE=eth0\nHWADDR={OLD}\n"
    put(root, "etc/sysconfig/network-scripts/ifcfg-eth0", text=text)
    if generator:
        put(root, GENERATOR)
    assert [Path(path).stem for path in paths(root)] == expected


@pytest.mark.parametrize("tab", ["etc/iftab", "etc/mactab"])
def test_a_system_with_a_table_of_names_gets_no_rules(root: Path, tab: str) -> None:
    put(root, tab, text=f"eth1 mac {OLD}\n")
    assert paths(root) == []


def test_without_names_nothing_is_told(root: Path) -> None:
    assert paths(root, Assignment({"eth0": "", OLD: HERE}, [CARD])) == []


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("", "", "70-persistent-net.rules"),
        ("lib/udev/write_net_rules", "RULES=70-persistent-net", "70-persistent-net.rules"),
        ("lib/udev/write_net_rules", "RULES=z25_persistent-net", "z25_persistent-net.rules"),
        (f"{RULES}/z45_persistent-net-generator.rules", "", "z25_persistent-net.rules"),
        ("lib/udev/rename_netiface", "", "30-net_persistent_names.rules"),
    ],
)
def test_the_first_rules_go_where_the_systems_generator_writes(
    root: Path, file: str, text: str, expected: str
) -> None:
    if file:
        put(root, file, text=text)
    assert paths(root) == [f"/{RULES}/{expected}"]


def test_an_empty_rules_file_is_the_place_before_a_new_one(root: Path) -> None:
    put(root, f"{RULES}/z25_persistent-net.rules", "lib/udev/rename_netiface")
    assert paths(root) == [f"/{RULES}/z25_persistent-net.rules"]


def test_a_system_without_udev_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AdaptError, match=r"no /etc/udev.*Name them in its own way"):
        name_edits(tmp_path, ONE)


# --- what is written there


def test_one_rules_file_names_the_cards_and_others_are_silent(root: Path) -> None:
    first, second = (f"/{RULES}/{name}" for name in ("a", "b"))
    put(root, f"{RULES}/a", text="# none\n")
    put(root, f"{RULES}/b", text=RULE)
    edits = {edit.path: edit for edit in rules_edits(root, [first, second], ONE)}
    assert edits[second].what == f"eth0 is {HERE}; rules for other cards commented out"
    assert edits[first].what == f"its rules commented out: {second} names the cards"
    put(root, f"{RULES}/a", text=RULE)
    edits = {edit.path: edit for edit in rules_edits(root, [first, second], ONE)}
    assert HERE.encode() in edits[first].content
    assert edits[second].content == f"#{RULE}".encode()


def test_without_names_the_rules_of_a_file_are_only_commented_out(root: Path) -> None:
    put(root, f"{RULES}/a", text=RULE)
    edit = rules_edit(root, f"/{RULES}/a", Assignment({}, [CARD]))
    assert edit.content == f"#{RULE}".encode()
    assert edit.what == "no card has a name; rules for other cards commented out"


def test_a_rules_file_behind_a_link_is_known_by_its_own_path(root: Path) -> None:
    put(root, "etc/real.rules", text=RULE)
    (root / RULES / "70-persistent-net.rules").symlink_to("/etc/real.rules")
    assert rules_edit(root, f"/{RULES}/70-persistent-net.rules", ONE).path == "/etc/real.rules"


# --- names that may be crossed


CROSSED = Assignment({"eth0": OTHER, "eth1": HERE}, [SECOND, CARD])


def test_names_of_the_kernel_that_change_places_are_told_with_what_to_do(root: Path) -> None:
    told = unswappable(put(root, LINK_SETUP), CROSSED)
    assert f"than eth0 ({OTHER}), eth1 ({HERE})," in told
    assert "exchange the cables" in told


@pytest.mark.parametrize(
    "names",
    [
        {"eth0": HERE, "eth1": OTHER},  # as the kernel finds them
        {"eth1": OTHER},
        {"eth7": HERE},  # a name that no card has yet
        {"enp2s0": OTHER, "enp3s0": HERE},
        {},
    ],
)
def test_names_that_keep_their_places_are_not_told(root: Path, names: dict[str, str]) -> None:
    put(root, LINK_SETUP)
    assert unswappable(root, Assignment(names, [SECOND, CARD])) == ""


def test_where_names_can_change_places_nothing_is_told(root: Path) -> None:
    assert unswappable(root, CROSSED) == "", "an old udev waits for the name"
    put(root, LINK_SETUP)
    assert unswappable(root, Assignment({"eth0": OTHER}, [SECOND])) == "", "there is one card"
    put(root, GENERATOR)
    assert unswappable(root, CROSSED) == "", "one with a generator does, too"
