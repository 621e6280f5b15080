"""What a machine says of itself to everybody on the wire."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Announcement:
    """Who a machine is, and the TCP port it answers at."""

    machine_id: str
    role: str
    name: str  # for people
    port: int
    protocol: int


@dataclass(frozen=True)
class Claim:
    """An announcement as it was heard, and where its machine says it can be reached."""

    announcement: Announcement
    addresses: tuple[str, ...]
