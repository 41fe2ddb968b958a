import logging.config

import pytest

from config import logs


@pytest.fixture
def lines(monkeypatch):
    """Logs a line in a form, and what a terminal or a pipe shows of it."""

    def write(form, *, terminal=False):
        monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
        config = logs.config("INFO", form)
        name = config["handlers"]["stdout"]["formatter"]
        configurator = logging.config.DictConfigurator(config)
        formatter = configurator.configure_formatter(dict(config["formatters"][name]))
        record = logging.LogRecord("app", 20, "", 0, "stored %s", ("/x?shop=a&signature=b",), None)
        record.action, record.events = "stored", 5
        return formatter.format(record)

    return write


@pytest.mark.parametrize(("form", "terminal"), [("json", True), ("auto", False)])
def test_on_a_server_lines_are_json(lines, form, terminal):
    line = lines(form, terminal=terminal)
    assert line.startswith("{")
    assert '"action": "stored", "events": 5' in line


@pytest.mark.parametrize(("form", "terminal"), [("text", False), ("auto", True)])
def test_on_a_terminal_lines_can_be_read(lines, form, terminal):
    assert lines(form, terminal=terminal).endswith(" INFO    stored /x?… action=stored events=5")


@pytest.mark.parametrize("form", ["json", "text"])
def test_neither_form_shows_a_query(lines, form):
    assert "signature" not in lines(form)
