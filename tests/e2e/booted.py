"""A computer of its own that has been started by a real systemd, made of namespaces: what is on this one can be read there, nothing is written here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import missing, program, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent.parent.parent
#: Where Ropeway is, there: a place that system services can read.
PYTHON, PACKAGE = "/opt/ropeway/bin/python", "/opt/ropeway-source"
USER, UID = "traveller", 4242
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SYSTEMD = "/lib/systemd/systemd"

#: Services of the machine below that have nothing to do with it, or would do something to it.
_MASKED = """
    systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-sysctl.service
    systemd-networkd.service systemd-resolved.service systemd-timesyncd.service systemd-modules-load.service systemd-remount-fs.service
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount tmp.mount getty.target
    cron.service anacron.timer apt-daily.timer apt-daily-upgrade.timer
"""

_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs {room}
mkdir {room}/upper {room}/work {room}/root
mount -t overlay overlay -o lowerdir=/,upperdir={room}/upper,workdir={room}/work {room}/root
cd {room}/root
mkdir -p opt/python opt/ropeway/bin opt/ropeway/{packages} opt/ropeway-source/proxy oldroot
mount --bind {base} opt/python
ln -s /opt/python/bin/{python} opt/ropeway/bin/python
echo 'home = /opt/python/bin' > opt/ropeway/pyvenv.cfg
mount --bind {prefix}/{packages} opt/ropeway/{packages}
mount --bind {source}/proxy opt/ropeway-source/proxy
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs sysfs sys
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi
mount -o remount,ro,bind sys
mount -t tmpfs tmpfs dev
for each in null zero full random urandom tty; do
    : > dev/$each
    mount --bind /dev/$each dev/$each
done
mkdir dev/pts dev/shm
ln -s pts/ptmx dev/ptmx
mount -t devpts devpts dev/pts -o newinstance
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp -o mode=1777
ip link set lo up
pivot_root . oldroot
umount -l /oldroot
echo /opt/python/lib > /etc/ld.so.conf.d/000-ropeway.conf  # where Python's own library is, if it has one
ldconfig
rm -rf /etc/systemd/system/*.wants /etc/machine-id
for each in {masked}; do ln -sf /dev/null /etc/systemd/system/$each; done
systemd-machine-id-setup >/dev/null 2>&1
echo '{user}:x:{uid}:{uid}::/home/{user}:/bin/bash' >> /etc/passwd
echo '{user}:x:{uid}:' >> /etc/group
echo '{user}:*:20000:0:99999:7:::' >> /etc/shadow
mkdir -p /home/{user} /var/log/journal
chown {uid}:{uid} /home/{user}
container=other exec {systemd} --system --unit=multi-user.target
"""


class Booted:
    """Its first process is `pid`, as it is seen here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *argv: str, user: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """As root, or as this user with a session. Does not judge the status."""
        words = ["nsenter", f"--target={self.pid}", "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"]
        environ = {"PATH": os.defpath + ":/usr/sbin:/sbin", "PYTHONPATH": PACKAGE, "LC_ALL": "C.UTF-8", "HOME": "/root"}
        if user:
            words += ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
            environ |= {"HOME": f"/home/{user}", "USER": user, "XDG_RUNTIME_DIR": f"/run/user/{UID}"}
        return subprocess.run([*words, *argv], capture_output=True, text=True, env=environ, timeout=timeout)

    def succeed(self, *argv: str, user: str = "") -> str:
        done = self.run(*argv, user=user)
        assert done.returncode == 0, f"{shlex.join(argv)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ropeway(self, *argv: str, user: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(PYTHON, "-P", "-m", "proxy", *argv, user=user)


@contextmanager
def boot(room: Path) -> Iterator[Booted]:
    """Needs Linux, root and programs, without which the test is skipped, or fails in CI; and a kernel that allows it, without which it is skipped."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing("a system of its own takes Linux and root")
    if not Path(_SYSTEMD).exists():
        missing("systemd is not installed")
    for name in ("unshare", "nsenter", "setpriv", "ip"):
        program(name)
    script = _BOOT.format(
        room=shlex.quote(str(room)),
        prefix=shlex.quote(sys.prefix),
        base=shlex.quote(sys.base_prefix),
        python=_VERSION,
        packages=f"lib/{_VERSION}/site-packages",
        source=shlex.quote(str(SOURCE)),
        masked=" ".join(_MASKED.split()),
        systemd=_SYSTEMD,
        user=USER,
        uid=UID,
    )
    groups = _own_groups(f"ropeway-{os.getpid()}")
    enter = "".join(f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))} || true; " for group in groups)
    inner = f"exec unshare -m -p -u -i -n -C --fork --kill-child bash -c {shlex.quote(script)}"
    log = (room.parent / "boot.log").open("w+b")
    process = subprocess.Popen(["bash", "-c", enter + inner], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield _when_running(process, room.parent / "boot.log")
    finally:
        process.kill()
        process.wait()
        log.close()
        for group in groups:
            _remove(group)


def _own_groups(name: str) -> list[Path]:
    """So that the groups of its services are not made among those of this machine."""
    top = Path("/sys/fs/cgroup")
    hierarchies = (
        [top] if (top / "cgroup.procs").exists() else [each for each in top.iterdir() if not each.is_symlink()]
    )
    made = []
    for each in hierarchies:
        try:
            (each / name).mkdir()
        except OSError as error:
            pytest.skip(f"this machine does not let us make control groups: {error.strerror}")
        made.append(each / name)
        for given in ("cpuset.cpus", "cpuset.mems"):  # version 1: a group without them takes nobody
            if (each / name / given).exists() and (each / given).exists():
                (each / name / given).write_text((each / given).read_text())
    return made


def _remove(group: Path) -> None:
    """Processes take a moment to be gone."""
    for _ in range(50):
        for each in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            _try_to_remove(each)
        if _try_to_remove(group):
            return
        time.sleep(0.05)


def _try_to_remove(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True


def _when_running(process: subprocess.Popen[bytes], log: Path) -> Booted:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: process.poll() is not None or children.read_text().split(), "a process of its own")
    if process.poll() is not None:
        pytest.skip(f"this machine cannot run a system of its own: {log.read_text()}")
    booted = Booted(int(children.read_text().split()[0]))

    def is_up() -> bool:
        state = booted.run("systemctl", "is-system-running").stdout.strip()
        return process.poll() is not None or state in ("running", "degraded")

    wait_until(is_up, "a system that runs", seconds=60)
    if process.poll() is not None:
        pytest.skip(f"this machine cannot run a system of its own: {log.read_text()}")
    booted.succeed("loginctl", "enable-linger", USER)
    booted.succeed("systemctl", "start", f"user@{UID}.service")  # and waits until it is there
    return booted
