import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Resampler } from '../audio/resampler.js';

const RATES = [8000, 11025, 16000, 22050, 44100, 48000, 88200, 96000, 176400, 192000];

/** Runs a whole signal through in pieces of 128 samples, as an audio thread does. */
function resample(input, from, to) {
  const resampler = new Resampler(from, to);
  const output = [];
  for (let start = 0; start < input.length; start += 128) {
    const piece = input.subarray(start, start + 128);
    const room = new Float32Array(resampler.outputFor(piece.length));
    output.push(...room.subarray(0, resampler.process(piece, room)));
  }
  return { output: Float64Array.from(output), delay: resampler.delay / from };
}

function sine(frequency, rate, seconds) {
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, n) => Math.sin((2 * Math.PI * frequency * n) / rate));
}

function rms(samples) {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

const dB = (ratio) => 20 * Math.log10(ratio);

/** The middle of a signal, where the filter is neither starting nor ending. */
const middle = (samples) => samples.subarray(samples.length >> 2, samples.length - (samples.length >> 2));

for (const [from, to] of RATES.flatMap((rate) => [[rate, 24000], [24000, rate]])) {
  test(`${from} Hz to ${to} Hz keeps a tone, its phase and its length`, () => {
    const frequency = 1000;
    const { output, delay } = resample(sine(frequency, from, 0.5), from, to);
    assert.ok(Math.abs(output.length - to / 2) <= 2, `${output.length} samples for half a second`);
    const error = output.map((sample, n) => sample - Math.sin(2 * Math.PI * frequency * (n / to - delay)));
    assert.ok(dB(rms(middle(error))) < -70, `error ${dB(rms(middle(error))).toFixed(1)} dB`);
  });
}

for (const rate of RATES.filter((rate) => rate > 24000)) {
  test(`${rate} Hz to 24000 Hz folds nothing back from above 12 kHz`, () => {
    for (let frequency = 12_100; frequency < rate / 2; frequency += 1733) {
      const { output } = resample(sine(frequency, rate, 0.2), rate, 24000);
      assert.ok(dB(rms(middle(output))) < -75, `${frequency} Hz came through at ${dB(rms(middle(output))).toFixed(1)} dB`);
    }
  });
}

test('what a recogniser listens to passes flat', () => {
  for (const rate of [44100, 48000, 96000]) {
    for (let frequency = 100; frequency <= 10_000; frequency += 900) {
      const { output } = resample(sine(frequency, rate, 0.3), rate, 24000);
      const gain = dB(rms(middle(output)) * Math.SQRT2);
      assert.ok(Math.abs(gain) < 0.05, `${frequency} Hz at ${rate} Hz: ${gain.toFixed(3)} dB`);
    }
  }
});

test('a constant stays that constant in every branch', () => {
  for (const rate of RATES) {
    const { output } = resample(new Float32Array(rate / 5).fill(0.5), rate, 24000);
    for (const sample of middle(output)) assert.ok(Math.abs(sample - 0.5) < 1e-5);
  }
});

test('the input asked for yields exactly the output wanted, for ever', () => {
  for (const rate of [...RATES, 24000, 44056, 47999]) {
    const resampler = new Resampler(24000, rate);
    let consumed = 0;
    for (let quantum = 0; quantum < 2000; quantum++) {
      const input = new Float32Array(resampler.inputFor(128));
      const output = new Float32Array(128);
      assert.equal(resampler.process(input, output), 128, `at ${rate} Hz`);
      consumed += input.length;
    }
    assert.ok(Math.abs(consumed - (2000 * 128 * 24000) / rate) <= Math.max(1, 24000 / rate), `${consumed} samples at ${rate} Hz`);
  }
});

test('equal rates pass the samples as they are', () => {
  const input = sine(3000, 24000, 0.01);
  const output = new Float32Array(input.length);
  assert.equal(new Resampler(24000, 24000).process(input, output), input.length);
  assert.deepEqual(output, input);
});
