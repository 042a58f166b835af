"""Pipecat: `OpenAIRealtimeLLMService` in a pipeline."""

import asyncio
import sys

import tap
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import ErrorFrame, InputAudioRawFrame, InterruptionFrame, LLMContextFrame, TTSAudioRawFrame, TTSTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

tap.tap_websockets()
called = []


class Ear(FrameProcessor):
    """What comes out of the service."""

    def __init__(self):
        super().__init__()
        self.sound, self.text, self.interruptions = 0, "", 0

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.sound += len(frame.audio)
        elif isinstance(frame, TTSTextFrame):
            self.text += frame.text
        elif isinstance(frame, InterruptionFrame):
            self.interruptions += 1
        await self.push_frame(frame, direction)


class Errors(FrameProcessor):
    """What the service reports upstream."""

    def __init__(self):
        super().__init__()
        self.found = []

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.found.append(frame.error)
        await self.push_frame(frame, direction)


class Call:
    """A running pipeline."""

    def __init__(self):
        self.llm = OpenAIRealtimeLLMService(api_key="none", base_url=tap.URL.replace("http", "ws") + "/v1/realtime")
        self.llm.register_function("get_temperature", self.temperature)
        weather = tap.WEATHER
        schema = FunctionSchema(
            name=weather["name"],
            description=weather["description"],
            properties=weather["parameters"]["properties"],
            required=weather["parameters"]["required"],
        )
        self.context = LLMContext(tools=ToolsSchema(standard_tools=[schema]))
        self.ear, self.errors = Ear(), Errors()
        pair = LLMContextAggregatorPair(self.context)
        stages = [pair.user(), self.errors, self.llm, self.ear, pair.assistant()]
        self.task = PipelineTask(
            Pipeline(stages),
            params=PipelineParams(audio_in_sample_rate=24000, audio_out_sample_rate=24000),
            cancel_on_idle_timeout=False,
        )

    async def temperature(self, params):
        called.append(params.arguments)
        await params.result_callback({"temperature": 21})

    async def say(self, text):
        self.context.add_message({"role": "user", "content": text})
        await self.task.queue_frame(LLMContextFrame(self.context))

    async def append(self, piece):
        await self.task.queue_frame(InputAudioRawFrame(audio=piece, sample_rate=24000, num_channels=1))


async def voice(call):
    await asyncio.gather(tap.speak(call.append), tap.seen("response.done"))
    await asyncio.sleep(0.5)
    tap.expect(call.ear.sound > 0 and call.ear.text, "an answer that is heard")


async def text(call):
    await call.say("what is the weather")
    await tap.seen("response.done")
    await asyncio.sleep(0.5)
    tap.expect(call.ear.text, "an answer")


async def tool(call):
    await call.say(tap.ASK_TOOL)
    await tap.seen("response.done", 2)
    await asyncio.sleep(0.5)
    tap.expect(called == [{"city": "Paris"}], f"a call, not {called}")
    tap.expect("21" in call.ear.text, "the result, told")


async def barge_in(call):
    await call.say("what are the headlines")
    await tap.seen("response.output_audio.delta")
    await asyncio.sleep(1)
    await asyncio.gather(tap.speak(call.append), tap.seen("response.done"))
    done = await tap.seen("response.done")
    tap.expect(done["response"]["status"] == "cancelled", "a cancelled response")
    await tap.seen("response.done", 2)
    tap.expect(call.ear.interruptions > 0, "the client noticed")


async def malformed(call):
    await tap.seen("session.updated")
    await call.llm._websocket.send('{"type":"nonsense"}')
    await tap.seen("error")
    await asyncio.sleep(0.2)
    # It reads no further after an error, whatever the server does, so that is all there is to see.
    tap.expect(len(call.errors.found) == 1, "the error, reported once")
    call.errors.found.clear()


async def main(scenario):
    call = Call()
    runner = asyncio.create_task(PipelineRunner(handle_sigint=False).run(call.task))
    await tap.seen("session.created")
    await scenario(call)
    tap.expect(not call.errors.found, f"no errors, but there is {call.errors.found}")
    await call.task.cancel()
    await runner


asyncio.run(main({"voice": voice, "text": text, "tool": tool, "barge-in": barge_in, "malformed": malformed}[sys.argv[1]]))
