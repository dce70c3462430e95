"""What a person, or a program, sees of a running simulator: one entry per exchange."""

import json
import sys
import textwrap
from xml.etree import ElementTree

from scripts.simulator.server import Exchange


class Transcript:
    """Prints exchanges as they happen; `as_json` writes one JSON object per line instead."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._color = sys.stdout.isatty() and not as_json

    def note(self, text: str, **values: object) -> None:
        """A line that is not an exchange, such as where the simulator listens."""
        print(json.dumps({"event": text, **values}) if self._json else text + "".join(f"\n  {name:<12}{value}" for name, value in values.items()), flush=True)

    def exchange(self, exchange: Exchange) -> None:
        """One request and its answer."""
        print(self._as_json(exchange) if self._json else self._for_people(exchange), flush=True)

    def _as_json(self, exchange: Exchange) -> str:
        return json.dumps(
            {
                "event": "exchange",
                "at": round(exchange.at, 6),
                "service": exchange.service,
                "from": exchange.request.peer,
                "method": exchange.request.method,
                "target": exchange.request.target,
                "headers": exchange.request.headers,
                "body": exchange.request.body.decode("utf-8", "backslashreplace"),
                "status": exchange.status or None,
                "answer": exchange.sent,
                "report": exchange.report or None,
                "description": exchange.description or None,
                "problems": list(exchange.problems),
            }
        )

    def _for_people(self, exchange: Exchange) -> str:
        status = str(exchange.status or "---")
        line = f"{exchange.at:9.3f} s  {exchange.service:<10}  {exchange.request.method:<4} {exchange.request.target}\n"
        line += f"{'':13}-> {self._paint(status, '32' if exchange.status and exchange.status < 300 else '33')} {exchange.sent}"
        for problem in exchange.problems:
            line += f"\n{'':13}{self._paint('!! ' + problem, '31')}"
        if exchange.report:
            line += f"\n{'':13}{self._paint('accepted: ' + exchange.report, '1;32')}"
        if exchange.request.body:
            line += "\n" + textwrap.indent(_pretty(exchange.request.body), " " * 16)
        return line

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color else text


def _pretty(body: bytes) -> str:
    """A document with one element per line; what is not XML is shown as it came, printable."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return repr(body.decode("utf-8", "backslashreplace"))[1:-1]
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")
