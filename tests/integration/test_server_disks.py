"""Disks of the boot matrix's servers, as the tools read them that they are made for."""

import hashlib
import json
import subprocess
from pathlib import Path

from tests.vm.disks import LINUX_TYPE, Partition, Range, make_disk
from tests.vm.servers import EVIDENCE_DIGESTS, split, write_digests


def test_the_table_is_as_it_was_asked_for(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    uuid = "01234567-89AB-4DEF-8123-456789ABCDEF"
    table = (Partition(1, Range(2048, 4096), LINUX_TYPE, uuid=uuid),)
    make_disk(image, 8 << 20, uuid, table, "gpt")
    found = json.loads(subprocess.check_output(["sfdisk", "--json", image]))["partitiontable"]
    (entry,) = found["partitions"]
    assert (found["label"], found["id"]) == ("gpt", uuid)
    assert (entry["start"], entry["size"], entry["uuid"]) == (2048, 4096, uuid)


def test_every_lasting_file_has_its_digest(tmp_path: Path) -> None:
    root, work = tmp_path / "root", tmp_path / "work"
    for name in ("boot/kernel", "var/log/messages", "etc/fstab", "srv/data/a b", "srv/data/a\\x2d"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "etc/link").symlink_to("fstab")
    assert write_digests(root) == 4
    listed = (root / EVIDENCE_DIGESTS).read_text()
    assert f"{hashlib.sha256(b'etc/fstab').hexdigest()}  etc/fstab\n" in listed
    done = subprocess.run(
        ["sha256sum", "--check", EVIDENCE_DIGESTS], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    work.mkdir()
    boot, data = split(root, work, "boot", "srv/data")
    assert (boot / "kernel").exists() and (data / "a b").exists()
    assert (root / "boot").is_dir() and not list((root / "boot").iterdir())
