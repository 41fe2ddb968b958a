"""A storefront on this machine: does to a request what Shopify's app proxy does to it.

Source: https://shopify.dev/docs/apps/build/online-store/app-proxies
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import click

from app.dev import (
    DEV_SECRET,
    DEV_SHOP,
    signed_query,
    signing_secret,
)
from app.dev.shop import merchant_address, page
from app.dev.theme import asset

PROXIED = ("/apps/", "/a/", "/community/", "/tools/")  # the prefixes a Shopify app may choose from
TARGET_TIMEOUT = 30.0  # s
CUSTOMER_HEADER = "X-Dev-Customer-Id"
PATH_CHARACTERS = "/%:@!$&'()*+,;="  # RFC 3986, 3.3; what is encoded stays as it is

# RFC 9110, 7.6.1. Expect has been answered by the time a request is forwarded.
HOP_BY_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
REPLACED = {"content-length", "host", "x-forwarded-host", "x-forwarded-proto"}

Headers = list[tuple[str, str]]


class BadRequest(Exception):
    pass


class Storefront(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, target: str, *, shop: str, customer: str, secret: str) -> None:
        super().__init__(("127.0.0.1", port), Visit)
        self.target, self.shop, self.customer, self.secret = target, shop, customer, secret

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a visitor may leave at any time
            super().handle_error(request, client_address)


class Visit(BaseHTTPRequestHandler):
    """One visitor's connection."""

    server: Storefront
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        started = time.perf_counter()
        # The request line's bytes were read as latin-1; browsers and curl send UTF-8.
        url = urlsplit(self.path.encode("latin-1").decode(errors="replace"))
        path = quote(url.path, safe=PATH_CHARACTERS)
        try:
            body = self._read_body()
            if path.startswith(PROXIED):
                status = self._forward(path, url.query, body)
            elif self.command in ("GET", "HEAD") and path == "/admin":
                status = self._redirect(self._merchant_address(url.query))
            elif self.command in ("GET", "HEAD") and (script := asset(path)):
                status = self._reply(200, "text/javascript; charset=utf-8", script)
            elif self.command in ("GET", "HEAD") and (found := self._page(path)):
                status = self._reply(200, "text/html; charset=utf-8", found)
            else:
                status = self._reply_json(404, "NOT_FOUND", "Nothing is here.")
        except BadRequest as error:
            self.close_connection = True
            status = self._reply_json(400, "BAD_REQUEST", str(error))
        milliseconds = (time.perf_counter() - started) * 1000
        # Never the query: it holds the signature.
        click.echo(f"{self.command} {path} {status} {milliseconds:.0f} ms", err=True)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _forward(self, path: str, query: str, body: bytes) -> int:
        signed = signed_query(
            path,
            parse_qsl(query, keep_blank_values=True),
            shop=self.server.shop,
            customer=self.headers.get(CUSTOMER_HEADER, self.server.customer),
            secret=self.server.secret,
        )
        target = urlsplit(self.server.target)
        try:
            with closing(HTTPConnection(target.netloc, timeout=TARGET_TIMEOUT)) as connection:
                connection.putrequest(
                    self.command, f"{path}?{signed}", skip_host=True, skip_accept_encoding=True
                )
                for name, value in self._forwarded_headers(target.netloc, len(body)):
                    connection.putheader(name, value)
                connection.endheaders(body)
                reply = connection.getresponse()
                content = reply.read()
        except (OSError, HTTPException):
            message = f"The web process at {self.server.target} does not answer."
            return self._reply_json(502, "BAD_GATEWAY", message)
        return self._send(reply, content)

    def _forwarded_headers(self, host: str, length: int) -> Headers:
        dropped = _connection_headers(self.headers.get("Connection"))
        dropped |= HOP_BY_HOP | REPLACED | {"cookie", CUSTOMER_HEADER.lower()}
        headers = [item for item in self.headers.items() if item[0].lower() not in dropped]
        if length or self.command in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(length)))
        return [
            ("Host", host),
            ("Connection", "close"),
            *headers,
            ("X-Forwarded-For", self.client_address[0]),
            ("X-Forwarded-Host", self.headers.get("Host", "")),
            ("X-Forwarded-Proto", "http"),
        ]

    def _send(self, reply: HTTPResponse, content: bytes) -> int:
        dropped = _connection_headers(reply.getheader("Connection"))
        dropped |= HOP_BY_HOP | {"set-cookie"}
        if self.command != "HEAD":  # where it says how long the body would be
            dropped |= {"content-length"}
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in dropped:
                self.send_header(name, value)
        if self.command != "HEAD" and reply.status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return reply.status

    def _read_body(self) -> bytes:
        encoding = self.headers.get("Transfer-Encoding")
        if encoding is None:
            return self._read(self.headers.get("Content-Length", "0"), base=10)
        if encoding.lower() != "chunked":
            raise BadRequest("The only known Transfer-Encoding is chunked.")
        return b"".join(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._read(self._read_line().split(";")[0], base=16):
            yield chunk
            self._read_line()
        while self._read_line():  # trailers
            pass

    def _read(self, size: str, base: int) -> bytes:
        if not size.strip().isalnum():  # int() would take a sign
            raise BadRequest("The body has no valid length.")
        try:
            length = int(size, base)
        except ValueError:
            raise BadRequest("The body has no valid length.") from None
        body = self.rfile.read(length)
        if len(body) < length:
            raise BadRequest("The body ends too early.")
        return body

    def _read_line(self) -> str:
        return self.rfile.readline(65536).decode("latin-1").strip()

    def _page(self, path: str) -> bytes | None:
        return page(path, shop=self.server.shop, url=self.server.url)

    def _merchant_address(self, query: str) -> str:
        return merchant_address(
            self.server.target,
            parse_qsl(query),
            shop=self.server.shop,
            secret=self.server.secret,
            api_key=os.environ.get("SHOPIFY_API_KEY", ""),
        )

    def _redirect(self, address: str) -> int:
        self.send_response_only(302)
        self.send_header("Location", address)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return 302

    def _reply_json(self, status: int, code: str, message: str) -> int:
        body = {"success": False, "code": code, "message": message}
        return self._reply(status, "application/json", json.dumps(body).encode())

    def _reply(self, status: int, content_type: str, body: bytes) -> int:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return status

    def log_message(self, *_: object) -> None:
        """Silence the library's lines, which hold the query."""


def _connection_headers(value: str | None) -> set[str]:
    """The headers that `Connection` names as meant for this hop alone."""
    return {name.strip().lower() for name in (value or "").split(",")}


@click.command()
@click.option("--port", default=9292, show_default=True)
@click.option("--target", default="http://127.0.0.1:8000", show_default=True)
@click.option("--shop", default=DEV_SHOP, show_default=True)
@click.option("--customer", default="", help="Id of the customer who is logged in.")
def main(port: int, target: str, shop: str, customer: str) -> None:
    """Serve a local storefront that signs requests and forwards them to the web process."""
    secret = signing_secret() or DEV_SECRET
    try:
        server = Storefront(port, target, shop=shop, customer=customer, secret=secret)
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from error
    click.echo(f"{server.url} forwards to {target}", err=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
