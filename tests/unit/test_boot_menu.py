"""Boot menus, as Debian's generators write them."""

from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot_menu import parse_grub_cfg, parse_menu_lst

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


@given(st.text(alphabet="menuentrylinuxsearchtitlekernel (){}'\"=,/$\n01", max_size=200))
def test_any_menu_gives_an_answer(text: str) -> None:
    for entry in (*parse_grub_cfg(text), *parse_menu_lst(text)):
        assert entry.kernel
