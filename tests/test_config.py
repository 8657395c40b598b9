"""The configuration: what is right is parsed, what is wrong is named, with its file, in one line."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proxy import config
from proxy.address import Address
from proxy.errors import ConfigError
from proxy.keys import UserKey, to_base64
from proxy.preference import ChosenExit
from proxy.settings import BuiltInPage, Config, Folder, Listen, Server, User
from proxy.share import Link

ANNA = User("anna", UserKey(b"\x01" * 8, b"\x02" * 32))
PIN = b"\x03" * 32
LINK = Link("exit.example.com", 443, ANNA.key, PIN, name="anna")
OTHER = Link("192.0.2.7", 8443, ANNA.key, b"\x04" * 32, also=(Address("192.0.2.8", 443),))
USER_TEXT = f'[[exit.users]]\nname = "anna"\nid = "{"01" * 8}"\nkey = "{to_base64(ANNA.key.secret)}"\n'


def parsed(text: str, path: Path = Path("/etc/ropeway/config.toml")) -> Config:
    return config.check(text, path)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_nothing_gives_the_defaults() -> None:
    settings = parsed("")
    assert settings == config.parse({}, Path("/etc/ropeway/config.toml"))
    assert settings.local.listen == Listen("127.0.0.1", 1080)
    assert settings.local.exits == ()
    assert (settings.local.rotation_age, settings.local.rotation_volume) == ((600.0, 2400.0), (1e9, 4e9))
    assert settings.local.waiting_time == 600.0
    assert settings.local.connect_wait == 5.0
    assert settings.exit.listen == (Listen("", 443),)
    assert settings.exit.website == BuiltInPage()
    assert not settings.exit.allow_private
    assert settings.exit.users == ()
    assert (settings.log.level, settings.log.destinations, settings.log.format) == ("info", False, "text")


def test_everything() -> None:
    settings = parsed(
        f"""
        [log]
        level = "debug"
        destinations = true
        format = "json"
        [local]
        listen = "0.0.0.0:1080"
        username = "jürg"
        password = "secret"
        exit = "{LINK}"
        exits = ["{OTHER}"]
        prefer = ["192.0.2.7"]
        only = ["exit.example.com:443", "192.0.2.7:8443"]
        connect_wait = 3
        waiting_time = 60
        rotation_age = [1, 2.5]
        rotation_volume = [0x1, 10]
        max_connections = 10
        [exit]
        listen = ["[2001:db8::1]:8443", ":443", ":443"]
        host = "Exit.Example.com"
        port = 8443
        addresses = ["192.0.2.1:443"]
        server_name = "WWW.example.com"
        certificate = "/etc/tls/cert.pem"
        key = "tls/key.pem"
        roots = true
        website = "server:127.0.0.1:8080"
        allow_private = true
        waiting_time = 60
        max_sessions = 2
        max_streams = 100
        """
        + USER_TEXT
    )
    assert (settings.log.level, settings.log.destinations, settings.log.format) == ("debug", True, "json")
    local, there = settings.local, settings.exit
    assert (local.listen, local.username, local.password) == (Listen("0.0.0.0", 1080), "jürg", "secret")
    assert local.exits == (
        ChosenExit(LINK, (LINK.address,)),
        ChosenExit(OTHER, (OTHER.address,), frozenset({OTHER.address})),
    )
    assert (local.connect_wait, local.waiting_time, local.max_connections) == (3.0, 60.0, 10)
    assert (local.rotation_age, local.rotation_volume) == ((1.0, 2.5), (1e6, 1e7))
    assert there.listen == (Listen("2001:db8::1", 8443), Listen("", 443))
    assert (there.host, there.port, there.addresses) == ("exit.example.com", 8443, (Address("192.0.2.1", 443),))
    assert (there.server_name, there.roots, there.allow_private) == ("www.example.com", True, True)
    assert there.certificate == Path("/etc/tls/cert.pem")
    assert there.key == Path("/etc/ropeway/tls/key.pem")
    assert there.website == Server(Address("127.0.0.1", 8080))
    assert (there.waiting_time, there.max_sessions, there.max_streams) == (60.0, 2, 100)
    assert there.users == (ANNA,)
    link = there.link(ANNA, PIN)
    assert link == Link(
        "exit.example.com",
        8443,
        ANNA.key,
        PIN,
        "www.example.com",
        roots=True,
        name="anna",
        also=(Address("192.0.2.1", 443),),
    )


def test_secrets_are_not_in_the_repr() -> None:
    settings = parsed(f'[local]\nusername = "u"\npassword = "xyzzy"\nexit = "{LINK}"\n{USER_TEXT}')
    assert "xyzzy" not in repr(settings)
    assert r"\x02\x02" not in repr(settings)


def test_a_relative_file_makes_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/anna")
    settings = parsed('[exit]\nwebsite = "folder:~/www"\n', Path("conf/ropeway.toml")).exit
    assert settings.certificate == tmp_path / "conf" / "exit-cert.pem"
    dashboard = parsed('[dashboard]\nui = "dist"\n', Path("conf/ropeway.toml")).dashboard
    assert dashboard.ui == tmp_path / "conf" / "dist"
    assert parsed("", Path("conf/ropeway.toml")).dashboard.ui is None
    if sys.platform != "win32":
        assert settings.website == Folder(Path("/home/anna/www"))


@pytest.mark.parametrize(
    ("text", "field", "word"),
    [
        ("[local", "", "not TOML"),
        ('local = "x"', "local", "table"),
        ("[[local]]", "local", "table"),
        ("[locl]", "locl", "local is meant?"),
        ('[local]\nlitsen = ":1"', "local.litsen", "listen is meant?"),
        ('[local]\n"a\\nb\\u001b" = 1', r"local.a\nb\x1b", "no such setting"),
        ("[local]\nlisten = 5", "local.listen", "text in quotes"),
        ('[local]\nlisten = "example.com:1"', "local.listen", "IP address"),
        ('[local]\nlisten = ":1080"', "local.listen", "username and local.password"),
        ('[local]\nlisten = "192.168.1.2:1080"', "local.listen", "username and local.password"),
        ('[local]\nusername = "u"', "local.password", "go together"),
        ('[local]\npassword = "p"', "local.username", "go together"),
        (f'[local]\nusername = "{"é" * 128}"\npassword = "p"', "local.username", "255"),
        (f'[local]\nusername = "u"\npassword = "{"p" * 256}"', "local.password", "255"),
        ('[local]\nusername = "a:b"\npassword = "p"', "local.username", "colon"),
        ('[local]\nusername = "a\\nb"\npassword = "p"', "local.username", "typed"),
        ('[local]\nexit = "ropeway://x"', "local.exit", "copy the whole link"),
        ("[local]\nconnect_wait = -1", "local.connect_wait", ">= 0"),
        ("[local]\nconnect_wait = nan", "local.connect_wait", "a number"),
        ("[local]\nconnect_wait = inf", "local.connect_wait", "<= 300"),
        ('[local]\nexits = ["ropeway://x"]', "local.exits[0]", "copy the whole link"),
        (f'[local]\nexits = ["{LINK}", 5]', "local.exits[1]", "text in quotes"),
        ('[local]\nexits = "x"', "local.exits", "a list"),
        (f"[local]\nexits = {[str(LINK)] * 16}", "local.exits", "<= 15"),
        ('[local]\nonly = ["a.example"]', "local.only", "a.example is no address of an exit; there is: no exit at all"),
        (f'[local]\nexit = "{OTHER}"\nonly = ["192.0.2.7:443"]', "local.only", "192.0.2.7:8443, 192.0.2.8:443"),
        (f'[local]\nexit = "{OTHER}"\nonly = ["192.0.2.7", "a b"]', "local.only", "port"),
        (f'[local]\nexit = "{OTHER}"\nprefer = ["192.0.2.9"]', "local.prefer", "192.0.2.7:8443, 192.0.2.8:443"),
        (
            f'[local]\nexit = "{OTHER}"\nonly = ["192.0.2.7"]\nprefer = ["192.0.2.8"]',
            "local.prefer",
            "there is: 192.0.2.7:8443 (",
        ),
        ("[local]\nwaiting_time = 0", "local.waiting_time", ">= 1"),
        ("[local]\nrotation_age = [0.5, 2]", "local.rotation_age[0]", ">= 1"),
        ("[local]\nrotation_age = [2, 1]", "local.rotation_age", "[1, 2]"),
        ("[local]\nrotation_age = [1, 172801]", "local.rotation_age[1]", "<= 172800"),
        ("[local]\nrotation_age = [1, nan]", "local.rotation_age[1]", "a number"),
        ("[local]\nrotation_age = 600", "local.rotation_age", "a list"),
        ("[local]\nrotation_age = [600]", "local.rotation_age", "length 2"),
        ("[local]\nrotation_volume = [2, 1]", "local.rotation_volume", "[1, 2]"),
        ("[local]\nrotation_volume = [0, 1]", "local.rotation_volume[0]", ">= 1"),
        ("[local]\nmax_connections = 0", "local.max_connections", ">= 1"),
        ("[local]\nmax_connections = 1.5", "local.max_connections", "a whole number"),
        ('[log]\nlevel = "loud"', "log.level", "debug, info, warning, error"),
        ('[log]\nformat = "xml"', "log.format", "text, json"),
        ("[log]\ndestinations = 1", "log.destinations", "true or false"),
        ('[exit]\nlisten = "443"', "exit.listen", "port"),
        ('[exit]\nlisten = [":443", "443"]', "exit.listen", "port"),
        ("[exit]\nlisten = []", "exit.listen", "no place"),
        ("[exit]\nlisten = 443", "exit.listen", "text in quotes, or a list of it"),
        ('[exit]\naddresses = ["a.example"]', "exit.addresses", "port"),
        ('[exit]\naddresses = "a.example:1"', "exit.addresses", "a list"),
        (f"[exit]\naddresses = {['a.example:1'] * 9}", "exit.addresses", "<= 8"),
        ('[exit]\nhost = "a b"', "exit.host", "host"),
        ("[exit]\nport = 0", "exit.port", ">= 1"),
        ("[exit]\nport = 65536", "exit.port", "<= 65535"),
        ('[exit]\nserver_name = "192.0.2.1"', "exit.server_name", "not an IP address"),
        ('[exit]\ncertificate = ""', "exit.certificate", "path"),
        ('[exit]\nkey = "a\\u0000b"', "exit.key", "path"),
        ('[exit]\nwebsite = ""', "exit.website", "page"),
        ('[exit]\nwebsite = "page:1"', "exit.website", "page"),
        ('[exit]\nwebsite = "folder:"', "exit.website", "path"),
        ('[exit]\nwebsite = "server:localhost"', "exit.website", "port"),
        ("[exit]\nwaiting_time = 0", "exit.waiting_time", ">= 1"),
        ("[exit]\nmax_sessions = 0", "exit.max_sessions", ">= 1"),
        ("[exit]\nmax_streams = 70000", "exit.max_streams", "<= 65536"),
        ("[exit]\nusers = 1", "exit.users", "a list"),
        ('[[exit.users]]\nname = "a"', "exit.users[0].id", "missing"),
        (USER_TEXT.replace("anna", ""), "exit.users[0].name", "1 to 64"),
        (USER_TEXT.replace("anna", "\\u001b[31m"), "exit.users[0].name", "printed"),
        (USER_TEXT.replace("01" * 8, "01" * 7), "exit.users[0].id", "16 hexadecimal"),
        (USER_TEXT.replace("01" * 8, "0x" * 8), "exit.users[0].id", "16 hexadecimal"),
        (USER_TEXT.replace("AgIC", "Ag"), "exit.users[0].key", "characters"),
        (USER_TEXT + USER_TEXT, "exit.users[1].name", "two users"),
        (USER_TEXT + USER_TEXT.replace("anna", "ben"), "exit.users[1].id", "another user"),
        (USER_TEXT + "admin = true", "exit.users[0].admin", "no such setting"),
        ('[dns]\nlisten = "0.0.0.0:53"', "dns.listen", "this computer only"),
        ('[dns]\nlisten = "127.0.0.1"', "dns.listen", "no port"),
        ('[dns]\nresolvers = ["dns.example.com"]', "dns.resolvers", "IP address"),
        ("[exit]\nidle_time = 60", "exit.idle_time", "1800"),
    ],
)
def test_what_is_wrong_is_named(text: str, field: str, word: str) -> None:
    line = complaint(text)
    assert line.startswith(f"{field}: " if field else "")
    assert word in line
    assert "/etc/ropeway/config.toml" in line


def test_the_longest_credentials() -> None:
    settings = parsed(f'[local]\nlisten = ":1"\nusername = "{"u" * 255}"\npassword = "{"p:" * 127}"\n')
    assert len(settings.local.username) == 255


def test_links_of_the_same_exit_are_one() -> None:
    again = replace(LINK, host="192.0.2.1", name="", also=(LINK.address,))
    other_key = replace(LINK, key=UserKey(b"\x05" * 8, b"\x06" * 32))
    (one, two) = parsed(f'[local]\nexit = "{LINK}"\nexits = ["{other_key}", "{again}", "{LINK}"]').local.exits
    assert one.addresses == (LINK.address, again.address)
    assert one.link == replace(LINK, also=(again.address,))
    assert two.link == other_key


def test_links_of_one_exit_with_more_addresses_than_a_link_holds() -> None:
    links = [replace(LINK, host=f"192.0.2.{number}") for number in range(10)]
    line = complaint(f'[local]\nexit = "{links[0]}"\nexits = {[str(link) for link in links[1:]]}')
    assert line.startswith("local.exits: ")
    assert "at most 8" in line


def test_an_exit_that_only_leaves_nothing_of_is_not_used() -> None:
    text = f'[local]\nexit = "{LINK}"\nexits = ["{OTHER}"]\n'
    (chosen,) = parsed(text + 'only = ["192.0.2.8"]').local.exits
    assert (chosen.link, chosen.addresses, chosen.preferred) == (OTHER, OTHER.also, frozenset())


def test_an_exit_among_the_others_is_added_or_replaced() -> None:
    path = Path("config.toml")

    def links(text: str) -> list[Link]:
        return [chosen.link for chosen in config.check(text, path).local.exits]

    text = config.with_exit("", path, LINK)
    assert links(text) == [LINK]
    assert "\nexits" not in text
    text = config.with_exit(text, path, OTHER)
    third = replace(OTHER, pin=b"\x07" * 32)
    text = config.with_exit(text, path, third)
    assert links(text) == [LINK, OTHER, third]
    newer = replace(OTHER, also=())
    assert links(config.with_exit(text, path, newer)) == [LINK, newer, third]
    assert links(config.with_exit(text, path, replace(LINK, port=1))) == [replace(LINK, port=1), OTHER, third]
    with pytest.raises(ConfigError, match=r"^local\.exit: "):
        config.with_exit("[local]\nexit = 'x'", path, LINK)


def test_a_file_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.toml")
    for word in (str(tmp_path), "ropeway join", "ropeway exit init"):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe[\0l\0", b"[local]\nlisten = 'a\n", b"\0"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.toml is not"):
        config.load(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path)


def test_an_editor_may_put_a_mark_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[log]\r\nlevel = 'debug'\r\n")
    assert config.load(path).log.level == "debug"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [(USER_TEXT, 0o644, True), (USER_TEXT, 0o640, True), (USER_TEXT, 0o600, False), ("", 0o644, False)],
)
def test_secrets_that_others_can_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, mode: int, warned: bool
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(mode)
    with caplog.at_level(logging.WARNING, "ropeway"):
        config.load(path)
    assert ("chmod 600" in caplog.text) == warned


def test_a_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    settings = config.change(path, lambda text: text + "# mine\n[log]\nlevel = 'error'\n")
    assert settings.log.level == "error"
    assert config.load(path) == settings
    assert config.change(path, lambda text: text.replace("error", "debug")).log.level == "debug"
    assert path.read_text().startswith("# mine\n")


@pytest.mark.parametrize("new", ["[log", "[log]\nlevel = 'loud'\n"])
def test_a_change_that_would_break_it_is_not_made(tmp_path: Path, new: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[log]\n")
    with pytest.raises(ConfigError):
        config.change(path, lambda _: new)
    assert path.read_text() == "[log]\n"


def test_what_is_broken_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[log")
    with pytest.raises(ConfigError, match="not TOML"):
        config.change(path, lambda _: "")
    assert path.read_text() == "[log"


def test_a_file_that_goes_away_just_after_it_was_read_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "read_text", lambda _path: USER_TEXT)
    assert config.load(tmp_path / "gone.toml").exit.users == (ANNA,)
