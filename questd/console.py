"""The console's port: what people and their tools look at, beside the port that programs send and receive on.

It owns the paths there and who may see them; it must not know sockets or processes, nor change what the SQS port does.
"""

from base64 import b64decode

from aiohttp import hdrs, web

from questd import answer, metrics
from questd.action import Questd
from questd.answer import SERVER

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>questd</title>
<h1>questd</h1>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/health/live">/health/live</a>: this process runs</li>
<li><a href="/health/ready">/health/ready</a>: Redis answers, and has the library</li>
</ul>
</html>
"""

WHO = {hdrs.WWW_AUTHENTICATE: 'Basic realm="questd: an access key with all rights", charset="UTF-8"'}


def application(questd: Questd) -> web.Application:
    """Return the application that answers on the console's port."""

    async def health(http: web.Request) -> web.Response:
        given = await answer.health(questd, http.path)
        return web.Response(status=given.status, body=given.body, headers={hdrs.CONTENT_TYPE: given.content_type})

    async def metrics_text(http: web.Request) -> web.Response:
        if not _is_trusted(questd, http):
            raise web.HTTPUnauthorized(headers=WHO)
        text, content_type = await metrics.scrape(questd, http.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: content_type})

    app = web.Application()
    app.on_response_prepare.append(_sign)
    app.router.add_get("/", _front_page)
    app.router.add_get("/health/{name}", health)
    app.router.add_get("/metrics", metrics_text)
    return app


def _is_trusted(questd: Questd, http: web.Request) -> bool:
    """Tell whether a request comes from somebody who may see everything: with access keys, one who has such a key."""
    if questd.gate is None:
        return True
    scheme, _, given = http.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    try:
        name, colon, secret = b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return False
    return scheme.lower() == "basic" and bool(colon) and questd.gate.trusts(name, secret)


async def _sign(_http: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = SERVER


async def _front_page(_http: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")
