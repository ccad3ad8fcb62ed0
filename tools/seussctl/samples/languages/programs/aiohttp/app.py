"""A server with aiohttp."""
import os

from aiohttp import web

seen = 0


async def counter(_):
    global seen
    seen += 1
    return web.Response(text=f"{seen}\n")


async def echo(r):
    return web.Response(text=f"{r.method} {r.query_string} {await r.text()}")


async def parts(r):
    a = web.StreamResponse()
    await a.prepare(r)
    for _ in range(64):
        await a.write(b"x" * 8192)
    await a.write_eof()
    return a


app = web.Application()
app.add_routes([web.get("/count", counter), web.route("*", "/echo", echo), web.get("/parts", parts)])
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
