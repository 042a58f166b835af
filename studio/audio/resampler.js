/**
 * Converts a stream of samples from one rate to another.
 *
 * A polyphase windowed-sinc filter (linear phase): the ratio is reduced to L/M, the low-pass of the upsampled stream is
 * cut into L branches, and every output sample is one dot product with the branch that falls on it. See Crochiere and
 * Rabiner, "Multirate Digital Signal Processing", chapter 4, and Kaiser's formulas for the window in Oppenheim and
 * Schafer, "Discrete-Time Signal Processing", section 7.5.
 */

/** Sinc zero crossings on each side of the centre, counted at the lower rate: the filter is 1.3 ms late at 24 kHz. */
const ZERO_CROSSINGS = 32;

/** What aliases and images are pushed down by; below the noise of any microphone. */
const STOPBAND_DB = 80;

export class Resampler {
  #branches;
  #taps;
  #up;
  #down;
  #history;
  #newest = 0;
  #phase;

  /**
   * @param {number} from rate of the input in Hz, a positive integer
   * @param {number} to rate of the output in Hz, a positive integer
   */
  constructor(from, to) {
    const divisor = greatestCommonDivisor(from, to);
    this.#up = to / divisor;
    this.#down = from / divisor;
    this.#branches = from === to ? [Float32Array.of(1)] : lowPassBranches(from, to, this.#up);
    this.#taps = this.#branches[0].length;
    this.#history = new Float32Array(2 * this.#taps);
    this.#phase = this.#up;
  }

  /** How late the output is, in samples of the input. */
  get delay() {
    return this.#taps >> 1;
  }

  /**
   * How many input samples yield exactly this many more output samples.
   * @param {number} count
   */
  inputFor(count) {
    return count === 0 ? 0 : Math.floor((this.#phase + (count - 1) * this.#down) / this.#up);
  }

  /**
   * The most output samples that this many input samples can yield.
   * @param {number} count
   */
  outputFor(count) {
    return Math.ceil((count * this.#up) / this.#down) + 1;
  }

  /**
   * Takes input until it is used up or the output is full. Input that did not fit is lost, so give `output` the room
   * that `outputFor` says, or the input that `inputFor` says.
   * @param {Float32Array} input
   * @param {Float32Array} output
   * @returns {number} samples written
   */
  process(input, output) {
    let read = 0;
    let written = 0;
    for (;;) {
      while (this.#phase < this.#up) {
        if (written === output.length) return written;
        output[written++] = this.#dot(this.#branches[this.#phase]);
        this.#phase += this.#down;
      }
      if (read === input.length) return written;
      this.#remember(input[read++]);
      this.#phase -= this.#up;
    }
  }

  /** The history is written twice, one filter length apart, so that every window of it is contiguous. */
  #remember(sample) {
    this.#newest = this.#newest === 0 ? this.#taps - 1 : this.#newest - 1;
    this.#history[this.#newest] = sample;
    this.#history[this.#newest + this.#taps] = sample;
  }

  #dot(branch) {
    let sum = 0;
    for (let tap = 0; tap < this.#taps; tap++) sum += this.#history[this.#newest + tap] * branch[tap];
    return sum;
  }
}

/** The low-pass, one branch for each of the `up` positions of an output sample between two input samples. */
function lowPassBranches(from, to, up) {
  const lower = Math.min(from, to);
  const taps = 2 * Math.ceil((ZERO_CROSSINGS * from) / lower);
  const transition = (STOPBAND_DB - 8) / (2.285 * 2 * ZERO_CROSSINGS) / (2 * Math.PI);
  const cutoff = (lower / from) * (0.5 - transition / 2);
  const beta = 0.1102 * (STOPBAND_DB - 8.7);
  return Array.from({ length: up }, (_, phase) => {
    const branch = new Float64Array(taps);
    for (let tap = 0; tap < taps; tap++) {
      const offset = tap + phase / up - taps / 2;
      const window = besselI0(beta * Math.sqrt(1 - (offset / (taps / 2)) ** 2));
      branch[tap] = sinc(2 * cutoff * offset) * window;
    }
    return unitSum(branch);
  });
}

/** Every branch passes a constant unchanged: otherwise a DC offset would become a tone. */
function unitSum(branch) {
  const sum = branch.reduce((total, value) => total + value, 0);
  return Float32Array.from(branch, (value) => value / sum);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Modified Bessel function of the first kind, order zero, by its power series. */
function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
