"""The console's port: what people and their tools look at, beside the port that programs send and receive on.

It owns the paths there; it must not know sockets or processes, nor change what the SQS port does.
"""

from aiohttp import web

from questd import answer
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
<li><a href="/health/live">/health/live</a>: this process runs</li>
<li><a href="/health/ready">/health/ready</a>: Redis answers, and has the library</li>
</ul>
</html>
"""


def application(questd: Questd) -> web.Application:
    """Return the application that answers on the console's port."""

    async def health(http: web.Request) -> web.Response:
        given = await answer.health(questd, http.path)
        return web.Response(status=given.status, body=given.body, headers={"Content-Type": given.content_type})

    app = web.Application()
    app.on_response_prepare.append(_sign)
    app.router.add_get("/", _front_page)
    app.router.add_get("/health/{name}", health)
    return app


async def _sign(_http: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


async def _front_page(_http: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")
