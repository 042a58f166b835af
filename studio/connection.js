/**
 * The line to the server: one WebSocket that comes back by itself.
 *
 * Events: `open` (detail: {again}); `message` (detail: a parsed server event); `lost` (detail: {reason, retryInMs,
 * wasOpen}), also for every attempt that failed; `pressure` (detail: {droppedMs, over}) when the line is too slow for the microphone.
 */

import { encodeBase64, WIRE_BYTES_PER_SECOND, WIRE_RATE } from './audio/pcm.js';
import { protocols } from './key.js';

/** Waits between attempts in milliseconds; the last one repeats. */
const BACK_OFF = [300, 700, 1500, 3000, 5000, 10_000];

/** Up to this part of the wait is added at random, so that many pages do not come back in one instant. */
const JITTER = 0.3;

/** More sound than this waiting in the socket is stale by the time it arrives, so new sound is dropped instead. */
const MOST_WAITING_BYTES = WIRE_BYTES_PER_SECOND;

export class Connection extends EventTarget {
  #base;
  #key;
  #socket = null;
  #openedBefore = false;
  #attempt = 0;
  #timer = 0;
  #droppedSamples = 0;
  #slow = false;

  /**
   * @param {URL} base address of the studio page, with a slash at the end
   * @param {string | null} key the API key, where the server wants one
   */
  constructor(base, key = null) {
    super();
    this.#base = base;
    this.#key = key;
    globalThis.addEventListener?.('online', () => this.retryNow());
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Milliseconds of microphone sound that were dropped because the line was too slow. */
  get droppedMs() {
    return Math.round((this.#droppedSamples / WIRE_RATE) * 1000);
  }

  /** Connects, and from now on keeps the line up. */
  open() {
    clearTimeout(this.#timer);
    const address = new URL('v1/realtime?studio=true', this.#base);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(address, protocols(this.#key));
    this.#socket = socket;
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      this.#opened();
    };
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = (event) => this.#closed(event, wasOpen);
  }

  /** Does not wait for the next attempt. */
  retryNow() {
    if (this.#socket?.readyState === WebSocket.CLOSED) this.open();
  }

  /**
   * @param {object} event a client event of the Realtime API
   * @returns {boolean} false when there is no line
   */
  send(event) {
    if (!this.connected) return false;
    this.#socket.send(JSON.stringify(event));
    return true;
  }

  /**
   * Sends sound of the microphone, or drops it when the line cannot keep up.
   * @param {Int16Array} samples
   */
  sendAudio(samples) {
    if (!this.connected) return;
    const waiting = this.#socket.bufferedAmount;
    if (waiting > MOST_WAITING_BYTES) {
      this.#droppedSamples += samples.length;
      this.#press(true);
      return;
    }
    if (waiting < MOST_WAITING_BYTES / 2) this.#press(false);
    this.send({ type: 'input_audio_buffer.append', audio: encodeBase64(samples) });
  }

  #press(slow) {
    if (this.#slow === slow) return;
    this.#slow = slow;
    this.#emit('pressure', { droppedMs: this.droppedMs, over: !slow });
  }

  #opened() {
    this.#attempt = 0;
    this.#emit('open', { again: this.#openedBefore });
    this.#openedBefore = true;
  }

  #received(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // Not of this protocol; there is nobody to tell.
    }
    if (typeof event?.type === 'string') this.#emit('message', event);
  }

  async #closed({ code, reason }, wasOpen) {
    this.#press(false);
    const wait = BACK_OFF[Math.min(this.#attempt, BACK_OFF.length - 1)] * (1 + JITTER * Math.random());
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.open(), wait);
    const words = reason || (wasOpen ? closeReason(code) : await this.#refusalReason());
    if (!this.connected) this.#emit('lost', { reason: words, retryInMs: Math.round(wait), wasOpen });
  }

  /** Browsers keep to themselves why a socket was refused; whether the server answers at all can be asked otherwise. */
  async #refusalReason() {
    const ask = (path, headers = {}) =>
      fetch(new URL(path, this.#base), { cache: 'no-store', headers, signal: AbortSignal.timeout(250) });
    try {
      const { ok } = await ask('healthz');
      const { status } = await ask('v1/models', this.#key ? { Authorization: `Bearer ${this.#key}` } : {});
      if (status === 401) {
        return this.#key
          ? 'The API key is not known here, or it has expired.'
          : 'The server needs an API key. Put #key= and the key behind the address of this page, and open that.';
      }
      if (ok) return 'The server is there but takes no conversation; all its sessions may be taken.';
    } catch {
      // Then it does not answer.
    }
    return 'The server cannot be reached.';
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What the close codes of RFC 6455, section 7.4.1, mean to an operator. */
function closeReason(code) {
  switch (code) {
    case 1000:
    case 1001:
      return 'The server ended the session.';
    case 1006:
      return 'The server cannot be reached.';
    case 1009:
      return 'The server found a message too long.';
    case 1011:
      return 'The server met an error of its own.';
    case 1012:
    case 1013:
      return 'The server is restarting or too busy.';
    default:
      return `The line was closed with code ${code}.`;
  }
}
