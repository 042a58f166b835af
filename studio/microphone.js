/**
 * The microphone: devices, permission, capture, and what to say when one of them fails.
 *
 * Events: `samples` (detail: {samples: Int16Array, peak, rms}) every 20 ms; `devices`; `lost` (detail: {label}) when the
 * device goes away while open; `system-mute` (detail: boolean).
 */

import { blockedByPolicy, microphoneProblem } from './problems.js';

export class Microphone extends EventTarget {
  #stream = null;
  #source = null;
  #worklet = null;
  #muted = false;
  #request = 0;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#emit('devices'));
  }

  get live() {
    return this.#stream !== null;
  }

  get muted() {
    return this.#muted;
  }

  /** Muted, the server hears silence; the meter still shows the microphone. */
  set muted(muted) {
    this.#muted = muted;
    this.#worklet?.port.postMessage({ muted });
  }

  /** Name of the device that is open, '' when none is. */
  get label() {
    return this.#stream?.getAudioTracks()[0]?.label ?? '';
  }

  /** @returns {Promise<MediaDeviceInfo[]>} the microphones; their names are empty until permission was given */
  async devices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId !== '');
  }

  /**
   * @param {AudioContext} context
   * @param {{deviceId: string, processing: boolean}} choice deviceId '' is the system's choice; `processing` is the
   *   browser's echo cancellation, noise suppression and gain control
   * @throws {{title: string, text: string}} in words, see `microphoneProblem`
   */
  async open(context, { deviceId, processing }) {
    this.close();
    const request = this.#request;
    try {
      const stream = await requestStream(deviceId, processing);
      // Somebody closed it, or opened another, while the browser was asking.
      if (request !== this.#request) return stop(stream);
      this.#stream = stream;
      this.#connect(context);
    } catch (error) {
      if (request === this.#request) this.close();
      throw microphoneProblem(error, { blockedByPolicy: blockedByPolicy() });
    }
    this.#watch(this.#stream.getAudioTracks()[0]);
  }

  close() {
    this.#request += 1;
    this.#worklet?.port.postMessage({ close: true });
    this.#source?.disconnect();
    if (this.#stream) stop(this.#stream);
    this.#stream = this.#source = this.#worklet = null;
  }

  #connect(context) {
    this.#source = context.createMediaStreamSource(this.#stream);
    this.#worklet = new AudioWorkletNode(context, 'capture', {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit',
    });
    this.#worklet.port.postMessage({ muted: this.#muted });
    this.#worklet.port.onmessage = ({ data }) => this.#emit('samples', data);
    this.#source.connect(this.#worklet);
  }

  #watch(track) {
    track.onended = () => {
      const { label } = track;
      this.close();
      this.#emit('lost', { label });
    };
    track.onmute = () => this.#emit('system-mute', true);
    track.onunmute = () => this.#emit('system-mute', false);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** A remembered device that is gone is no reason to fail: the system's choice takes its place. */
async function requestStream(deviceId, processing) {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException('', 'InsecureContext');
  const constraints = {
    channelCount: { ideal: 1 },
    echoCancellation: processing,
    noiseSuppression: processing,
    autoGainControl: processing,
  };
  if (deviceId) {
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: { ...constraints, deviceId: { exact: deviceId } } });
    } catch (error) {
      if (error.name !== 'OverconstrainedError' && error.name !== 'NotFoundError') throw error;
    }
  }
  return navigator.mediaDevices.getUserMedia({ audio: constraints });
}
