"""The lab's two hosts as the measurements want them: a queue of 1 MB, one congestion control, and nothing remembered of earlier connections."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:  # the folder of this file is what Python knows
    sys.path.insert(0, str(ROOT))

from tests.lab.hosts import RATE_MBIT, ROUND_TRIP, open_lab  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.hosts import Host, Lab

QUEUE = 1000  # KB
#: `ip netns exec` shows a host these files in the place of those in /etc.
_ETC = Path("/etc/netns")


@contextmanager
def open_network(
    folder: Path, congestion: str, *, rate: float = RATE_MBIT, round_trip: float = ROUND_TRIP, names: str = ""
) -> Iterator[Lab]:
    """Rate in Mbit/s, and seconds. `names`: what both hosts have in their /etc/hosts, besides which no name has an address."""
    with open_lab(folder, rate=rate, round_trip=round_trip) as lab:
        lab.link.say(f"queue {QUEUE}")
        hosts = (lab.home, lab.abroad)
        etc = [_ETC / name_of(host) for host in hosts]
        try:
            for host, files in zip(hosts, etc, strict=True):
                set_kernel(host, tcp_congestion_control=congestion, tcp_no_metrics_save=1)
                files.mkdir(parents=True)
                (files / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
                # Else whoever asks for an IPv6 address waits for a resolver that is not there.
                (files / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
            yield lab
        finally:
            for files in etc:
                shutil.rmtree(files, ignore_errors=True)


def name_of(host: Host) -> str:
    """Of its network namespace."""
    return host.prefix[-1]


def set_kernel(host: Host, **settings: str | int) -> None:
    """Settings below net.ipv4 of that host alone. Raises CalledProcessError."""
    words = [f"net.ipv4.{name}={value}" for name, value in settings.items()]
    subprocess.run([*host.prefix, "sysctl", "-qw", *words], check=True)


def add_addresses(host: Host, *addresses: str) -> None:
    """To its end of the link. Raises CalledProcessError."""
    name = name_of(host)
    device = name.replace("-", "")
    for address in addresses:
        subprocess.run(["ip", "-n", name, "address", "add", f"{address}/32", "dev", device], check=True)
