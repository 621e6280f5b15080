"""What a system calls its network cards, and what each name is good for."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NamesInUse:
    """The names of one system's cards. Names of VLANs, bonds and bridges are not among them: what
    those need counts for the cards below.

    A card that the configuration knows by its MAC only has that MAC (lower case) for a name.
    """

    macs: dict[str, str] = field(default_factory=dict)  # name -> MAC that it is tied to
    addressed: tuple[str, ...] = ()  # with an address: the gateway's first, then those with ways
    configured: tuple[str, ...] = ()  # others that are mentioned
    ways: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name -> what it must reach
    vlans: dict[str, tuple[int, ...]] = field(default_factory=dict)  # 0: without a tag
    slots: dict[str, str] = field(default_factory=dict)  # name -> "0000:02:01.0" it is tied to


@dataclass(frozen=True)
class Arrival:
    """A beacon of one of the source's cards, as it arrived at one of the target's.

    `sent` and `received` are VLAN ids, 0 without a tag: a switch may add a tag or take it off.
    """

    source: str  # permanent MAC
    target: str
    sent: int = 0
    received: int = 0
