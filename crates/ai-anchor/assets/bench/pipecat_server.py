"""Pipecat with its WebSocket transport and a generator of stamped sound, as `ai-anchor bench server` measures it.

Sound is 16-bit little-endian mono at 24 kHz in binary messages, both ways. The pipeline is the smallest that listens,
answers and is interrupted: transport, Pipecat's voice activity detection by plain level, a generator, transport. There
are no recogniser, no language model and no context aggregators in it, which a real pipeline would have on top.

The server prints its port on a line and ends with its standard input.
"""

import asyncio
import sys
import threading
import time

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    InputAudioRawFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 24_000
FRAME = RATE // 50
FRAMES = 300  # six seconds
MARK = [15, 0]
DIGITS = 13


def stamped(micros):
    """A frame that carries the time it was due; the code is that of stamp.rs."""
    digits = [micros >> 4 * place & 15 for place in range(DIGITS)]
    check = sum(digit * (place + 1) for place, digit in enumerate(digits)) & 15
    code = np.array(MARK + digits + [check])
    levels = (code * 2 - 15) * 1024
    return np.tile(levels.astype("<i2"), FRAME // len(code)).tobytes()


class Pcm(FrameSerializer):
    """Nothing but sound."""

    async def serialize(self, frame):
        return bytes(frame.audio) if isinstance(frame, OutputAudioRawFrame) else None

    async def deserialize(self, data):
        return InputAudioRawFrame(audio=data, sample_rate=RATE, num_channels=1)


class Level(VADAnalyzer):
    """Loud is speech."""

    def num_frames_required(self):
        return FRAME

    def voice_confidence(self, buffer):
        samples = np.frombuffer(buffer, dtype="<i2").astype(np.float32)
        return 1.0 if np.mean(samples * samples) > 327.68**2 else 0.0  # -40 dBFS


class Generator(FrameProcessor):
    """Answers every turn with sound in real time, until it is interrupted."""

    answer = None

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            return
        if isinstance(frame, VADUserStartedSpeakingFrame) and self.answer:
            await self.stop_answer()
            await self.broadcast_interruption()
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.stop_answer()
            self.answer = self.create_task(self.speak())
        await self.push_frame(frame, direction)

    async def stop_answer(self):
        if self.answer:
            await self.cancel_task(self.answer)
            self.answer = None

    async def cleanup(self):
        await self.stop_answer()
        await super().cleanup()

    async def speak(self):
        await self.push_frame(TTSStartedFrame())
        begun, micros = time.monotonic(), time.time_ns() // 1000
        for frame in range(FRAMES):
            due = frame * FRAME / RATE
            await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
            sound = stamped(micros + round(due * 1_000_000))
            await self.push_frame(TTSAudioRawFrame(audio=sound, sample_rate=RATE, num_channels=1))
        await self.push_frame(TTSStoppedFrame())


app = FastAPI()


@app.websocket("/")
async def converse(websocket: WebSocket):
    await websocket.accept()
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            # The default of 40 ms would add a frame's length to every other frame.
            audio_out_10ms_chunks=2,
            audio_out_end_silence_secs=0,
            audio_out_auto_silence=False,
            serializer=Pcm(),
        ),
    )
    # The pauses are those of the anchor: 60 ms begin a turn, 400 ms end it.
    level = Level(params=VADParams(confidence=0.5, start_secs=0.06, stop_secs=0.4, min_volume=0.0))
    pipeline = Pipeline([transport.input(), VADProcessor(vad_analyzer=level), Generator(), transport.output()])
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, websocket):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


async def main():
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)

    def end_with_stdin():
        sys.stdin.buffer.read()
        server.should_exit = server.force_exit = True

    threading.Thread(target=end_with_stdin, daemon=True).start()
    await serving


asyncio.run(main())
