"""A UEFI firmware's memory for boot entries, behind the words of efibootmgr."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from payload.system.command import Completed


class Firmware:
    """efibootmgr, and the memory behind it."""

    def __init__(self, partitions: dict[str, str]) -> None:
        """`partitions` is the GUID of the EFI partition on each disk's node."""
        self.partitions = partitions
        self.entries = {"0000": "UiApp\tFvFile(462caa21)", "0001": "UEFI USB stick\tUSB(0,0)"}
        self.order = ["0000", "0001"]
        self.current = "0001"
        self.calls: list[Sequence[str]] = []
        self.forgets = self.stubborn = False

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.calls.append(argv)
        if "--create-only" in argv:
            self._create(dict(pairwise(argv)))
        elif "--bootorder" in argv and not self.stubborn:
            self.order = argv[-1].split(",")
        entries = "".join(f"Boot{number}* {text}\n" for number, text in self.entries.items())
        head = f"BootCurrent: {self.current}\nBootOrder: {','.join(self.order)}\n"
        return Completed(tuple(argv), 0, head + entries, "")

    def _create(self, words: dict[str, str]) -> None:
        if self.forgets:
            return
        guid = self.partitions[words["--disk"]]
        number = f"{len(self.entries):04}"
        place = f"HD({words['--part']},GPT,{guid},0x800,0x1000)/{words['--loader']}"
        self.entries[number] = f"{words['--label']}\t{place}"
