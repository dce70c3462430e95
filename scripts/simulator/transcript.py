"""Prints the exchanges of a running simulator, for people or for programs."""

import json
import sys
import textwrap
from xml.etree import ElementTree

from scripts.simulator.server import Exchange


class Transcript:
    """Prints exchanges as they happen; with `as_json`, one JSON object per line."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._color = sys.stdout.isatty() and not as_json

    def note(self, text: str, **values: object) -> None:
        """Print a line that is not an exchange, such as the addresses of the simulator."""
        print(
            json.dumps({"event": text, **values})
            if self._json
            else text + "".join(f"\n  {name:<12}{value}" for name, value in values.items()),
            flush=True,
        )

    def exchange(self, exchange: Exchange) -> None:
        """Print a request and its answer."""
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
        color = "32" if exchange.status and exchange.status < 300 else "33"
        request = exchange.request
        line = f"{exchange.at:9.3f} s  {exchange.service:<10}  {request.method:<4} {request.target}"
        line += f"\n{'':13}-> {self._paint(status, color)} {exchange.sent}"
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
    """Return a document with one element per line, or, if it is not XML, its printable form."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return repr(body.decode("utf-8", "backslashreplace"))[1:-1]
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")
