"""Flask with the server that comes with it."""
import os

from flask import Flask, request

app = Flask(__name__)
count = 0


@app.route("/count")
def counter():
    global count
    count += 1
    return f"{count}\n"


@app.route("/echo", methods=["GET", "POST"])
def echo():
    return f"{request.method} {request.query_string.decode()} {request.get_data().decode()}"


@app.route("/parts")
def parts():
    return ("x" * 8192 for _ in range(64))


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
