/**
 * The sound of the wire: 24 kHz, mono, signed 16 bit little-endian, as base64 text.
 */

/** Samples per second on the wire. */
export const WIRE_RATE = 24000;

/** Samples of one message to the server: 20 ms. */
export const CHUNK_SAMPLES = WIRE_RATE / 50;

/** Bytes of base64 text that one second of sound takes. */
export const WIRE_BYTES_PER_SECOND = (WIRE_RATE * 2 * 4) / 3;

/** `String.fromCharCode` takes its bytes as arguments, and engines limit how many there may be. */
const BYTES_PER_CALL = 8192;

/**
 * @param {number} sample nominally -1 to 1; what is beyond is clipped, what is no number is silence
 * @returns {number} -32768 to 32767
 */
export function toInt16(sample) {
  const scaled = Math.round(sample * 32768);
  return Math.max(-32768, Math.min(32767, scaled)) || 0;
}

/**
 * @param {Int16Array} samples
 * @returns {string}
 */
export function encodeBase64(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  const bytes = new Uint8Array(view.buffer);
  let binary = '';
  for (let start = 0; start < bytes.length; start += BYTES_PER_CALL) {
    binary += String.fromCharCode(...bytes.subarray(start, start + BYTES_PER_CALL));
  }
  return btoa(binary);
}

/**
 * @param {string} text
 * @returns {Int16Array} a trailing odd byte is dropped
 * @throws {DOMException} when the text is no base64
 */
export function decodeBase64(text) {
  const binary = atob(text);
  const view = new DataView(new ArrayBuffer(binary.length));
  for (let index = 0; index < binary.length; index++) view.setUint8(index, binary.charCodeAt(index));
  return Int16Array.from({ length: binary.length >> 1 }, (_, index) => view.getInt16(index * 2, true));
}
