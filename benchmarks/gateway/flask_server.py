"""Peer with the original's stack: Flask-SocketIO on eventlet, tokens made in its process.

    PYTHON flask_server.py PORT

PYTHON is in a virtual environment of its own, created by `benchmarks.gateway.servers`.
Like the original, it makes tokens in a green thread that checks for a cancel after each.
"""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402
import time  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="eventlet", cors_allowed_origins="*")
cancelled = {}


def generate(sid, pace, tokens):
    texts = []
    due = time.monotonic()
    cancelled[sid] = False
    for _ in range(tokens):
        if pace:
            due += 1 / pace
            eventlet.sleep(max(0, due - time.monotonic()))
        else:
            eventlet.sleep(0)
        if cancelled[sid]:
            print(time.monotonic(), flush=True)
            break
        text = f"{time.monotonic():.6f} "
        texts.append(text)
        socketio.emit("text_chunk", {"chunk": text, "type": 0}, room=sid)
    socketio.emit("text_generated", {"text": "".join(texts)}, room=sid)


@socketio.on("generate_text")
def generate_text(data):
    pace, tokens = float(data["prompt"]), data["n_predicts"]
    socketio.start_background_task(generate, request.sid, pace, tokens)


@socketio.on("cancel_generation")
def cancel_generation(*data):
    cancelled[request.sid] = True
    socketio.emit("generation_canceled", {}, room=request.sid)


@socketio.on("disconnect")
def disconnect(*reason):
    cancelled[request.sid] = True


socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]))
