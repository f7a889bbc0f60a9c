"""The console's port: what people and their tools look at, beside the port that programs send and receive on.

It owns the paths there and who may see them; it must not know sockets or processes, nor change what the SQS port does.
"""

import asyncio
import contextlib
import ipaddress
import logging
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from questd import acts, answer, errors, metrics, namespaces, pages
from questd.action import Questd
from questd.answer import SERVER
from questd.errand import answered_in_query
from questd.history import History
from questd.pages import HISTORY, VISIT
from questd.request import PEEK, Request
from questd.sessions import LASTS_SECONDS, Sessions, TooManyFailures
from questd.visits import Visit

log = logging.getLogger(__name__)

WHO = {hdrs.WWW_AUTHENTICATE: 'Basic realm="questd: an access key with all rights", charset="UTF-8"'}

QUESTD = web.AppKey("questd", Questd)
SESSIONS = web.AppKey("sessions", Sessions)

COOKIE = "questd_session"

OPEN = ("/health/", "/metrics", "/static/", PEEK)
"""Paths with rules of their own, or with nothing to hide."""

HEADERS = {
    hdrs.SERVER: SERVER,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer says, whatever is in it."""

UNKNOWN_HOST = "Without access keys this console answers under IP addresses, localhost, --host and --public-url only."
"""For under any other name a stranger's page could have led the browser here."""

FOREIGN_FORM = "The form is not of this console, or is older than its process. Go back, reload the page, and try again."


def application(questd: Questd) -> web.Application:
    """Return the application that answers on the console's port."""
    app = web.Application(middlewares=[_explain, _guard], client_max_size=answer.body_limit(questd.settings))
    app[QUESTD], app[SESSIONS], app[HISTORY] = questd, Sessions(questd.gate), History()
    app.on_response_prepare.append(_sign)
    app.cleanup_ctx.append(_remembering)
    app.add_routes([*pages.routes(), *acts.routes()])
    app.router.add_get("/health/{name}", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get(PEEK + "{queue:.*}", _peek)
    app.router.add_get("/login", _login_page)
    app.router.add_post("/login", _login)
    app.router.add_post("/logout", _logout)
    app.router.add_static("/static", Path(__file__).parent / "static")
    return app


async def _remembering(app: web.Application) -> AsyncIterator[None]:
    """Keep the history for as long as the application runs."""
    keeping = asyncio.create_task(app[HISTORY].keep(app[QUESTD]))
    yield
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def _sign(http: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache" if http.path.startswith("/static/") else "no-store"


async def _health(http: web.Request) -> web.Response:
    given = await answer.health(http.app[QUESTD], http.path)
    return web.Response(status=given.status, body=given.body, headers={hdrs.CONTENT_TYPE: given.content_type})


async def _metrics(http: web.Request) -> web.Response:
    questd = http.app[QUESTD]
    if not _is_trusted(questd, http):
        raise web.HTTPUnauthorized(headers=WHO)
    text, content_type = await metrics.scrape(questd, http.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=text, headers={hdrs.CONTENT_TYPE: content_type})


def _is_trusted(questd: Questd, http: web.Request) -> bool:
    """Tell whether a request comes from somebody who may see everything: with access keys, one who has such a key."""
    return questd.gate is None or questd.gate.trusts(*_told(http))


def _told(http: web.Request) -> tuple[str, str]:
    """Return the access key and the secret that a request tells (HTTP Basic); two empty texts when it tells none."""
    scheme, _, given = http.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    try:
        name, _, secret = b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (name, secret) if scheme.lower() == "basic" else ("", "")


async def _peek(http: web.Request) -> web.Response:
    """Answer as the SQS port does at this path, but to who is logged in or tells a key: no tool has to sign."""
    questd = http.app[QUESTD]
    headers = {"host": http.host, "accept": http.headers.get(hdrs.ACCEPT, "")}
    request = Request("GET", http.raw_path, headers, b"", peer=http.remote or "")
    if not request.peeks:  # spelt in another way, it would be a request for any action
        raise web.HTTPNotFound
    if not (questd.gate or _is_known_host(http)):
        raise web.HTTPMisdirectedRequest(text=UNKNOWN_HOST)
    request.namespace = namespaces.of_request(questd.home, headers, request.target)
    if questd.gate:
        questd.gate.admit(request, _holder(http))
    given = await answered_in_query(questd, request)
    return web.Response(
        status=given.status, body=given.body, headers=given.headers | {"Content-Type": given.content_type}
    )


def _holder(http: web.Request) -> str:
    """Return whose key a request's cookie was given for, or that it tells; raise 401 when it is neither."""
    sessions, told = http.app[SESSIONS], _told(http)
    try:
        cookie = sessions.login(http.remote or "", *told) if any(told) else http.cookies.get(COOKIE, "")
    except TooManyFailures:
        raise web.HTTPTooManyRequests from None
    name = sessions.holder(cookie or "")
    if not name:
        raise web.HTTPUnauthorized(headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="questd: an access key"'})
    return name


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Show what went wrong as a page."""
    if request.path.startswith(OPEN):
        return await handler(request)
    visit = request[VISIT] = _visit(request)
    try:
        return await handler(request)
    except errors.SQSError as error:
        return _problem(visit, error.status, type(error).type.partition("#")[2], error.message)
    except web.HTTPClientError as error:
        return _problem(visit, error.status, error.reason, error.text or "")
    except web.HTTPException:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return _problem(visit, 500, "InternalFailure", "questd made a mistake; its log says which.")


def _problem(visit: Visit, status: int, title: str, text: str) -> web.Response:
    return pages.page(visit, "problem.html", status, title=title, text=text)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in."""
    if request.path.startswith(OPEN):
        return await handler(request)
    gate = request.app[QUESTD].gate
    if not (gate or _is_known_host(request)):
        raise web.HTTPMisdirectedRequest(text=UNKNOWN_HOST)
    if request.method == hdrs.METH_POST and not await _is_own_form(request):
        raise web.HTTPForbidden(text=FOREIGN_FORM)
    if gate and not request[VISIT].request.principal and request.path != "/login":
        raise web.HTTPSeeOther(URL("/login").with_query(next=request.path_qs if request.method == "GET" else "/"))
    return await handler(request)


def _visit(http: web.Request) -> Visit:
    """Return who comes, as his cookie says, and as if he had come to the SQS port."""
    questd, cookie = http.app[QUESTD], http.cookies.get(COOKIE, "")
    host = f"{http.url.host}:{questd.settings.port}" if http.url.host else ""
    request = Request("POST", "/", {"host": host}, b"", peer=http.remote or "", namespace=questd.home)
    name = http.app[SESSIONS].holder(cookie)
    if questd.gate and name:
        questd.gate.admit(request, name)
    return Visit(questd, request, http.app[SESSIONS].token(cookie))


def _is_known_host(http: web.Request) -> bool:
    """Tell whether the browser was led here by a name that nobody else can give to this address (DNS rebinding)."""
    settings = http.app[QUESTD].settings
    try:
        host = URL(f"http://{http.host}").host or ""
    except ValueError:
        return False
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return host in {"localhost", settings.host.lower(), URL(settings.public_url or "").host}


async def _is_own_form(http: web.Request) -> bool:
    """Tell whether a posted form comes from a page of this console."""
    origin = http.headers.get(hdrs.ORIGIN)
    public = URL(http.app[QUESTD].settings.public_url or "").host_port_subcomponent  # a proxy may have changed the host
    if origin is not None and origin.partition("://")[2] not in {http.host, public or http.host}:
        return False
    try:
        given = (await http.post()).get("token", "")
    except (ValueError, LookupError):  # it is no form, or in no encoding that there is
        return False
    return isinstance(given, str) and http.app[SESSIONS].is_token(http.cookies.get(COOKIE, ""), given)


def _next(path: str) -> str:
    """Return where somebody goes when he has logged in: a page of this console, wherever he was led from."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


async def _login_page(http: web.Request) -> web.Response:
    if not http.app[QUESTD].gate:
        raise web.HTTPSeeOther("/")
    return pages.page(http[VISIT], "login.html", next=_next(http.query.get("next", "/")), name="")


async def _login(http: web.Request) -> web.Response:
    form = await acts.form_of(http)
    name, following = form.get("name", "").strip(), _next(form.get("next", "/"))
    try:
        cookie = http.app[SESSIONS].login(http.remote or "", name, form.get("secret", ""))
    except TooManyFailures:
        status, problem = 429, "Too many logins have failed. Try again in a minute."
    else:
        if cookie:
            response = web.HTTPSeeOther(following)
            settings = http.app[QUESTD].settings
            secure = bool(settings.tls_cert) or (settings.public_url or "").startswith("https:")
            response.set_cookie(COOKIE, cookie, max_age=LASTS_SECONDS, httponly=True, samesite="Strict", secure=secure)
            raise response
        status, problem = 403, "There is no such access key with this secret."
    return pages.page(http[VISIT], "login.html", status, next=following, name=name, error=problem)


async def _logout(_http: web.Request) -> web.Response:
    response = web.HTTPSeeOther("/login")
    response.del_cookie(COOKIE)
    raise response
