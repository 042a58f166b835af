"""openai-python: `AsyncOpenAI.realtime.connect`."""

import asyncio
import base64
import sys

import tap
from openai import AsyncOpenAI

tap.tap_websockets()


class Session:
    def __init__(self, connection):
        self.connection = connection
        self.seen = []

    async def until(self, kind, then=None):
        async def read():
            while True:
                event = await self.connection.recv()
                self.seen.append(event)
                if event.type == kind and (then is None or then(event)):
                    return event

        return await asyncio.wait_for(read(), 60)

    async def append(self, piece):
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

    async def say(self, text):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.connection.conversation.item.create(item=item)
        await self.connection.response.create()

    def count(self, kind):
        return sum(event.type == kind for event in self.seen)


async def voice(session):
    await asyncio.gather(tap.speak(session.append), session.until("response.done"))
    tap.expect(session.seen[-1].response.status == "completed", "a completed response")
    tap.expect(session.count("response.output_audio.delta") > 0, "sound")
    tap.expect(session.count("input_audio_buffer.speech_started") == 1, "one turn of speech")


async def text(session):
    await session.connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    updated = await session.until("session.updated")
    tap.expect(updated.session.output_modalities == ["text"], "the modality in the echo")
    await session.say("what is the weather")
    done = await session.until("response.done")
    tap.expect(done.response.output[0].content[0].text, "text")


async def tool(session):
    await session.connection.session.update(session={"type": "realtime", "tools": [tap.WEATHER]})
    await session.until("session.updated")
    await session.say(tap.ASK_TOOL)
    call = (await session.until("response.done")).response.output[0]
    tap.expect(call.type == "function_call" and call.name == "get_temperature", "a call")
    tap.expect("Paris" in call.arguments, "its argument")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": tap.RESULT}
    await session.connection.conversation.item.create(item=output)
    await session.connection.response.create()
    answer = (await session.until("response.done")).response.output[0]
    tap.expect("21" in answer.content[0].transcript, "the result, told")


async def barge_in(session):
    await session.say("what are the headlines")
    await session.until("response.output_audio.delta")
    await asyncio.sleep(1)
    await asyncio.gather(tap.speak(session.append), session.until("response.done"))
    cancelled = session.seen[-1].response
    tap.expect(cancelled.status == "cancelled", "a cancelled response")
    tap.expect(cancelled.status_details.reason == "turn_detected", "the reason")
    answer = cancelled.output[0].id
    await session.connection.conversation.item.truncate(item_id=answer, content_index=0, audio_end_ms=500)
    await session.until("conversation.item.truncated")
    await session.until("response.done")


async def malformed(session):
    raw = session.connection._connection
    for message in ["{", "[]", '{"type":"nonsense"}', '{"type":"session.update","session":{"type":"realtime","nonsense":1}}',
                    '{"type":"input_audio_buffer.append","audio":"???"}', '{"type":"conversation.item.retrieve","item_id":"none"}']:
        await raw.send(message)
        error = (await session.until("error")).error
        tap.expect(error.message and error.type == "invalid_request_error", "an error that says what is wrong")
    await raw.send(b"\x00\x01")
    await session.until("error")
    await session.connection.input_audio_buffer.clear()
    await session.until("input_audio_buffer.cleared")


async def main(scenario):
    client = AsyncOpenAI(api_key="none", base_url=tap.URL + "/v1")
    async with client.realtime.connect(model="anchor") as connection:
        session = Session(connection)
        await session.until("session.created")
        await scenario(session)


asyncio.run(main({"voice": voice, "text": text, "tool": tool, "barge-in": barge_in, "malformed": malformed}[sys.argv[1]]))
