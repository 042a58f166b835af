"""A model server as the supervisor's tests need them: it answers like the real ones, and fails as it is told to."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--name", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--journal", required=True)
parser.add_argument("--slow", type=float, default=0, help="seconds before it listens")
parser.add_argument("--slow-proof", type=float, default=0, help="seconds a real request takes")
parser.add_argument("--die-after", type=int, default=0, help="looks after which it ends")
parser.add_argument("--hang-after", type=int, default=0, help="looks after which it answers no more")
parser.add_argument("--once", help="a file: it fails only while that is not there, and makes it")
parser.add_argument("--stubborn", action="store_true", help="ignores being asked to end")
parser.add_argument("--child", action="store_true", help="has a child that ignores it, too")
parser.add_argument("--noise", type=int, default=0, help="lines of 100 bytes to print")
parser.add_argument("--oom", action="store_true", help="runs out of memory")
parser.add_argument("--vram", type=int, default=100, help="how much of 100 bytes lies on the card")
parser.add_argument("--refuse", action="store_true", help="answers real requests with an error")
parser.add_argument("--model", help="a file: the model is there while the file is")
options = parser.parse_args()


def note(what):
    # One write to a file opened for appending is never mixed with another's.
    with open(options.journal, "a") as journal:
        journal.write(f"{what} {options.name}\n")


note("start")
with open(f"{options.journal}.pids", "a") as pids:
    pids.write(f"{os.getpid()}\n")


def end(*_):
    note("end")
    os._exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if options.stubborn else end)
if options.child:
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
for number in range(options.noise):
    print(f"{number:099}")
sys.stdout.flush()
if options.oom:
    print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", file=sys.stderr)
    sys.exit(1)
fails = True
if options.once:
    fails = not os.path.exists(options.once)
    open(options.once, "w").close()
print("Loading the model", flush=True)
time.sleep(options.slow)
looks = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        global looks
        if self.path in ("/health", "/api/version"):
            looks += 1
            if fails and options.die_after and looks > options.die_after:
                print("Segmentation fault", file=sys.stderr, flush=True)
                os._exit(7)
            if fails and options.hang_after and looks > options.hang_after:
                time.sleep(1000)
            self.answer({"version": "0.30.0"})
        elif self.path == "/v1/models":
            self.answer({"data": [{"id": "the-model"}]})
        elif self.path == "/api/ps":
            self.answer({"models": [{"name": "the-model:latest", "model": "the-model:latest", "size": 100, "size_vram": options.vram}]})
        else:
            self.answer({"error": "no such page"}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(options.slow_proof)
        if self.path == "/api/chat":
            asked = json.loads(body)
            if options.model and not os.path.exists(options.model):
                return self.answer({"error": f"model '{asked['model']}' not found"}, 404)
            right = asked["messages"] == [] and asked["keep_alive"] == -1 and asked["options"]["num_ctx"] == 4096
            answer = {"done": True, "done_reason": "load"}
        elif self.path == "/v1/audio/transcriptions":
            right = b"RIFF" in body and b"the-model" in body
            answer = {"text": ""}
        else:
            asked = json.loads(body)
            right = asked["input"] and asked["response_format"] == "pcm" and "voice" not in asked
            answer = bytes(960)
        if options.refuse:
            return self.answer({"error": "llama runner process has terminated: cudaMalloc failed: out of memory"}, 500)
        if not right:
            return self.answer({"error": "that is not what a real client asks"}, 400)
        note("proved")
        self.answer(answer)


ThreadingHTTPServer.allow_reuse_address = True
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
