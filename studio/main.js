/**
 * The studio: puts the line, the microphone, the speaker and the conversation together, and the views around them.
 */

import { Connection } from './connection.js';
import { Conversation } from './conversation.js';
import { Microphone } from './microphone.js';
import { microphoneProblem } from './problems.js';
import { recall, remember, rememberCheckbox } from './settings.js';
import { listenForShortcuts, MuteKey } from './shortcuts.js';
import { Sound } from './sound.js';
import { Speaker } from './speaker.js';
import { announce } from './views/announcer.js';
import { addCaptionRule, showCaptions } from './views/captions.js';
import { byId, make } from './views/element.js';
import { drawEngines } from './views/engines.js';
import { showLatency } from './views/latency.js';
import { Meter } from './views/meter.js';
import { clearNotice, showNotice } from './views/notices.js';
import { showRundown } from './views/rundown.js';
import { drawClock, drawState } from './views/tally.js';
import { keepAwake } from './wake-lock.js';

/** A microphone that gave nothing at all for this long is probably switched off at the device. */
const SILENT_MICROPHONE_MS = 8000;

const line = new Connection(lineAddress());
const speaker = new Speaker();
const sound = new Sound(speaker);
const microphone = new Microphone();
const conversation = new Conversation((event) => line.send(event), speaker);
const meters = { you: new Meter('meter-you'), anchor: new Meter('meter-anchor') };

/** 'off', 'opening' or 'live': what the operator wants of the microphone and has got. */
let voice = 'off';
let liveSince = null;
let heardAnything = false;
let lineWasLost = false;
let starts = 0;

