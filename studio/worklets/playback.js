/**
 * The loudspeaker's side of the audio thread: responses at the wire's rate in, device rate out.
 *
 * In: `{push: Int16Array, response}`, `{end: response}`, `{flush: number}`, `{close: true}`.
 * Out: `{flushed: number, cut}` in answer to a flush; `{event, time}` with the events of `PlayoutBuffer` and the context
 * time at which they are heard; `{dropped: samples}` when the buffer was full; and every 20 ms
 * `{status: {playing, current, buffered, wait, peak, rms}}`.
 */

import { LevelMeter } from '../audio/level.js';
import { WIRE_RATE } from '../audio/pcm.js';
import { PlayoutBuffer } from '../audio/playout.js';
import { Resampler } from '../audio/resampler.js';

/** Seconds between two status messages; a meter needs no more. */
const STATUS_INTERVAL = 0.02;

class Playback extends AudioWorkletProcessor {
  #buffer = new PlayoutBuffer();
  #resampler = new Resampler(WIRE_RATE, Math.round(sampleRate));
  #source = new Float32Array(0);
  #level = new LevelMeter();
  #nextStatus = 0;
  #open = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#obey(data);
  }

  #obey({ push, response, end, flush, close }) {
    if (push && !this.#buffer.push(response, push)) this.port.postMessage({ dropped: push.length });
    if (end !== undefined) this.#buffer.end(end);
    if (flush !== undefined) this.port.postMessage({ flushed: flush, cut: this.#buffer.flush() });
    if (close) this.#open = false;
  }

  process(_inputs, [[output]]) {
    const needed = this.#resampler.inputFor(output.length);
    // The audio thread should not feed the garbage collector: the buffer grows once and stays.
    if (this.#source.length < needed) this.#source = new Float32Array(needed + 1);
    const source = this.#source.subarray(0, needed);
    this.#buffer.read(source);
    this.#resampler.process(source, output);
    for (const sample of output) this.#level.add(sample);
    for (const event of this.#buffer.takeEvents()) this.port.postMessage({ event, time: currentTime });
    if (currentTime >= this.#nextStatus) this.#tell();
    return this.#open;
  }

  #tell() {
    this.#nextStatus = currentTime + STATUS_INTERVAL;
    const { playing, current, buffered, wait } = this.#buffer;
    this.port.postMessage({ status: { playing, current, buffered, wait, ...this.#level.take() } });
  }
}

registerProcessor('playback', Playback);
