"""open-iscsi's records: a session that is bound to a card by its MAC address."""

from payload.formats.network.interface import Assignment, lines_of, replace_macs, to_bytes


def rewrite_record(content: bytes, _path: str, assignment: Assignment) -> bytes:
    """`iface.hwaddress` becomes that of the card here: without it the volumes do not come."""
    macs = assignment.replacements
    return to_bytes(
        replace_macs(line, macs) if line.lstrip().startswith("iface.hwaddress") else line
        for line in lines_of(content)
    )
