"""A Containerfile without a container engine: each stage is a folder, made by debootstrap, and each RUN happens in it by chroot.

It knows the instructions of our Containerfile and refuses others. What it cannot show is what an engine adds: namespaces, limits and layers.
Usage: chroots.py CONTAINERFILE FOLDER. Needs root. Prints the last stage as variables of bash: root, user, workdir, environment, entrypoint, cmd.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

#: A network may have an authority of its own, which this machine knows.
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_BUILDING = {"DEBIAN_FRONTEND": "noninteractive", "PIP_CERT": "/authorities.crt"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    root: Path
    user: str = "root"
    workdir: str = "/"
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"})
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)


def instructions(text: str) -> list[tuple[str, str]]:
    """Without comments, and with lines joined that end with a backslash."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines).splitlines()
    return [(words[0], words[1]) for line in joined if (words := line.split(maxsplit=1))]


class Builder:
    def __init__(self, folder: Path, context: Path, mirror: str) -> None:
        self.stages: dict[str, Stage] = {}
        self.stage = Stage(Path())
        self._folder, self._context, self._mirror = folder, context, mirror

    def FROM(self, words: str) -> None:  # noqa: N802  (the methods are named as the instructions)
        found = re.fullmatch(r"docker\.io/library/debian:(\w+)-slim(?: AS (\w+))?", words)
        if found is None:
            raise ValueError(f"FROM {words}")
        base = self._folder / found[1]
        if not base.exists():
            subprocess.run(
                ["debootstrap", "--variant=minbase", found[1], base, self._mirror], check=True, stdout=sys.stderr
            )
        self.stage = Stage(self._folder / f"stage{len(self.stages)}")
        self.stages[found[2] or "last"] = self.stage
        subprocess.run(["cp", "--archive", base, self.stage.root], check=True)
        shutil.copy(_AUTHORITIES, self.stage.root / _BUILDING["PIP_CERT"].lstrip("/"))

    def RUN(self, words: str) -> None:  # noqa: N802
        stage = self.stage
        inner = f"cd {shlex.quote(stage.workdir)} && {words}"
        subprocess.run(
            ["chroot", f"--userspec={stage.user}", stage.root, "/bin/sh", "-ec", inner],
            env=stage.env | _BUILDING,
            check=True,
            stdout=sys.stderr,
        )

    def COPY(self, words: str) -> None:  # noqa: N802
        *sources, last = words.split()
        top = self._context
        if sources[0].startswith("--from="):
            top = self.stages[sources.pop(0).removeprefix("--from=")].root
        target = self.stage.root / str(Path(self.stage.workdir, last)).lstrip("/")
        for source in (top / each.lstrip("/") for each in sources):
            if source.is_dir():  # its contents, as an engine does
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def ENV(self, words: str) -> None:  # noqa: N802
        self.stage.env |= dict(word.split("=", 1) for word in shlex.split(words))

    def WORKDIR(self, words: str) -> None:  # noqa: N802
        self.stage.workdir = words
        (self.stage.root / words.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def USER(self, words: str) -> None:  # noqa: N802
        self.stage.user = words

    def ENTRYPOINT(self, words: str) -> None:  # noqa: N802
        self.stage.entrypoint = json.loads(words)

    def CMD(self, words: str) -> None:  # noqa: N802
        self.stage.cmd = json.loads(words)

    def VOLUME(self, words: str) -> None:  # noqa: N802
        if not (self.stage.root / words.lstrip("/")).is_dir():
            raise ValueError(f"VOLUME {words}: there is no such folder, so it would belong to root")

    def EXPOSE(self, words: str) -> None:  # noqa: N802
        if not words.isdigit():
            raise ValueError(f"EXPOSE {words}")


def main(containerfile: Path, folder: Path) -> None:
    builder = Builder(folder, containerfile.parent, os.environ.get("MIRROR", "http://deb.debian.org/debian"))
    for name, words in instructions(containerfile.read_text()):
        getattr(builder, name)(words)
    stage = builder.stage
    several = {
        "environment": [f"{name}={value}" for name, value in stage.env.items()],
        "entrypoint": stage.entrypoint,
        "cmd": stage.cmd,
    }
    lines = [f"{name}={shlex.quote(str(getattr(stage, name)))}\n" for name in ("root", "user", "workdir")]
    lines += [f"{name}=({shlex.join(values)})\n" for name, values in several.items()]
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
