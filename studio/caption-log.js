/**
 * Everything that was said, in order.
 *
 * Events: `caption` (detail: Caption) when one is new or changed; `dropped` (detail: Caption) when an old one made room.
 *
 * @typedef {object} Caption
 * @property {string} id the item
 * @property {'you' | 'anchor'} speaker
 * @property {string} text
 * @property {'partial' | 'final' | 'failed' | 'interrupted'} status
 * @property {number} heard how much of an anchor's text was heard, in characters
 * @property {boolean} typed
 * @property {Date} at
 * @property {string | null} story slug of the story it last rested on
 */

/** A whole shift of talk. What is older is of no use on a screen. */
const MOST_CAPTIONS = 400;

export class CaptionLog extends EventTarget {
  #captions = new Map();

  /** @returns {Caption | undefined} */
  get(id) {
    return this.#captions.get(id);
  }

  /**
   * The caption of this item, made if there is none yet.
   * @param {string} id
   * @param {'you' | 'anchor'} speaker
   * @returns {Caption}
   */
  open(id, speaker) {
    const known = this.#captions.get(id);
    if (known) return known;
    const caption = { id, speaker, text: '', status: 'partial', heard: 0, typed: false, at: new Date(), story: null };
    this.#captions.set(id, caption);
    this.#emit('caption', caption);
    if (this.#captions.size > MOST_CAPTIONS) this.#dropOldest();
    return caption;
  }

  /**
   * @param {Caption | undefined} caption nothing happens without one
   * @param {Partial<Caption>} changes
   */
  change(caption, changes) {
    if (!caption) return;
    Object.assign(caption, changes);
    this.#emit('caption', caption);
  }

  /** @returns {Caption[]} those that may still change, oldest first */
  partials() {
    return [...this.#captions.values()].filter(({ status }) => status === 'partial');
  }

  /** @returns {Caption[]} the last `count` that were understood, oldest first */
  recent(count) {
    return [...this.#captions.values()].filter(({ status, text }) => status !== 'failed' && text).slice(-count);
  }

  #dropOldest() {
    const [oldest] = this.#captions.values();
    this.#captions.delete(oldest.id);
    this.#emit('dropped', oldest);
  }

  #emit(type, caption) {
    this.dispatchEvent(new CustomEvent(type, { detail: caption }));
  }
}
