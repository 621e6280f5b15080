"""Boot menus, as Debian's generators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.boot.boot_menu import (
    parse_environment,
    parse_grub_cfg,
    parse_lilo_conf,
    parse_menu_lst,
    parse_snippets,
    parse_syslinux_cfg,
)

GRUB_CFG = """\
set default="0"
if [ x$feature_default_font_path = xy ] ; then
   font=unicode
else
insmod part_msdos
search --no-floppy --fs-uuid --set=root  aaaa-root
    font="/usr/share/grub/unicode.pf2"
fi
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple' {
        insmod ext2
        set root='hd0,msdos1'
        if [ x$feature_platform_search_hint = xy ]; then
          search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1  bbbb-boot
        else
          search --no-floppy --fs-uuid --set=root bbbb-boot
        fi
        echo    'Loading Linux 6.1 ...'
        linux   /vmlinuz-6.1 root=UUID=aaaa-root ro  quiet
        initrd  /microcode.img /initrd.img-6.1
}
submenu 'Advanced options' {
        menuentry 'recovery' {
                set root='hd0,msdos1'
                linux   ($root)/vmlinuz-6.0 root=/dev/sda6 single
        }
}
menuentry 'UEFI Firmware Settings' { fwsetup }
"""

MENU_LST = """\
default         1
timeout         5
# kopt=root=/dev/sda1 ro
title           Debian, old
root            (hd0,0)
kernel          /vmlinuz-2.6.8 root=/dev/sda5 ro
title           Univention, kernel 2.6.18
root            (hd0,0)
kernel          (hd0,0)/vmlinuz-2.6.18 root=/dev/sda5 ro quiet
initrd          /initrd.img-2.6.18
savedefault
title           Other
chainloader     +1
"""


def test_grub_cfg() -> None:
    first, second = parse_grub_cfg(GRUB_CFG)
    assert (first.title, first.uuid, first.kernel) == (
        "Debian GNU/Linux",
        "bbbb-boot",
        "/vmlinuz-6.1",
    )
    assert first.initrds == ["/microcode.img", "/initrd.img-6.1"]
    assert first.root == "UUID=aaaa-root"
    assert (second.number, second.kernel, second.root) == (1, "/vmlinuz-6.0", "/dev/sda6")


def test_menu_lst_has_its_default_first() -> None:
    first, second = parse_menu_lst(MENU_LST)
    assert (first.title, first.number) == ("Univention, kernel 2.6.18", 1)
    assert (first.kernel, first.initrds) == ("/vmlinuz-2.6.18", ["/initrd.img-2.6.18"])
    assert second.root == "/dev/sda5"


def titles(text: str, environment: dict[str, str] | None = None) -> list[str]:
    return [entry.title for entry in parse_grub_cfg(text, environment)]


SUBMENU = """\
menuentry 'a' --id one { linux /a
}
submenu 'more' $menuentry_id_option 'sub' {
  menuentry 'b' { true; }
  menuentry 'c' $menuentry_id_option 'three' {
    linux /c
  }
}
menuentry 'd' {
  linux /d
}
"""


@pytest.mark.parametrize(
    ("default", "first"),
    [("0", "a"), ("1>1", "c"), ("sub>three", "c"), ("more>c", "c"), ("1", "c"), ("2", "d"),
     ("one", "a"), ("d", "d"), ("7", "a"), ("", "a"), ("$other", "a")],
)  # fmt: skip
def test_the_default_of_grub_cfg_comes_first(default: str, first: str) -> None:
    assert titles(f'set default="{default}"\n{SUBMENU}')[0] == first


def test_the_default_may_be_the_entry_started_last() -> None:
    text = 'set default="0"\nif x ; then\nset default="${saved_entry}"\nfi\n' + SUBMENU
    environment = parse_environment("# GRUB Environment Block\nsaved_entry=sub>three\n#######")
    assert titles(text, environment)[0] == "c"
    assert titles(text)[0] == "a"


def test_what_is_searched_for_outside_holds_inside_and_not_the_other_way() -> None:
    text = "search --label --set=root boot\nmenuentry x {\nset root='lvm/vg-boot'\nlinux /a\n}\n"
    first, second = parse_grub_cfg(text + "menuentry y {\nlinux (hd1,gpt2)/b\n}\n")
    assert (first.label, first.device, first.number) == ("", "lvm/vg-boot", None)
    assert (second.label, second.number, second.elsewhere) == ("", 2, True)


@pytest.mark.parametrize(
    "line",
    ["search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 ab-12",
     "search --fs-uuid ab-12 --set=root", "search --set root --fs-uuid ab-12 --hint hd0,msdos1",
     "search -u -s root ab-12"],
)  # fmt: skip
def test_what_is_searched_for_stands_anywhere(line: str) -> None:
    (entry,) = parse_grub_cfg(f"menuentry x {{\n{line}\nlinux /a\n}}\n")
    assert entry.uuid == "ab-12"


def test_a_hypervisor_and_its_modules() -> None:
    text = "menuentry x {\nmultiboot2 /xen.gz dom0_mem=1G\nmodule2 /vmlinuz root=UUID=ab ro\n"
    (entry,) = parse_grub_cfg(text + "module2 --nounzip /initrd\n}\n")
    assert (entry.kernel, entry.initrds, entry.root) == (
        "/xen.gz",
        ["/vmlinuz", "/initrd"],
        "UUID=ab",
    )
    (legacy,) = parse_menu_lst("title x\nkernel /xen.gz\nmodule /vmlinuz root=/dev/sda1\n")
    assert (legacy.kernel, legacy.initrds, legacy.root) == ("/xen.gz", ["/vmlinuz"], "/dev/sda1")


def test_the_newest_snippet_comes_first_a_rescue_kernel_last() -> None:
    names = ["m-0-rescue.conf", "m-4.18.0-80.el8.conf", "m-4.18.0-240.el8.conf"]
    files = {name: f"title {name}\nlinux /{name}\n" for name in names}
    assert [entry.kernel[1:] for entry in parse_snippets(files, "", {})] == [
        names[2], names[1], names[0],
    ]  # fmt: skip


def test_lilo_conf_and_syslinux_cfg() -> None:
    lilo = "root=/dev/hda1\ndefault=new\nimage=/old\n label=old\nimage=/new\n label=new\n"
    first, second = parse_lilo_conf(lilo + ' append="root=LABEL=x"\n initrd=/i # comment\n')
    assert (first.kernel, first.initrds, first.root) == ("/new", ["/i"], "/dev/hda1")
    assert second.kernel == "/old"
    syslinux = "default b\nlabel a\n kernel menu.c32\nlabel b\n linux /k\n initrd /i,/j\n"
    (entry,) = parse_syslinux_cfg(syslinux + " append root=/dev/sda1\n")
    assert (entry.kernel, entry.initrds, entry.root) == ("/k", ["/i", "/j"], "/dev/sda1")


TOKENS = """
menuentry submenu search linux initrd set default=1>0 root=hd0,1 { } ' ; title kernel label
(hd9999999,1)/a image= append default saved 5 /k $x default=${saved_entry}
"""
WORDS = st.lists(st.sampled_from([*TOKENS.split(), "\n"]))


@given(WORDS.map(" ".join))
def test_any_words_give_an_answer(text: str) -> None:
    menus = (parse_grub_cfg(text, {"saved_entry": "1"}), parse_menu_lst(text, text))
    for entry in (*menus[0], *menus[1], *parse_lilo_conf(text), *parse_syslinux_cfg(text)):
        assert entry.kernel


@given(st.text(alphabet="menuentrylinuxsearchtitlekernel (){}'\"=,/$\n01", max_size=200))
def test_any_menu_gives_an_answer(text: str) -> None:
    for entry in (*parse_grub_cfg(text), *parse_menu_lst(text)):
        assert entry.kernel


def test_variables_of_an_entry_are_filled_in_once_and_whole() -> None:
    """A value is no text to be searched again, however often one names the next."""
    files = {"a.conf": "title a\nlinux /k\noptions $opts $optsmore ${more} $none\n"}
    environment = {"opts": "$more", "more": "root=/dev/sda1", "optsmore": "root=/dev/sdb1"}
    assert [entry.root for entry in parse_snippets(files, "", environment)] == ["/dev/sdb1"]
