"""Debian installations to make servers of: by mmdebstrap, as tar archives, cached.

An archive is taken from the mirror that this machine's own apt uses, whatever its release.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tests.support.once import made_once
from tests.vm import kept
from tests.vm.images import call

ARCHIVE = "system.tar"

# What every server here is made of, beside its init system.
SYSTEM = (
    "udev", "kmod", "ifupdown", "iproute2", "procps", "login", "passwd",
    "e2fsprogs", "linux-image-amd64", "initramfs-tools", "zstd",
)  # fmt: skip

# What a server has installed and never uses: left out, since every byte goes through emulated CPUs.
LEFT_OUT = (
    *(f"/usr/share/{what}/*" for what in ("doc", "man", "locale", "info", "bug", "lintian")),
    "/lib/udev/hwdb.d/*",
    "/usr/lib/udev/hwdb.d/*",
    *(f"{lib}/modules/*/kernel/{what}/*"
      for lib in ("/lib", "/usr/lib")
      for what in (
          "sound", "drivers/gpu", "drivers/media", "drivers/bluetooth", "drivers/comedi",
          "drivers/hwmon", "drivers/iio", "drivers/infiniband", "drivers/isdn", "drivers/leds",
          "drivers/mtd", "drivers/net/can", "drivers/net/usb", "drivers/net/wireless",
          "drivers/nfc", "drivers/power", "drivers/staging", "drivers/target",
          "drivers/usb/gadget", "net/bluetooth", "net/bridge", "net/ceph", "net/mac80211",
          "net/netfilter", "net/sched", "net/sunrpc", "net/wireless", "fs/ceph", "fs/cifs",
          "fs/f2fs", "fs/gfs2", "fs/nfs", "fs/nfsd", "fs/ocfs2", "fs/smb",
      )),
)  # fmt: skip


def base_system(
    cache: Path, release: str, packages: Iterable[str], init: str = "systemd-sysv"
) -> Path:
    """The tar archive of an installation with these packages beside SYSTEM. Raises ImageError."""
    wanted = (init, *SYSTEM, *packages)
    words = "\n".join((*wanted, *LEFT_OUT))
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    directory = cache / f"system-{release}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)

    def make(work: Path) -> None:
        if not kept.fetch(directory.name, work):
            _install(release, wanted, work / ARCHIVE)
            kept.keep(directory.name, work)

    return made_once(directory, make) / ARCHIVE


def _install(release: str, packages: Iterable[str], archive: Path) -> None:
    options = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    call("mmdebstrap", "--variant=minbase", "--format=tar", f"--include={','.join(packages)}",
         *options, *_apt_options(), release, archive, *_sources(release))  # fmt: skip


def _sources(release: str) -> list[str]:
    """The archive's and its security lines for a release, at this machine's own mirrors."""
    form = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = call("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    words = [line.split() for line in targets.splitlines() if line.startswith("Debian ")]
    sources = [
        f"deb {uri} {release}{'-security' if suite.endswith('-security') else ''} main"
        for _, uri, suite, component in words
        if component == "main" and ("-" not in suite or suite.endswith("-security"))
    ]
    if not sources:
        raise RuntimeError(
            "This machine knows no Debian package lists: run `apt-get update` on Debian first."
        )
    return list(dict.fromkeys(sources))


def _apt_options() -> list[str]:
    """How this machine reaches its mirror, as far as its apt was told."""
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until",
              "Acquire::Check-Date")  # fmt: skip
    settings = call("apt-config", "dump").splitlines()
    return [f"--aptopt={line}" for line in settings if line.split(" ")[0] in wanted]
