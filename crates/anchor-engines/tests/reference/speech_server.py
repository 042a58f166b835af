"""A server of voices that others wrote, for the tests of `openai-speech`: the OpenAI routes of ovos-tts-server
(https://github.com/OpenVoiceOS/ovos-tts-server), with espeak-ng for its voice. Prints its port and serves until it is ended."""

import os
import socket
import subprocess
import tempfile

import uvicorn
from fastapi import FastAPI
from ovos_tts_server.routers.openai_tts import make_openai_tts_router


class Espeak:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()

    def synthesize(self, text, **_):
        path = os.path.join(self.folder.name, "speech.wav")
        subprocess.run(["espeak-ng", "-v", "en", "-w", path, text], check=True)
        return path, None


app = FastAPI()
app.include_router(make_openai_tts_router(Espeak()))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
