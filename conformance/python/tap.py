"""Writes down every event a client receives, before the client looks at it, and holds what all clients need."""

import asyncio
import json
import os

URL = os.environ["ANCHOR_URL"]  # http://127.0.0.1:PORT
EVENTS = open(os.environ["ANCHOR_EVENTS"], "a", encoding="utf-8")
QUESTION = open(os.environ["ANCHOR_QUESTION"], "rb").read()  # 24 kHz, 16 bit, mono, no header
WEATHER = {
    "type": "function",
    "name": "get_temperature",
    "description": "Get the current temperature in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK_TOOL = "what is the temperature in Paris"
RESULT = '{"temperature": 21}'
PIECE = 960  # 20 ms
SEEN = []


def wrote(text):
    SEEN.append(json.loads(text))
    EVENTS.write(text.strip().replace("\n", " ") + "\n")
    EVENTS.flush()


def tap_websockets():
    from websockets.asyncio.client import ClientConnection

    inner = ClientConnection.recv

    async def recv(self, *arguments, **named):
        message = await inner(self, *arguments, **named)
        wrote(message if isinstance(message, str) else message.decode())
        return message

    ClientConnection.recv = recv


def tap_aiohttp():
    import aiohttp

    inner = aiohttp.ClientWebSocketResponse.receive

    async def receive(self, *arguments, **named):
        message = await inner(self, *arguments, **named)
        if message.type == aiohttp.WSMsgType.TEXT:
            wrote(message.data)
        return message

    aiohttp.ClientWebSocketResponse.receive = receive


def pieces(sound, silence_ms=1500):
    sound = sound + bytes(48 * silence_ms)
    return [sound[at : at + PIECE] for at in range(0, len(sound), PIECE)]


async def speak(send, sound=QUESTION):
    """Gives the sound out in real time."""
    for piece in pieces(sound):
        await send(piece)
        await asyncio.sleep(0.02)


async def seen(kind, count=1):
    """The so-many-th event of this type, once it has come."""
    for _ in range(1200):
        found = [event for event in SEEN if event["type"] == kind]
        if len(found) >= count:
            return found[count - 1]
        await asyncio.sleep(0.05)
    raise SystemExit(f"expected: {kind} within a minute, the {count}. time")


def expect(holds, what):
    if not holds:
        raise SystemExit("expected: " + what)
