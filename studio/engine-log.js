/**
 * What happened to the engines: which failed, which took over, which is back. For the operator; the audience hears none of it.
 *
 * @typedef {object} EngineNotice
 * @property {string} what such as `switched_over`
 * @property {string} about name of the engine or the model server
 * @property {string} text one sentence
 * @property {number} at_ms milliseconds since 1970
 */

/** What went well again needs no colour. */
const GOOD = new Set(['switched_back', 'server_ready']);

export class EngineLog {
  #total = null;

  /**
   * Takes the server's event. It brings the newest notices each time, so that nothing is missed while the line is down.
   * @param {{total: number, notices: EngineNotice[]}} event
   * @returns {{newest: EngineNotice | null, earlier: EngineNotice[], fresh: EngineNotice[]}} `earlier` newest first; `fresh` are
   *   those that were not known, oldest first: none of the first event, which is history, nor of a server that was started anew
   */
  take({ total, notices }) {
    const added = this.#total === null || total < this.#total ? 0 : total - this.#total;
    this.#total = total;
    const newestFirst = [...notices].reverse();
    return {
      newest: newestFirst[0] ?? null,
      earlier: newestFirst.slice(1),
      fresh: notices.slice(Math.max(0, notices.length - added)),
    };
  }
}

/** @param {EngineNotice} notice */
export function isGood({ what }) {
  return GOOD.has(what);
}
