"""The dashboard in Chromium: with the program and 5,000 connections, and with what the program never says of itself."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from tests.e2e.browser import open_browser
from tests.e2e.dashboard.crowd import crowd
from tests.e2e.dashboard.invented import FINDINGS, Invented
from tests.e2e.dashboard.stand_in import TOKEN, StandIn
from tests.e2e.machine import free_port, missing, wait_until
from tests.e2e.pairs import start_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.browser import Browser
    from tests.e2e.dashboard.crowd import Crowd
    from tests.e2e.machine import Programs
    from tests.e2e.pairs import Local, Pair

pytestmark = pytest.mark.e2e

AXE = Path(__file__).parents[3] / "build" / "axe" / "axe.min.js"
VIEWS = ["overview", "connections", "chats", "exits", "rules", "usage", "log", "doctor"]
MANY = 5000
DOWN, ESCAPE = "\ue015", "\ue00c"  # WebDriver, section 17.4.2
#: What is there when a view has what it shows.
CONTENT = ".bars .number, td.c-host bdi, .exit, td.c-text bdi, .plain-table, .lines li, .doctor .main"
#: What the doctor of the stand-in says, also inside of another text.
SAID = {"en": ("the clock agrees with", "on, at 127.0.0.1:1081"), "zh": ("时钟与出口一致", "指向 127.0.0.1:1081")}
#: Names, rules and lines that are not what they seem. None may become more than text.
HOSTILE = "<img src=x onerror=window.caught=1>"
HOSTILE_NAMES = [HOSTILE, "<script>window.caught=1</script>", "\"'><b>bold</b>.example.com", "a" * 253]


@pytest.fixture(scope="module")
def browser(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests here, as its start takes longest."""
    with open_browser(programs, tmp_path_factory.mktemp("dashboard"), None, logs=True) as opened:
        opened.load("about:blank")  # its first page is one of its own
        opened.log("performance")
        yield opened


@pytest.fixture
def own_pair(programs: Programs) -> Iterator[Pair]:
    started = start_pair(programs)
    yield started
    for program in started.programs:
        program.stop()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    invented = Invented(400, now=time.time(), names=list(HOSTILE_NAMES))
    invented.log += [{"at": time.time(), "level": "warning", "text": HOSTILE}]
    invented.label = HOSTILE
    invented.shown_rules.insert(0, ("rule 1", HOSTILE, "tunnel", 1))
    findings = [*FINDINGS, {"check": "name", "kind": "note", "what": HOSTILE, "why": HOSTILE, "mend": HOSTILE}]
    server = StandIn(free_port(), invented, findings=findings)
    server.interval = 0.3
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.silent.set()
    server.shutdown()
    server.server_close()


def sees(browser: Browser, script: str, what: str = "") -> None:
    wait_until(lambda: browser.run(script) is True, what or script)


def click(browser: Browser, script: str) -> None:
    """On the element that the expression is, once it is there."""
    sees(browser, f"Boolean({script})")
    browser.run(f"{script}.click()")


def show(browser: Browser, view: str) -> None:
    click(browser, f"document.getElementById('tab-{view}')")
    sees(browser, f"!document.getElementById('panel-{view}').hidden")


