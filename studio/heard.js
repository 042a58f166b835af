/**
 * How much of an answer's text was heard: exactly, once the server says it in words; by the pace of the voice before.
 */

import { WIRE_RATE } from './audio/pcm.js';

/** Characters a second before any answer was timed; English newsreaders speak about 150 words a minute. */
const USUAL_PACE = 15;

/** How much the newest answer counts in the pace. */
const LEARNING_RATE = 0.5;

/** Answers timed at once: the one being heard, the one being written, and some that were cut. */
const ANSWERS_TIMED = 8;

/**
 * Where in `text` the words of `heard` end. White space may differ.
 * @param {string} text the whole answer
 * @param {string} heard its beginning, as the server remembers it
 * @returns {number | null} a count of characters of `text`; null when `heard` is not its beginning
 */
export function heardLength(text, heard) {
  let end = 0;
  for (const character of heard.replace(/\s+/g, '')) {
    while (/\s/.test(text.charAt(end))) end += 1;
    if (!text.startsWith(character, end)) return null;
    end += character.length;
  }
  return end;
}

/**
 * The end of the word at this place: an estimate to the letter would pretend to know more than it does.
 * @param {string} text
 * @param {number} at
 */
export function wordEnd(text, at) {
  if (at <= 0) return 0;
  const rest = text.slice(at).search(/\s/);
  return rest === -1 ? text.length : at + rest;
}

/** Learns how fast the voice speaks. */
export class ReadingPace {
  #pace = USUAL_PACE;
  #samples = new Map();
  #paces = new Map();

  /** More sound of this response came in. */
  received(response, samples) {
    this.#samples.set(response, (this.#samples.get(response) ?? 0) + samples);
    if (this.#samples.size > ANSWERS_TIMED) {
      const [oldest] = this.#samples.keys();
      this.#samples.delete(oldest);
      this.#paces.delete(oldest);
    }
  }

  /** All the sound of this response came in, and its text has this many characters. */
  complete(response, characters) {
    const seconds = (this.#samples.get(response) ?? 0) / WIRE_RATE;
    if (seconds < 1 || characters === 0) return;
    this.#paces.set(response, characters / seconds);
    this.#pace += LEARNING_RATE * (characters / seconds - this.#pace);
  }

  /**
   * @param {string} response
   * @param {number} playedMs
   * @returns {number} characters of its text that were probably heard
   */
  characters(response, playedMs) {
    return Math.round((playedMs / 1000) * (this.#paces.get(response) ?? this.#pace));
  }
}
