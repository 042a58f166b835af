/**
 * The page's one audio context: opened on a press of a button, because browsers allow no sound before one, and kept
 * running.
 *
 * Events: `blocked`, when the browser holds the sound back although it is wanted; `running`.
 */

const WORKLETS = ['./worklets/capture.js', './worklets/playback.js'];

export class Sound extends EventTarget {
  #speaker;
  #context = null;
  #opening = null;

  /** @param {import('./speaker.js').Speaker} speaker gets its place in the context */
  constructor(speaker) {
    super();
    this.#speaker = speaker;
    document.addEventListener('visibilitychange', () => this.resume());
  }

  /** Sample rate of the device in Hz, 0 before it is open. */
  get rate() {
    return this.#context?.sampleRate ?? 0;
  }

  /**
   * Call it from a press of a button or key.
   * @returns {Promise<AudioContext>} running, or about to be
   * @throws {DOMException} when the page may use no audio worklets, as on plain http from another machine
   */
  async open() {
    this.#opening ??= this.#create();
    try {
      await this.#opening;
    } catch (error) {
      this.#opening = null;
      throw error;
    }
    await this.resume();
    return this.#context;
  }

  /** Tries to get the sound going again; harmless when it is running or was never wanted. */
  async resume() {
    if (!this.#context || this.#context.state === 'running') return;
    // A context that may not start leaves the promise open for ever, so nobody waits for it without end.
    await Promise.race([this.#context.resume().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 500))]);
    if (this.#context.state !== 'running') this.dispatchEvent(new Event('blocked'));
  }

  async #create() {
    if (!globalThis.isSecureContext) throw new DOMException('', 'InsecureContext');
    const context = new AudioContext({ latencyHint: 'interactive' });
    await Promise.all(WORKLETS.map((path) => context.audioWorklet.addModule(new URL(path, import.meta.url))));
    this.#context = context;
    this.#speaker.attach(context);
    context.onstatechange = () => this.#stateChanged();
  }

  #stateChanged() {
    if (this.#context.state === 'running') this.dispatchEvent(new Event('running'));
    else if (document.visibilityState === 'visible') this.resume();
  }
}
