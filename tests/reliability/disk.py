"""A small disk in memory, where the system lets us mount one."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

WHOLE = 256 << 10  # KiB; nothing is taken until it is written


def _mount(*words) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *words], capture_output=True, text=True)


def possible(place: Path) -> str:
    """Why there can be none; "" where there can."""
    if os.getuid():
        return "mounting a disk in memory needs root"
    try:
        done = _mount("-t", "tmpfs", "-o", "size=64k", "none", str(place))
    except FileNotFoundError:
        return "there is no mount command"
    if done.returncode:
        return f"this system refuses to mount: {done.stderr.strip()}"
    subprocess.run(["umount", str(place)], check=True)
    return ""


@contextmanager
def small_disk(place: Path):
    """A disk at ``place``; yields ``resize(KiB or None)``: so much is free beyond what is taken, or enough for all."""
    _mount("-t", "tmpfs", "-o", f"size={WHOLE}k,mode=755", "none", str(place)).check_returncode()

    def resize(free=None):
        about = os.statvfs(place)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize >> 10
        size = WHOLE if free is None else max(4, used + int(free))
        _mount("-o", f"remount,size={size}k", str(place)).check_returncode()

    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
