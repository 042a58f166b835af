/**
 * What lies between the network and the loudspeaker: the jitter buffer, and the account of what was heard.
 *
 * The buffer waits for a little sound before it starts, so that late packets are not gaps. When it runs dry in the
 * middle of an answer it starts over with a longer wait, and after answers without a gap it shortens the wait again.
 * All of it counts samples at `WIRE_RATE`; nothing here knows a clock or a browser.
 */

import { WIRE_RATE } from './pcm.js';

const ms = (count) => (count * WIRE_RATE) / 1000;

/** Sound wanted before an answer starts. */
const INITIAL_WAIT = ms(60);

/** What an underrun adds to the wait. */
const WAIT_STEP = ms(40);

/** What an answer without an underrun takes off it. */
const WAIT_DECAY = ms(20);

/** The server sends at most 300 ms ahead of real time: a longer wait than this might never be over. */
const LONGEST_WAIT = ms(240);

/** Ramp at every edge, long enough not to click, short enough to be silent at once. */
const FADE = ms(5);

/** Two minutes of sound. A server that paces itself never comes near it. */
const CAPACITY = ms(120_000);

/** Louder than this (-54 dBFS) is heard as the voice having begun. */
const AUDIBLE = 0.002;

/**
 * @typedef {{kind: 'audible' | 'finished' | 'underrun', response: string, played: number}} PlayoutEvent
 *   `played` counts the samples of the response that have left the buffer.
 */

export class PlayoutBuffer {
  /** Responses with sound to come, the one being heard first. */
  #responses = [];
  #tail = [];
  #playing = false;
  #gain = 0;
  #wait = INITIAL_WAIT;
  #underrunInAnswer = false;
  #events = [];

  /** Sound is leaving the buffer. */
  get playing() {
    return this.#playing;
  }

  /** The present wait before an answer starts, in samples. */
  get wait() {
    return this.#wait;
  }

  /** Samples not heard yet. */
  get buffered() {
    return this.#responses.reduce((sum, response) => sum + response.pushed - response.played, 0);
  }

  /** The response being heard or about to be, and how much of it was. */
  get current() {
    const [response] = this.#responses;
    return response ? { response: response.id, played: response.played } : null;
  }

  /**
   * @param {string} id the response
   * @param {Int16Array} samples
   * @returns {boolean} false when the buffer is full and the samples were dropped
   */
  push(id, samples) {
    if (this.buffered + samples.length > CAPACITY) return false;
    if (samples.length === 0) return true;
    const response = this.#find(id) ?? this.#add(id);
    response.chunks.push(samples);
    response.pushed += samples.length;
    return true;
  }

  /** No more sound will come for this response. */
  end(id) {
    const response = this.#find(id);
    if (response) response.ended = true;
  }

  /**
   * Drops everything not heard yet; what is being heard fades out.
   * @returns {{response: string, played: number}[]} what was heard of each response that was dropped
   */
  flush() {
    const [current] = this.#responses;
    if (current && this.#playing) this.#fadeOut(current);
    const cut = this.#responses.map(({ id, played }) => ({ response: id, played }));
    this.#responses = [];
    this.#playing = false;
    this.#gain = 0;
    this.#underrunInAnswer = false;
    return cut;
  }

  /**
   * Fills the output, with silence where there is nothing to play.
   * @param {Float32Array} output
   */
  read(output) {
    for (let index = 0; index < output.length; index++) {
      output[index] = this.#tail.length ? this.#tail.shift() : this.#next();
    }
  }

  /** @returns {PlayoutEvent[]} what happened since the last call */
  takeEvents() {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #next() {
    if (!this.#playing) {
      if (!this.#mayStart()) return 0;
      this.#playing = true;
    }
    const [response] = this.#responses;
    if (response.played === response.pushed) {
      this.#runDry(response);
      return this.#playing ? this.#next() : 0;
    }
    return this.#take(response);
  }

  #mayStart() {
    const [response] = this.#responses;
    return response !== undefined && (response.ended || this.buffered >= this.#wait);
  }

  #runDry(response) {
    if (response.ended) {
      this.#responses.shift();
      if (!this.#underrunInAnswer) this.#wait = Math.max(INITIAL_WAIT, this.#wait - WAIT_DECAY);
      this.#underrunInAnswer = false;
      this.#playing = this.#mayStart();
      this.#report('finished', response);
    } else {
      this.#playing = false;
      this.#underrunInAnswer = true;
      this.#wait = Math.min(LONGEST_WAIT, this.#wait + WAIT_STEP);
      this.#report('underrun', response);
    }
  }

  #take(response) {
    const sample = this.#pull(response);
    if (!response.audible && Math.abs(sample) > AUDIBLE) {
      response.audible = true;
      this.#report('audible', response);
    }
    return sample * this.#ramp(response);
  }

  #pull(response) {
    const [chunk] = response.chunks;
    const sample = chunk[response.offset++] / 32768;
    if (response.offset === chunk.length) {
      response.chunks.shift();
      response.offset = 0;
    }
    response.played += 1;
    return sample;
  }

  /** Rises from silence at the start and falls towards the last sample there is, be it the end or a gap. */
  #ramp(response) {
    const falling = response.pushed - response.played < FADE;
    this.#gain = Math.max(0, Math.min(1, this.#gain + (falling ? -1 : 1) / FADE));
    return this.#gain;
  }

  /** Keeps a few milliseconds to fade out with. They are heard, so they count as played. */
  #fadeOut(response) {
    for (let index = 0; index < FADE && response.played < response.pushed; index++) {
      this.#tail.push(this.#pull(response) * this.#gain * (1 - index / FADE));
    }
  }

  #find(id) {
    return this.#responses.find((response) => response.id === id);
  }

  #add(id) {
    const response = { id, chunks: [], offset: 0, pushed: 0, played: 0, ended: false, audible: false };
    this.#responses.push(response);
    return response;
  }

  #report(kind, response) {
    this.#events.push({ kind, response: response.id, played: response.played });
  }
}
