"""The limit of an aiohttp server in Python: parse the JSON of a body, answer JSON. Run: python bare.py PORT."""

import asyncio
import sys

import uvloop
from aiohttp import web
from pydantic_core import from_json, to_json

ANSWER = {"MD5OfMessageBody": "0" * 32, "MessageId": "0" * 36}
HEADERS = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": "0" * 36}


async def _answer(http: web.BaseRequest) -> web.Response:
    from_json(await http.read())
    return web.Response(body=to_json(ANSWER), headers=HEADERS)


async def _serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(_answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