def text(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector('{selector}').textContent"))


def check_asked_nobody_else(browser: Browser, origin: str, file: str) -> None:
    """Neither by what the page knows of itself, nor by what the browser saw, also of what was not allowed. It came from the file."""
    entries = browser.run("performance.getEntriesByType('resource').map(entry => entry.name)")
    events = [json.loads(line["message"])["message"] for line in browser.log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked += [event["params"]["url"] for event in events if event["method"] == "Network.webSocketCreated"]
    assert len(asked) > 20  # it does see them
    own = (origin, origin.replace("http", "ws", 1), "data:image/svg+xml,", file)
    assert [url for url in (*entries, *asked) if not url.startswith(own)] == []


def check_no_complaint(browser: Browser) -> None:
    assert [line["message"] for line in browser.log("browser")] == []


def frames(browser: Browser, seconds: float) -> Any:
    """How many a second there were, and how long the longest took."""
    return browser.run(
        f"""new Promise(good => {{
        let count = 0, longest = 0, begun = performance.now(), last = begun;
        const next = now => {{
          count += 1; longest = Math.max(longest, now - last); last = now;
          if (now - begun < {seconds * 1000}) requestAnimationFrame(next);
          else good([Math.round(count / {seconds}), Math.round(longest)]);
        }};
        requestAnimationFrame(next);
        }})"""
    )


#: The command as it is on systems that do not tell whose a connection is, with somebody in the browser's place.
_BY_FILE = """
import webbrowser
from proxy import cli, peer_user
peer_user.is_known = lambda: False
webbrowser.open = lambda address: print(address) is None
cli.main()
"""


def entry_file(programs: Programs, local: Local) -> Path:
    """What a browser is started with there."""
    command = programs.start("dashboard", [sys.executable, "-c", _BY_FILE, "dashboard", "--config", local.config])
    wait_until(lambda: not command.alive, "the command ends")
    (line,) = command.lines("file://")
    return Path(url2pathname(urlsplit(line).path))


def enter(browser: Browser, programs: Programs, local: Local) -> str:
    """By a file, whose address it returns."""
    file = entry_file(programs, local)
    assert file.stat().st_mode & 0o777 == 0o600
    browser.load(file.as_uri())
    there = f"{local.url('http')}/"
    wait_until(lambda: browser.address() == there, "it has the token and stands without it")
    assert not file.exists()
    return file.as_uri()


def another_exit(programs: Programs, local: Local) -> None:
    """A second one, at which nobody is; it can be chosen all the same."""
    if sys.platform == "win32":  # the type checker reads no further there
        raise OSError("not here")
    folder = local.config.parent
    made = programs.run_ropeway("exit", "init", "--host", "second.example.com", "--config", folder / "second.toml")
    (link,) = [line for line in made.stdout.splitlines() if line.startswith("ropeway://")]
    done = programs.run_ropeway("join", "--add", link, "--config", local.config)
    assert done.returncode == 0, done.stderr
    local.program.tell(signal.SIGHUP)  # it reads the configuration again


def test_with_the_program_and_5000_connections(programs: Programs, browser: Browser, own_pair: Pair) -> None:
    if sys.platform == "win32":  # the type checker reads no further there
        raise OSError("not here")
    local = own_pair.local
    another_exit(programs, local)
    with crowd(own_pair.port) as apps:
        file = enter(browser, programs, local)
        origin = local.url("http")
        sees(browser, "document.getElementById('pill').textContent.startsWith('Connected')")
        browser.run("document.getElementById('tab-overview').focus()")
        for view in VIEWS[1:]:
            browser.press(DOWN)
            sees(browser, f"document.activeElement.id === 'tab-{view}'")
            sees(browser, f"document.getElementById('panel-{view}').innerText.length > 20")
        show(browser, "connections")
        apps.grow(MANY)
        check_the_crowd(browser, apps)
        close_one(browser, apps)
        switch_exits(browser, local)
        turn_dark_and_chinese(browser)
        check_asked_nobody_else(browser, origin, file)
        check_no_complaint(browser)
        for program in own_pair.programs:
            program.stop(signal.SIGKILL)  # else it says farewell to all of them


def check_the_crowd(browser: Browser, apps: Crowd) -> None:
    sees(browser, f"document.querySelector('.connections .count').textContent === '{MANY:,} connections'")
    assert browser.run("document.querySelectorAll('.connections tbody tr').length") < 60
    over = threading.Event()

    def keep_talking() -> None:
        while not over.wait(0.2):
            apps.talk(50)

    speaker = threading.Thread(target=keep_talking)
    speaker.start()
    try:
        print("frames a second, and milliseconds of the longest:", frames(browser, 2))
        browser.run("document.querySelector('.connections .scroll').scrollTo(0, 1e9)")
        sees(browser, f"Boolean(document.querySelector('.connections tr[aria-rowindex=\"{MANY + 1}\"]'))")
    finally:
        over.set()
        speaker.join()


def close_one(browser: Browser, apps: Crowd) -> None:
    """One of the oldest, which come first in the other order."""
    browser.run("document.querySelector('.connections .scroll').scrollTo(0, 0)")
    click(browser, "document.querySelector('.connections th.c-age button')")
    sees(browser, "document.querySelector('.connections th.c-age').ariaSort === 'descending'")
    click(browser, "document.querySelector('.connections tr[aria-rowindex=\"2\"] .c-end button')")
    sees(browser, f"document.querySelector('.connections .count').textContent === '{MANY - 1:,} connections'")
    wait_until(lambda: apps.ended() == 1, "an app has lost its connection, and no other")


def switch_exits(browser: Browser, local: Local) -> None:
    show(browser, "exits")
    card = "[...document.querySelectorAll('.exit')].find(card => card.innerText.includes('second.example.com'))"
    sees(browser, f"{card}?.innerText.includes('first choice') === false")
    click(browser, f"{card}.querySelector('.main')")
    sees(browser, f"{card}.innerText.includes('first choice')")
    assert tomllib.loads(local.config.read_text())["local"]["prefer"] == ["second.example.com"]
    click(browser, "document.querySelector('.exit .actions button')")
    sees(browser, "document.querySelector('.qr')?.naturalWidth > 0")
    click(browser, "document.querySelector('dialog .main')")
    sees(browser, "!document.querySelector('dialog')")


def turn_dark_and_chinese(browser: Browser) -> None:
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    sees(browser, "document.documentElement.dataset.theme === 'dark'")
    click(browser, "document.getElementById('theme')")
    sees(browser, "document.documentElement.dataset.theme === 'light'")
    browser.devtools("Emulation.setEmulatedMedia", features=[])
    choose(browser, "language", "zh")
    sees(browser, "document.documentElement.lang === 'zh-Hans'")
    assert text(browser, "#tab-overview") == "概览"
    choose(browser, "language", "en")


def choose(browser: Browser, element: str, value: str) -> None:
    box = f"document.getElementById('{element}')"
    browser.run(f"({box}.value = '{value}', {box}.dispatchEvent(new Event('change')))")


def check_would_find(browser: Browser) -> None:
    """Else all that is below would say nothing."""
    browser.run(
        "(window.nameless = document.createElement('button'), document.querySelector('main').prepend(nameless))"
    )
    with pytest.raises(AssertionError, match="button-name"):
        check_is_accessible(browser, "a button without a name")
    browser.run("nameless.remove()")


def check_is_accessible(browser: Browser, where: str) -> None:
    """No serious problem, by what axe-core can judge."""
    found = browser.run(
        "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations"
        ".filter(each => ['serious', 'critical'].includes(each.impact))"
        ".map(each => [each.id, each.nodes.map(node => node.html + ' ' + node.failureSummary)]))"
    )
    assert found == [], where


def test_with_hostile_names_and_for_who_cannot_see_it(browser: Browser, stand_in: StandIn) -> None:
    if not AXE.exists():
        missing("axe-core is not here: scripts/axe")
    # What fades from one colour to the next has no contrast that could be judged.
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.load(stand_in.url)
    bring_axe(browser)
    assert "ropeway dashboard" in text(browser, ".door code")
    check_is_accessible(browser, "without a token")
    browser.load(f"{stand_in.url}#token=old")
    sees(browser, "document.querySelector('.door .bad')?.textContent.includes('started again')")
    browser.load(f"{stand_in.url}?#token={TOKEN}")
    bring_axe(browser)
    check_would_find(browser)
    for theme, language, views in (
        ("light", "en", VIEWS),
        ("dark", "zh", VIEWS),
        ("dark", "en", VIEWS[:2]),
        ("light", "zh", VIEWS[:2]),
    ):
        browser.run(f"ropewayTheme.choose('{theme}')")
        choose(browser, "language", language)
        for view in views:
            show(browser, view)
            sees(browser, f"Boolean(document.querySelector('#panel-{view} :is({CONTENT})'))")
            if view == "doctor" and (theme, language) == ("light", "en"):
                click(browser, "document.querySelector('.doctor .main')")
                sees(browser, "document.querySelectorAll('.finding').length > 5")
            check_is_accessible(browser, f"{view}, {theme}, {language}")
            check_nothing_was_caught(browser, view)
            if view == "doctor":
                said = text(browser, ".findings")
                assert {tag for tag, words in SAID.items() if any(each in said for each in words)} == {language}
                assert all(each in said for each in SAID[language])
    check_dialogs(browser, stand_in)
    check_it_comes_back(browser, stand_in)
    check_it_is_over(browser, stand_in)


def bring_axe(browser: Browser) -> None:
    """By WebDriver, as the page lets no script in that is not its own."""
    browser.run(f"(0, eval)({json.dumps(AXE.read_text())})")


def check_nothing_was_caught(browser: Browser, view: str) -> None:
    made = "document.querySelectorAll('img[src=x], main script, main b').length"
    assert browser.run(f"(window.caught ?? 0) + {made}") == 0, view


def check_dialogs(browser: Browser, stand_in: StandIn) -> None:
    """What is hostile shows as it is written; and nothing is ended or wiped by one press of a button."""
    show(browser, "connections")
    find(browser, "onerror")
    sees(
        browser, f"document.querySelector('.connections td.c-host bdi')?.textContent.startsWith({json.dumps(HOSTILE)})"
    )
    click(browser, "document.querySelector('.connections td.c-host button')")
    check_is_accessible(browser, "details")
    check_nothing_was_caught(browser, "details")
    browser.press(ESCAPE)
    find(browser, "udp")
    sees(browser, "document.querySelector('.connections td.c-host .mark')?.textContent === 'UDP'")
    find(browser, "")
    show(browser, "exits")
    sees(browser, f"document.querySelector('.exit-head')?.textContent.includes({json.dumps(HOSTILE)})")
    show(browser, "log")
    sees(browser, f"document.querySelector('.lines')?.textContent.includes({json.dumps(HOSTILE)})")
    show(browser, "rules")
    sees(browser, f"document.querySelector('.rules td.c-text')?.textContent === {json.dumps(HOSTILE)}")
    check_nothing_was_caught(browser, "log, rules")
    show(browser, "usage")
    switch = "document.querySelector('.usage [role=switch]')"
    for now in ("true", "false"):
        sees(browser, f"{switch}?.ariaChecked === '{now}'")
        click(browser, switch)
    sees(browser, f"{switch}.ariaChecked === 'true'")
    assert stand_in.invented.calls.count("PUT usage") == 2
    click(browser, "document.querySelector('.usage .danger')")
    check_is_accessible(browser, "a question")
    assert "DELETE usage" not in stand_in.invented.calls
    click(browser, "document.querySelector('dialog .danger')")
    wait_until(lambda: "DELETE usage" in stand_in.invented.calls, "it is wiped")


def find(browser: Browser, words: str) -> None:
    box = "document.querySelector('.connections input')"
    browser.run(f"({box}.value = '{words}', {box}.dispatchEvent(new Event('input')))")


def check_it_comes_back(browser: Browser, stand_in: StandIn) -> None:
    """Without a word about each try, and by itself."""
    stand_in.silent.set()
    sees(browser, "!document.getElementById('lost').hidden")
    assert "Ropeway" in text(browser, "#lost p")
    check_is_accessible(browser, "lost")
    stand_in.silent.clear()
    sees(browser, "document.getElementById('lost').hidden")
    sees(browser, "document.getElementById('pill').classList.contains('up')")


def check_it_is_over(browser: Browser, stand_in: StandIn) -> None:
    """Another run takes another token: the page says so, and shows what it knew, also in the other language. Another tab that was let in is enough."""
    shown = "document.querySelector('td.c-host bdi')?.textContent.length > 0"
    show(browser, "connections")
    sees(browser, shown)
    stand_in.silent.set()
    sees(browser, "!document.getElementById('lost').hidden")
    stand_in.token = "of another run"
    stand_in.silent.clear()
    line = "document.querySelector('#lost p').textContent"
    for language in ("en", "zh"):
        choose(browser, "language", language)
        sees(browser, f"{line}.includes('ropeway dashboard') && document.querySelector('#lost button').hidden")
        sees(browser, shown)
    check_is_accessible(browser, "over")
    assert browser.run("localStorage.getItem('ropeway.token')") is None
    show(browser, "usage")
    stand_in.invented.calls.clear()
    event = "new StorageEvent('storage', {key: 'ropeway.token', newValue: 'x'})"
    browser.run(f"(localStorage.setItem('ropeway.token', {json.dumps(stand_in.token)}), dispatchEvent({event}))")
    wait_until(lambda: "GET usage" in stand_in.invented.calls, "it goes on, with the token of another tab")
