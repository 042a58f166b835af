/**
 * How long the person waited for each answer, by stage.
 *
 * Event: `turn` (detail: Turn) when one is new or changed.
 *
 * @typedef {object} Turn
 * @property {string} response
 * @property {number} endpointing milliseconds from the last voiced sample to the decision that the turn is over
 * @property {number} stt decision to final transcript
 * @property {number} llm transcript to first clause
 * @property {number} tts first clause to first sound
 * @property {number | null} page first sound received to first sound heard in the room; null until it is heard
 */

/** Turns kept for the list and the median. */
const TURNS_KEPT = 20;

export const STAGES = ['endpointing', 'stt', 'llm', 'tts', 'page'];

export class TurnLog extends EventTarget {
  #turns = [];
  #pageTimes = new Map();

  /** @returns {Turn[]} newest first */
  get turns() {
    return this.#turns;
  }

  /**
   * The server's measurement.
   * @param {{response_id: string, endpointing_ms: number, stt_ms: number, llm_ms: number, tts_ms: number}} event
   */
  measured({ response_id: response, endpointing_ms, stt_ms, llm_ms, tts_ms }) {
    const page = this.#pageTimes.get(response) ?? null;
    const turn = { response, endpointing: endpointing_ms, stt: stt_ms, llm: llm_ms, tts: tts_ms, page };
    this.#turns = [turn, ...this.#turns].slice(0, TURNS_KEPT);
    this.#emit(turn);
  }

  /** The page's own share, which may be known before or after the server's. */
  heardAfter(response, milliseconds) {
    const page = Math.max(0, Math.round(milliseconds));
    this.#pageTimes.set(response, page);
    if (this.#pageTimes.size > TURNS_KEPT) this.#pageTimes.delete(this.#pageTimes.keys().next().value);
    const turn = this.#turns.find((known) => known.response === response);
    if (!turn) return;
    turn.page = page;
    this.#emit(turn);
  }

  #emit(turn) {
    this.dispatchEvent(new CustomEvent('turn', { detail: turn }));
  }
}

/**
 * The whole wait.
 * @param {Turn} turn
 * @returns {number} milliseconds
 */
export function total(turn) {
  return STAGES.reduce((sum, stage) => sum + (turn[stage] ?? 0), 0);
}

/**
 * @param {Turn[]} turns
 * @returns {number | null} median of the whole waits, null without turns
 */
export function medianTotal(turns) {
  if (turns.length === 0) return null;
  const sorted = turns.map(total).sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
