import assert from 'node:assert/strict';
import { test } from 'node:test';

import { protocols, takeKey } from '../key.js';

function place(hash, kept = new Map()) {
  const shown = [];
  return {
    shown,
    location: { hash, pathname: '/studio/', search: '?a=1' },
    history: { state: null, replaceState: (_state, _title, address) => shown.push(address) },
    storage: { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) },
  };
}

test('a key is taken out of the address and kept', () => {
  const kept = new Map();
  const first = place('#key=sk-anchor-1', kept);
  assert.equal(takeKey(first.location, first.history, first.storage), 'sk-anchor-1');
  assert.deepEqual(first.shown, ['/studio/?a=1']);
  const again = place('', kept);
  assert.equal(takeKey(again.location, again.history, again.storage), 'sk-anchor-1');
  assert.deepEqual(again.shown, []);
});

test('without a key nothing is offered', () => {
  const { location, history, storage } = place('#other');
  assert.equal(takeKey(location, history, storage), null);
  assert.deepEqual(protocols(null), []);
  assert.deepEqual(protocols('k'), ['realtime', 'openai-insecure-api-key.k']);
});
