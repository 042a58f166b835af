/**
 * The operator's side: microphone open or not, muted or not, and what to do when the device goes or comes.
 *
 * Events: `change`, when any of its properties did; `problem` (detail: {topic, problem}) and `solved` (detail: {topic}).
 */

import { microphoneProblem } from './problems.js';

/** A microphone that gave nothing at all for this long is probably switched off at the device. */
const SILENCE_MS = 8000;

export class OnAir extends EventTarget {
  #sound;
  #microphone;
  #choice;
  #attempts = 0;
  #heardAnything = false;

  /** 'off', 'opening' or 'live'. */
  state = 'off';

  /** When it went live, in milliseconds since the epoch; null when it is not. */
  since = null;

  /**
   * @param {import('./sound.js').Sound} sound
   * @param {import('./microphone.js').Microphone} microphone
   * @param {() => {deviceId: string, processing: boolean}} choice the operator's, asked for whenever it is opened
   */
  constructor(sound, microphone, choice) {
    super();
    this.#sound = sound;
    this.#microphone = microphone;
    this.#choice = choice;
    microphone.addEventListener('samples', ({ detail: { peak } }) => this.#hear(peak));
    microphone.addEventListener('lost', ({ detail: { label } }) => this.#deviceLost(label));
    microphone.addEventListener('devices', () => this.#devicesChanged());
    microphone.addEventListener('system-mute', ({ detail: muted }) => this.#systemMute(muted));
  }

  get muted() {
    return this.#microphone.muted;
  }

  /** Opens the microphone, or opens it again with another choice. Call it from a press of a button or key. */
  async start() {
    const attempt = ++this.#attempts;
    this.#solve('microphone');
    this.#become('opening');
    try {
      await this.#microphone.open(await this.#sound.open(), this.#choice());
    } catch (error) {
      if (attempt !== this.#attempts) return;
      this.stop();
      this.#tell('microphone', error instanceof Error ? microphoneProblem(error, { blockedByPolicy: false }) : error);
      return;
    }
    if (attempt !== this.#attempts) return;
    this.#heardAnything = false;
    this.#become('live');
    setTimeout(() => attempt === this.#attempts && this.#warnOfSilence(), SILENCE_MS);
  }

  stop() {
    this.#attempts += 1;
    this.#microphone.close();
    this.#microphone.muted = false;
    this.#solve('silence');
    this.#become('off');
  }

  toggle() {
    if (this.state === 'off') this.start();
    else this.stop();
  }

  /** Takes up a new choice of device, if one is open. */
  reopen() {
    this.#solve('device');
    if (this.state === 'live') this.start();
  }

  toggleMute() {
    if (this.state !== 'live') return;
    this.#microphone.muted = !this.#microphone.muted;
    this.#emit('change');
  }

  #become(state) {
    this.state = state;
    if (state === 'off') this.since = null;
    if (state === 'live') this.since ??= Date.now();
    this.#emit('change');
  }

  #hear(peak) {
    if (this.#heardAnything || peak === 0) return;
    this.#heardAnything = true;
    this.#solve('silence');
  }

  #warnOfSilence() {
    if (this.#heardAnything) return;
    this.#tell('silence', {
      title: 'The microphone is silent',
      text: `Nothing at all comes from ${this.#microphone.label || 'it'}. Look for a mute switch on the device, or choose another microphone.`,
    });
  }

  async #deviceLost(label) {
    await this.start();
    const text = this.#microphone.live ? `Now using ${this.#microphone.label}.` : 'There is no other. Plug one in and press Start.';
    this.#tell('device', { title: `${label || 'The microphone'} was unplugged`, text });
  }

  /** The operator's own choice comes back into use when it is plugged in again. */
  async #devicesChanged() {
    const { deviceId } = this.#choice();
    const chosen = (await this.#microphone.devices()).find((device) => deviceId && device.deviceId === deviceId);
    if (chosen && chosen.label !== this.#microphone.label) this.reopen();
  }

  #systemMute(muted) {
    const text = 'Unmute it at the device, with its key on the keyboard, or in the sound settings.';
    if (muted) this.#tell('silence', { title: 'The system has muted the microphone', text });
    else this.#solve('silence');
  }

  #tell(topic, problem) {
    this.#emit('problem', { topic, problem });
  }

  #solve(topic) {
    this.#emit('solved', { topic });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
