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
        self.entries: dict[str, str] = {"0000": "UiApp\tFvFile(462caa21)"}
        self.order = ["0000"]
        self.calls: list[Sequence[str]] = []
        self.forgets = self.stubborn = False

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.calls.append(argv)
        if "--create" in argv:
            self._create(dict(pairwise(argv)))
        elif "--bootorder" in argv and not self.stubborn:
            self.order = argv[-1].split(",")
        entries = "".join(f"Boot{number}* {text}\n" for number, text in self.entries.items())
        return Completed(tuple(argv), 0, f"BootOrder: {','.join(self.order)}\n{entries}", "")

    def _create(self, words: dict[str, str]) -> None:
        if self.forgets:
            return
        guid = self.partitions[words["--disk"]]
        number = f"{len(self.entries):04}"
        place = f"HD({words['--part']},GPT,{guid},0x800,0x1000)/{words['--loader']}"
        self.entries[number] = f"{words['--label']}\t{place}"
        self.order.insert(0, number)
