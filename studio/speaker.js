/**
 * The anchor's voice in the room: hands sound to the audio thread and keeps the account of what was heard.
 *
 * Events: `audible` (detail: {response, at}), when the first sound of a response reaches the ear, `at` as
 * `performance.now()`; `finished` (detail: {response}), when its last has; `level` (detail: {peak, rms}) every 20 ms;
 * `heard` (detail: {response, playedMs}) about every 100 ms while something plays, and once at the end;
 * `overflow`.
 */

import { WIRE_RATE } from './audio/pcm.js';

/** How often the server is told what was heard. */
const REPORT_INTERVAL_MS = 100;

/** A suspended audio thread may not answer; then the last status is what is known. */
const FLUSH_TIMEOUT_MS = 150;

const toMs = (samples) => Math.floor((samples * 1000) / WIRE_RATE);

export class Speaker extends EventTarget {
  #context = null;
  #worklet = null;
  /** Responses with sound not yet heard, in order; what was pushed and what has left the buffer, in samples. */
  #open = new Map();
  #flushes = new Map();
  #status = { playing: false, current: null, buffered: 0, wait: 0, peak: 0, rms: 0 };
  #lastReport = 0;
  #stats = { playedMs: 0, flushes: 0, underruns: 0, lastFlushMs: 0 };

  /**
   * Reads once, not a live view.
   * @returns {{playedMs: number, flushes: number, underruns: number, lastFlushMs: number, lastOutputPeak: number,
   *   bufferedMs: number, waitMs: number, outputLatencyMs: number}}
   */
  get stats() {
    const { peak, buffered, wait } = this.#status;
    return {
      ...this.#stats,
      lastOutputPeak: peak,
      bufferedMs: toMs(buffered),
      waitMs: toMs(wait),
      outputLatencyMs: Math.round(this.#latency * 1000),
    };
  }

  /** There is sound of an answer that was not heard yet, or more of it is to come. */
  get busy() {
    return this.#open.size > 0;
  }

  /** There is sound of this response that was not heard yet. */
  has(response) {
    return this.#open.has(response);
  }

  /** @param {AudioContext} context with the worklet `playback` loaded */
  attach(context) {
    this.#context = context;
    this.#worklet = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    this.#worklet.port.onmessage = ({ data }) => this.#receive(data);
    this.#worklet.connect(context.destination);
  }

  /**
   * @param {string} response
   * @param {Int16Array} samples at `WIRE_RATE`; given away
   */
  push(response, samples) {
    if (!this.#worklet) return;
    const known = this.#open.get(response) ?? { pushed: 0, played: 0 };
    known.pushed += samples.length;
    this.#open.set(response, known);
    this.#worklet.port.postMessage({ push: samples, response }, [samples.buffer]);
  }

  /** No more sound will come for this response. */
  end(response) {
    this.#worklet?.port.postMessage({ end: response });
  }

  /**
   * Silence, now. What is in the device's own buffer cannot be called back and is counted as heard.
   * @returns {Promise<{response: string, playedMs: number}[]>} every response that was cut and how much was heard of it
   */
  flush() {
    if (!this.busy) return Promise.resolve([]);
    const id = ++this.#stats.flushes;
    const asked = performance.now();
    const lastKnown = [...this.#open].map(([response, { played }]) => ({ response, played }));
    this.#open.clear();
    this.#worklet.port.postMessage({ flush: id });
    return new Promise((resolve) => {
      const answer = (cut) => {
        this.#flushes.delete(id);
        clearTimeout(timer);
        this.#stats.lastFlushMs = performance.now() - asked;
        const played = new Map(cut.map((part) => [part.response, part.played]));
        for (const part of lastKnown) part.playedMs = toMs(played.get(part.response) ?? part.played);
        this.#stats.playedMs += lastKnown.reduce((sum, { playedMs }) => sum + playedMs, 0);
        resolve(lastKnown.map(({ response, playedMs }) => ({ response, playedMs })));
      };
      const timer = setTimeout(() => answer([]), FLUSH_TIMEOUT_MS);
      this.#flushes.set(id, answer);
    });
  }

  /** Seconds from leaving the audio thread to the ear, as far as the browser knows. */
  get #latency() {
    return this.#context?.outputLatency || this.#context?.baseLatency || 0;
  }

  #receive({ status, event, time, flushed, cut, dropped }) {
    if (flushed !== undefined) this.#flushes.get(flushed)?.(cut);
    if (dropped !== undefined) this.#emit('overflow');
    if (event) this.#happened(event, time);
    if (status) this.#update(status);
  }

  #happened({ kind, response, played }, time) {
    if (kind === 'underrun') this.#stats.underruns += 1;
    if (kind === 'audible') this.#emit('audible', { response, at: this.#earTime(time) });
    if (kind === 'finished' && this.#open.delete(response)) {
      this.#stats.playedMs += toMs(played);
      setTimeout(() => {
        this.#emit('heard', { response, playedMs: toMs(played) });
        this.#emit('finished', { response });
      }, this.#latency * 1000);
    }
  }

  /** The context's clock runs ahead of the ear by the latency; browsers without timestamps get the plain sum. */
  #earTime(contextTime) {
    const stamp = this.#context.getOutputTimestamp?.();
    if (stamp?.performanceTime && stamp.contextTime) {
      return stamp.performanceTime + (contextTime - stamp.contextTime) * 1000;
    }
    return performance.now() + this.#latency * 1000;
  }

  #update(status) {
    this.#status = status;
    this.#emit('level', { peak: status.peak, rms: status.rms });
    const known = status.current && this.#open.get(status.current.response);
    if (!known) return;
    known.played = status.current.played;
    const now = performance.now();
    if (!status.playing || now - this.#lastReport < REPORT_INTERVAL_MS) return;
    this.#lastReport = now;
    const heard = Math.max(0, known.played - this.#latency * WIRE_RATE);
    this.#emit('heard', { response: status.current.response, playedMs: toMs(heard) });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
