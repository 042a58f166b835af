"""livekit-plugins-openai: a session of its `RealtimeModel`, as an agent uses it."""

import asyncio
import sys

import aiohttp
import tap
from livekit import rtc
from livekit.agents import llm
from livekit.plugins.openai.realtime import RealtimeModel

tap.tap_aiohttp()
errors = []
generations = asyncio.Queue()


@llm.function_tool(name="get_temperature", description="Get the current temperature in a city.")
async def get_temperature(city: str) -> str:
    return tap.RESULT


async def take(generation):
    """What an answer consists of: its text, how many bytes of sound it has, and its calls."""
    text, sound, calls = "", 0, []

    async def messages():
        nonlocal text, sound
        async for message in generation.message_stream:
            async def listen():
                nonlocal sound
                async for frame in message.audio_stream:
                    sound += len(frame.data)

            listening = asyncio.create_task(listen())
            async for piece in message.text_stream:
                text += piece
            await listening

    async def functions():
        async for call in generation.function_stream:
            calls.append(call)

    await asyncio.wait_for(asyncio.gather(messages(), functions()), 60)
    return text, sound, calls


async def push(session, piece):
    session.push_audio(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))


async def next_generation():
    return await asyncio.wait_for(generations.get(), 60)


async def say(session, text):
    context = session.chat_ctx.copy()
    context.add_message(role="user", content=text)
    await session.update_chat_ctx(context)
    session.generate_reply()
    return await next_generation()


async def voice(session):
    speaking = asyncio.create_task(tap.speak(lambda piece: push(session, piece)))
    text, sound, _ = await take(await next_generation())
    await speaking
    tap.expect(text and sound, "an answer that is heard")


async def text(session):
    text, _, _ = await take(await say(session, "what is the weather"))
    tap.expect(text, "an answer")


async def tool(session):
    await session.update_tools([get_temperature])
    _, _, calls = await take(await say(session, tap.ASK_TOOL))
    tap.expect(len(calls) == 1 and "Paris" in calls[0].arguments, "a call")
    context = session.chat_ctx.copy()
    context.items.append(llm.FunctionCallOutput(call_id=calls[0].call_id, name=calls[0].name, output=tap.RESULT, is_error=False))
    await session.update_chat_ctx(context)
    session.generate_reply()
    text, _, _ = await take(await next_generation())
    tap.expect("21" in text, "the result, told")


async def barge_in(session):
    answer = await say(session, "what are the headlines")
    taking = asyncio.create_task(take(answer))
    await tap.seen("response.output_audio.delta")
    await asyncio.sleep(1)
    speaking = asyncio.create_task(tap.speak(lambda piece: push(session, piece)))
    done = await tap.seen("response.done")
    tap.expect(done["response"]["status"] == "cancelled", "a cancelled response")
    await taking
    session.truncate(message_id=done["response"]["output"][0]["id"], modalities=["audio"], audio_end_ms=500)
    await tap.seen("conversation.item.truncated")
    await speaking
    await take(await next_generation())


async def malformed(session):
    session.send_event({"type": "nonsense"})
    await tap.seen("error")
    await asyncio.sleep(0.2)
    errors.clear()
    await text(session)


async def main(scenario):
    async with aiohttp.ClientSession() as http:
        model = RealtimeModel(base_url=tap.URL + "/v1", model="anchor", api_key="none", http_session=http)
        session = model.session()
        session.on("generation_created", generations.put_nowait)
        session.on("error", lambda error: errors.append(error))
        await tap.seen("session.updated")
        await scenario(session)
        tap.expect(not errors, f"no errors, but there is {errors}")
        await session.aclose()


asyncio.run(main({"voice": voice, "text": text, "tool": tool, "barge-in": barge_in, "malformed": malformed}[sys.argv[1]]))
