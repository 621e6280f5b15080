"""What people use else: pipes through netcat, as the manuals say."""

from pathlib import Path

from tests.bench.network import PORT, TARGET_ADDRESS

NETCAT = "nc.openbsd"
SEND = f"{NETCAT} -N {TARGET_ADDRESS} {PORT}"
TAKE = f"{NETCAT} -l {PORT} </dev/null"
# Without its display, which would make it sleep at the end. The buffer is Clonezilla's.
PARTCLONE = "partclone.ext4 -q -f 0 -z 10485760 -L {log}"


def dd(source: Path, target: Path, size: str) -> tuple[str, str]:
    """Shell commands of the source and of the target, which ends when all is on the disk."""
    return (
        f"dd if={source} bs={size} status=none | {SEND}",
        f"{TAKE} | dd of={target} bs=1M iflag=fullblock conv=notrunc,fsync status=none",
    )


def partclone(source: Path, target: Path, packed: bool) -> tuple[str, str]:
    """The same; packed by zstd -1 it is Clonezilla's shape."""
    pack, unpack = ("zstd -1 -q |", "zstd -d -q |") if packed else ("", "")
    tool = {
        name: PARTCLONE.format(log=target.parent / f"{name}.log") for name in ("clone", "restore")
    }
    return (
        f"{tool['clone']} -c -s {source} -o - 2>/dev/null | {pack} {SEND}",
        f"{TAKE} | {unpack} {tool['restore']} -r -s - -O {target} 2>/dev/null && sync -d {target}",
    )


def waiting(command: str) -> list[str]:
    """Says that it is ready and waits for a line before it begins."""
    return ["bash", "-o", "pipefail", "-c", f"echo ready; read -r go; {command}"]


def listening(command: str) -> list[str]:
    return ["bash", "-o", "pipefail", "-c", command]
