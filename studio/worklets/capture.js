/**
 * The microphone's side of the audio thread: device rate in, 20 ms messages at the wire's rate out.
 *
 * In: `{muted}`, `{close: true}`. Out, every 20 ms: `{samples: Int16Array, peak, rms}`. Muted, the samples are silence but
 * the messages go on, because the server counts pauses in samples; the levels stay those of the microphone.
 */

import { LevelMeter } from '../audio/level.js';
import { CHUNK_SAMPLES, toInt16, WIRE_RATE } from '../audio/pcm.js';
import { Resampler } from '../audio/resampler.js';

/** Muting ramps over 5 ms: a hard cut is a click, and a click can sound like speech. */
const RAMP_STEP = 1 / (WIRE_RATE * 0.005);

class Capture extends AudioWorkletProcessor {
  #resampler = new Resampler(Math.round(sampleRate), WIRE_RATE);
  #resampled = new Float32Array(0);
  #chunk = new Int16Array(CHUNK_SAMPLES);
  #filled = 0;
  #level = new LevelMeter();
  #gain = 1;
  #muted = false;
  #open = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.close) this.#open = false;
      if (data.muted !== undefined) this.#muted = data.muted;
    };
  }

  process([input]) {
    const [channel] = input;
    if (channel) this.#take(channel);
    return this.#open;
  }

  #take(channel) {
    const room = this.#resampler.outputFor(channel.length);
    if (this.#resampled.length < room) this.#resampled = new Float32Array(room);
    const count = this.#resampler.process(channel, this.#resampled);
    for (let index = 0; index < count; index++) this.#pack(this.#resampled[index]);
  }

  #pack(sample) {
    this.#level.add(sample);
    this.#gain = Math.max(0, Math.min(1, this.#gain + (this.#muted ? -RAMP_STEP : RAMP_STEP)));
    this.#chunk[this.#filled++] = toInt16(sample * this.#gain);
    if (this.#filled < CHUNK_SAMPLES) return;
    const samples = this.#chunk;
    this.port.postMessage({ samples, ...this.#level.take() }, [samples.buffer]);
    this.#chunk = new Int16Array(CHUNK_SAMPLES);
    this.#filled = 0;
  }
}

registerProcessor('capture', Capture);
