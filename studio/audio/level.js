/**
 * Loudness of a stretch of samples, as a meter wants it.
 */

/** What the meters call silence, in dB relative to full scale. */
export const SILENCE_DBFS = -96;

/** Gathers samples until somebody asks how loud they were. */
export class LevelMeter {
  #peak = 0;
  #energy = 0;
  #count = 0;

  /** @param {number} sample */
  add(sample) {
    this.#peak = Math.max(this.#peak, Math.abs(sample));
    this.#energy += sample * sample;
    this.#count += 1;
  }

  /**
   * Peak and root mean square since the last call, linear, 1 is full scale.
   * @returns {{peak: number, rms: number}}
   */
  take() {
    const level = { peak: this.#peak, rms: this.#count ? Math.sqrt(this.#energy / this.#count) : 0 };
    this.#peak = this.#energy = this.#count = 0;
    return level;
  }
}

/**
 * @param {number} linear 1 is full scale
 * @returns {number} dBFS, never below `SILENCE_DBFS`
 */
export function toDbfs(linear) {
  return linear > 0 ? Math.max(SILENCE_DBFS, 20 * Math.log10(linear)) : SILENCE_DBFS;
}
