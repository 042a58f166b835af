/**
 * A level meter: peak bar with a falling tail and a held peak, in dBFS.
 *
 * It rises at once and falls as a programme meter does (IEC 60268-10 type I falls 20 dB in 1.7 s).
 */

import { SILENCE_DBFS, toDbfs } from '../audio/level.js';
import { byId } from './element.js';

const FLOOR_DBFS = -60;
const FALL_DB_PER_SECOND = 20 / 1.7;
const PEAK_HELD_MS = 1500;
const CLIPPING_DBFS = -0.2;

/** Screen readers ask for the value; changing it sixty times a second serves nobody. */
const SPOKEN_INTERVAL_MS = 1000;

export class Meter {
  #root;
  #bar;
  #fill;
  #peakMark;
  #number;
  #loudest = SILENCE_DBFS;
  #shown = SILENCE_DBFS;
  #held = SILENCE_DBFS;
  #heldSince = 0;
  #spokenAt = 0;
  #drawnAt = 0;

  /** @param {string} id of the meter in the page */
  constructor(id) {
    this.#root = byId(id);
    this.#bar = this.#root.querySelector('.meter-bar');
    this.#fill = this.#root.querySelector('.meter-fill');
    this.#peakMark = this.#root.querySelector('.meter-peak');
    this.#number = this.#root.querySelector('.meter-number');
  }

  /** The held peak in dBFS. */
  get held() {
    return this.#held;
  }

  /** @param {number} peak of the newest samples, linear */
  push(peak) {
    this.#loudest = Math.max(this.#loudest, toDbfs(peak));
  }

  /** @param {number} now the time of the animation frame, in milliseconds */
  draw(now) {
    const fall = ((now - this.#drawnAt) / 1000) * FALL_DB_PER_SECOND;
    this.#drawnAt = now;
    this.#shown = Math.max(this.#loudest, this.#shown - fall, SILENCE_DBFS);
    if (this.#shown >= this.#held || now - this.#heldSince > PEAK_HELD_MS) {
      if (this.#shown >= this.#held) this.#heldSince = now;
      this.#held = this.#shown;
    }
    this.#loudest = SILENCE_DBFS;
    this.#fill.style.setProperty('--level', String(position(this.#shown)));
    this.#peakMark.style.setProperty('--level', String(position(this.#held)));
    this.#root.classList.toggle('clipping', this.#held > CLIPPING_DBFS);
    if (now - this.#spokenAt > SPOKEN_INTERVAL_MS) this.#speak(now);
  }

  #speak(now) {
    this.#spokenAt = now;
    const silent = this.#held <= FLOOR_DBFS;
    const decibels = Math.round(Math.max(FLOOR_DBFS, this.#held));
    this.#number.textContent = silent ? '–' : String(decibels).replace('-', '−');
    this.#bar.setAttribute('aria-valuenow', String(decibels));
    this.#bar.setAttribute('aria-valuetext', silent ? 'silent' : `${decibels} dB`);
  }
}

/** 0 to 1 along the bar. */
function position(dbfs) {
  return Math.max(0, Math.min(1, 1 - dbfs / FLOOR_DBFS));
}
