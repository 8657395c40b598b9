"""This program, as a service finds it again; and what a service of the system could not run."""

from __future__ import annotations

import site
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import service_program
from proxy.errors import ServiceError
from proxy.service_program import Program, check_readable_by_services, this_program


def test_it_runs_from_anywhere_whatever_is_there(tmp_path: Path) -> None:
    """A folder `proxy` in the folder that it is started in is somebody else's."""
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "__main__.py").write_text("print('somebody else')\n")
    program = this_program("--help")
    assert program.argv[0] == sys.executable
    done = subprocess.run(
        program.argv, cwd=tmp_path, env={"PYTHONPATH": program.root}, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Usage: ropeway")


@pytest.mark.parametrize("place", [*site.getsitepackages(), site.getusersitepackages()])
def test_python_finds_what_is_installed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_program, "__file__", f"{place}/proxy/service_program.py")
    assert this_program().root == ""


@pytest.mark.parametrize("place", ["/src", "/home/anna/.shiv/ropeway.pyz_1f/site-packages"])
def test_what_is_elsewhere_is_named(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout, or where a single file has unpacked itself."""
    monkeypatch.setattr(service_program, "__file__", f"{place}/proxy/service_program.py")
    assert this_program().root == str(Path(place).absolute())


@pytest.mark.skipif(sys.platform == "win32", reason="it is about services of Linux")
class TestWhoCanReadIt:
    def test_home_folders_are_hidden(self) -> None:
        for place in ("/home/anna/venv/bin/python", "/root/python", "/tmp/python"):
            with pytest.raises(ServiceError, match=r"is hidden from it; install Ropeway where"):
                check_readable_by_services(Program(place, ()))

    def test_a_folder_that_is_closed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service_program, "_HIDDEN", ())
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o700)
        (folder / "python").touch(mode=0o755)
        assert service_program._hindrance(folder / "python") == f"{folder} is not open to other users"
        assert service_program._hindrance(folder / "none") == f"{folder / 'none'}: No such file or directory"

    def test_the_system_s_own_are_open(self) -> None:
        assert service_program._hindrance(Path("/bin/sh")) == ""
