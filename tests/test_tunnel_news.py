"""What is told of a tunnel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.tunnel_news import Loss, TunnelNews

if TYPE_CHECKING:
    import pytest


def test_it_says_since_when_it_is_up_or_down() -> None:
    news = TunnelNews(1.0)
    assert (news.up, news.since, news.carriers) == (False, 1.0, 0)
    news.connected(2.0, anew=True)
    assert (news.up, news.since, news.carriers) == (True, 2.0, 1)
    news.disconnected(3.0)
    assert (news.up, news.since) == (False, 3.0)
    news.connected(4.0, anew=True)
    assert (news.up, news.since, news.carriers) == (True, 4.0, 2)


def test_a_carrier_that_takes_over_goes_on_where_the_old_one_was() -> None:
    news = TunnelNews(1.0)
    news.connected(2.0, anew=True)
    news.disconnected(3.0)
    news.connected(3.1, anew=False)
    assert (news.up, news.since, news.carriers, news.last_loss) == (True, 2.0, 2, None)


def test_the_last_loss_stays() -> None:
    news = TunnelNews(1.0)
    news.connected(2.0, anew=True)
    news.lost(3.0, "it broke")
    news.connected(4.0, anew=True)
    assert news.last_loss == Loss(3.0, "it broke")


def test_whether_an_attempt_is_under_way() -> None:
    news = TunnelNews(1.0)
    with news.attempting():
        with news.attempting():
            pass
        assert news.connecting
    assert not news.connecting


def test_the_log_has_each_trouble_once_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ropeway")
    news = TunnelNews(1.0)
    for _ in range(3):
        news.trouble("no answer")
    news.connected(2.0, anew=True)
    news.trouble("no answer")
    news.connected(3.0, anew=True)
    texts = [record.message for record in caplog.records]
    assert texts == ["no answer", "connected to the exit", "no answer", "connected to the exit again"]