function lineAddress() {
  const address = new URL('v1/realtime?studio=true', location.href);
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

/* ---- the state ------------------------------------------------------------------------------------------------------ */

function studioState() {
  if (voice === 'opening' || (voice === 'live' && !line.connected)) return 'connecting';
  if (conversation.state !== 'listening') return conversation.state;
  return voice === 'live' ? 'listening' : 'off';
}

function drawAll() {
  const state = studioState();
  drawState(state, state === 'listening' && microphone.muted ? 'You are muted' : undefined);
  setButton('start', voice === 'off' ? 'Start' : 'Stop', voice === 'off' ? 'icon-start' : 'icon-end');
  setButton('mute', microphone.muted ? 'Unmute' : 'Mute', microphone.muted ? 'icon-muted' : 'icon-microphone');
  document.body.dataset.voice = voice;
  document.body.dataset.muted = String(microphone.muted);
  byId('mute').disabled = voice !== 'live';
  byId('mute').setAttribute('aria-pressed', String(microphone.muted));
  byId('meter-you').classList.toggle('muted', microphone.muted);
  byId('stop-answer').disabled = !conversation.answering;
}

function setButton(id, label, icon) {
  const [use] = byId(id).getElementsByTagName('use');
  use.setAttribute('href', `#${icon}`);
  byId(id).querySelector('span').textContent = label;
}

/* ---- starting and stopping ------------------------------------------------------------------------------------------ */

async function start() {
  const attempt = ++starts;
  voice = 'opening';
  clearNotice('microphone');
  drawAll();
  try {
    const context = await sound.open();
    await microphone.open(context, { deviceId: recall('microphone'), processing: byId('processing').checked });
  } catch (error) {
    if (attempt !== starts) return;
    stop();
    showNotice('microphone', error instanceof Error ? microphoneProblem(error, { blockedByPolicy: false }) : error);
    return;
  }
  if (attempt !== starts) return;
  voice = 'live';
  liveSince = Date.now();
  heardAnything = false;
  keepAwake(true);
  announce('Listening.');
  drawAll();
  listDevices();
  setTimeout(warnOfSilence, SILENT_MICROPHONE_MS, liveSince);
}

function stop() {
  if (voice === 'live') announce('Stopped.');
  starts += 1;
  voice = 'off';
  liveSince = null;
  keepAwake(false);
  microphone.close();
  microphone.muted = false;
  conversation.stopAnswer();
  conversation.dropInput();
  clearNotice('silence');
  drawAll();
}

function toggleStart() {
  if (voice === 'off') start();
  else stop();
}

function toggleMute() {
  if (voice !== 'live') return;
  microphone.muted = !microphone.muted;
  announce(microphone.muted ? 'Muted.' : 'Unmuted.');
  drawAll();
}

function warnOfSilence(since) {
  if (since !== liveSince || heardAnything) return;
  const text = `Nothing at all comes from ${microphone.label || 'it'}. Look for a mute switch on the device, or choose another microphone.`;
  showNotice('silence', { title: 'The microphone is silent', text }, { severity: 'warning' });
}

/** @returns {Promise<boolean>} false when the message could not be sent */
async function ask(text) {
  try {
    await sound.open();
  } catch (error) {
    showNotice('microphone', microphoneProblem(error, { blockedByPolicy: false }), { severity: 'warning' });
  }
  const sent = conversation.say(text);
  if (!sent) showNotice('typed', { title: 'Not sent', text: 'There is no line to the server right now. Send it again when it is back.' });
  else clearNotice('typed');
  return sent;
}

/* ---- the microphone ------------------------------------------------------------------------------------------------- */

microphone.addEventListener('samples', ({ detail: { samples, peak } }) => {
  meters.you.push(peak);
  line.sendAudio(samples);
  if (heardAnything || peak === 0) return;
  heardAnything = true;
  clearNotice('silence');
});

microphone.addEventListener('lost', async ({ detail: { label } }) => {
  await start();
  const text = microphone.live ? `Now using ${microphone.label}.` : 'There is no other. Plug one in and press Start.';
  showNotice('device', { title: `${label || 'The microphone'} was unplugged`, text }, { severity: 'warning' });
});

microphone.addEventListener('system-mute', ({ detail: muted }) => {
  const text = 'Unmute it at the device, with its key on the keyboard, or in the sound settings.';
  if (muted) showNotice('silence', { title: 'The system has muted the microphone', text }, { severity: 'warning' });
  else clearNotice('silence');
});

microphone.addEventListener('devices', async () => {
  const devices = await listDevices();
  const wanted = devices.find(({ deviceId }) => deviceId === recall('microphone'));
  if (!wanted || voice !== 'live' || wanted.label === microphone.label) return;
  clearNotice('device');
  start();
});

async function listDevices() {
  const devices = await microphone.devices();
  const named = devices.filter(({ deviceId }) => deviceId !== 'default' && deviceId !== 'communications');
  const options = named.map(({ deviceId, label }, index) => make('option', { value: deviceId, text: label || `Microphone ${index + 1}` }));
  byId('microphone').replaceChildren(make('option', { value: '', text: systemChoice() }), ...options);
  byId('microphone').value = named.some(({ deviceId }) => deviceId === recall('microphone')) ? recall('microphone') : '';
  return named;
}

function systemChoice() {
  const inUse = recall('microphone') === '' && microphone.label;
  return inUse ? `System default: ${inUse.replace(/^Default - /, '')}` : 'System default';
}

byId('microphone').addEventListener('change', ({ target }) => {
  remember('microphone', target.value);
  clearNotice('device');
  if (voice === 'live') start();
});

byId('processing').addEventListener('change', () => voice === 'live' && start());

navigator.permissions?.query({ name: 'microphone' }).then(
  (permission) => {
    permission.onchange = () => permission.state === 'granted' && clearNotice('microphone');
  },
  () => {}, // Not every browser can be asked.
);

/* ---- the line ------------------------------------------------------------------------------------------------------- */

function drawLine(condition, text) {
  byId('line').dataset.line = condition;
  byId('line-text').textContent = text;
}

line.addEventListener('open', () => {
  drawLine('up', 'Connected');
  clearNotice('line');
  if (lineWasLost) {
    announce('Connected again.');
    addCaptionRule('Connected again');
  }
  lineWasLost = false;
  drawAll();
});

line.addEventListener('message', ({ detail }) => conversation.receive(detail));

line.addEventListener('lost', ({ detail: { reason, retryInMs, attempt } }) => {
  drawLine('down', 'Reconnecting');
  if (attempt === 1) {
    conversation.lineLost();
    if (byId('captions-empty').hidden) addCaptionRule('Line lost');
  }
  lineWasLost = true;
  const text = `${reason} Trying again ${retryInMs < 1500 ? 'at once' : `every ${Math.round(retryInMs / 1000)} seconds`}; what was said is kept.`;
  showNotice('line', { title: 'No line to the server', text }, { action: { label: 'Try now', run: () => line.retryNow() } });
  drawAll();
});

line.addEventListener('pressure', ({ detail: { over, droppedMs } }) => {
  if (over) return clearNotice('pressure');
  const text = `Some of what you say is left out (${(droppedMs / 1000).toFixed(1)} s so far) until it keeps up again.`;
  showNotice('pressure', { title: 'The line is too slow for the microphone', text }, { severity: 'warning' });
});

/* ---- the conversation ----------------------------------------------------------------------------------------------- */

conversation.addEventListener('state', drawAll);
conversation.addEventListener('interrupted', () => announce('Interrupted.'));
conversation.addEventListener('problem', ({ detail }) => showNotice('server', detail));
conversation.addEventListener('engines', ({ detail }) => drawEngines(detail));
conversation.addEventListener('hello', ({ detail: { name, voices } }) => {
  byId('anchor-name').textContent = name;
  byId('meter-anchor-name').textContent = name;
  document.title = `${name} · Studio`;
  offerVoices(voices);
});

function offerVoices(voices) {
  const options = voices.map(({ name, language, about }) => make('option', { value: name, text: [name, about, language].filter(Boolean).join(' · ') }));
  const select = byId('voice');
  select.replaceChildren(...options);
  select.disabled = voices.length === 0;
  const remembered = recall('voice');
  if (!voices.some(({ name }) => name === remembered)) return;
  select.value = remembered;
  conversation.useVoice(remembered);
}

conversation.addEventListener('voice', ({ detail }) => {
  const offered = [...byId('voice').options].some(({ value }) => value === detail.voice);
  if (offered) byId('voice').value = detail.voice;
});

byId('voice').addEventListener('change', ({ target }) => {
  remember('voice', target.value);
  conversation.useVoice(target.value);
  byId('voice-note').textContent = `${target.value} speaks from the next answer on.`;
});

speaker.addEventListener('level', ({ detail: { peak } }) => meters.anchor.push(peak));
speaker.addEventListener('overflow', () => {
  showNotice('overflow', { title: 'The answer is too long to keep', text: 'The server sends faster than anyone can listen; the rest of this answer is left out.' });
});
sound.addEventListener('running', () => clearNotice('sound'));
sound.addEventListener('blocked', () => {
  const text = 'It waits for a press of a button. If this comes back, look for a mute symbol on the tab.';
  showNotice('sound', { title: 'The browser holds the sound back', text }, { action: { label: 'Play sound', run: () => sound.resume() } });
});

/* ---- the page ------------------------------------------------------------------------------------------------------- */

showCaptions(conversation.captions, {
  anchorName: () => byId('anchor-name').textContent,
  readAloud: () => byId('read-captions').checked,
});
showRundown(conversation, ask);
showLatency(conversation.turns);
rememberCheckbox(byId('processing'), 'processing');
rememberCheckbox(byId('read-captions'), 'read-captions');
rememberCheckbox(byId('shortcuts-on'), 'shortcuts');

const mute = new MuteKey(toggleMute);
mute.attach(byId('mute'));
byId('start').addEventListener('click', toggleStart);
byId('stop-answer').addEventListener('click', () => conversation.stopAnswer());
byId('shortcuts-open').addEventListener('click', () => byId('shortcuts').showModal());
listenForShortcuts({
  start: toggleStart,
  stopAnswer: () => conversation.stopAnswer(),
  type: () => byId('say').focus(),
  help: () => byId('shortcuts').showModal(),
  mute,
  enabled: () => byId('shortcuts-on').checked,
});

byId('composer').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = byId('say').value.trim();
  if (text && (await ask(text))) byId('say').value = '';
});

byId('theme').addEventListener('click', () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  const next = dark === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  remember('theme', next);
  byId('theme').setAttribute('aria-label', `Theme: ${next}`);
});
byId('theme').setAttribute('aria-label', 'Light or dark theme');

function animate(now) {
  meters.you.draw(now);
  meters.anchor.draw(now);
  requestAnimationFrame(animate);
}
requestAnimationFrame(animate);
setInterval(() => drawClock(liveSince), 500);
drawClock(null);
drawAll();
listDevices();
line.open();

/** For support and for tests: how the studio is doing, read-only. Type `anchorStudio.stats` into the browser's console. */
window.anchorStudio = Object.freeze({
  get state() {
    return studioState();
  },
  get stats() {
    return {
      ...speaker.stats,
      deviceRate: sound.rate,
      microphone: microphone.label,
      muted: microphone.muted,
      connected: line.connected,
      droppedMs: line.droppedMs,
      turns: conversation.turns.turns.map((turn) => ({ ...turn })),
    };
  },
});
