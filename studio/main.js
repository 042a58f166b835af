/**
 * The studio: puts the line, the microphone, the speaker and the conversation together, and the views around them.
 */

import { Connection } from './connection.js';
import { Conversation } from './conversation.js';
import { takeKey } from './key.js';
import { Microphone } from './microphone.js';
import { OnAir } from './on-air.js';
import { microphoneProblem } from './problems.js';
import { recall, rememberCheckbox } from './settings.js';
import { listenForShortcuts, MuteKey } from './shortcuts.js';
import { Sound } from './sound.js';
import { Speaker } from './speaker.js';
import { announce } from './views/announcer.js';
import { addCaptionRule, showCaptions } from './views/captions.js';
import { byId } from './views/element.js';
import { showEngineLog } from './views/engine-log.js';
import { drawEngines } from './views/engines.js';
import { showLatency } from './views/latency.js';
import { showMicrophones, showVoices } from './views/menus.js';
import { Meter } from './views/meter.js';
import { clearNotice, showNotice } from './views/notices.js';
import { showRundown } from './views/rundown.js';
import { drawClock, drawControls, drawLine, drawState } from './views/tally.js';
import { showThemeButton } from './views/theme.js';
import { keepAwake } from './wake-lock.js';

const line = new Connection(new URL('.', location.href), takeKey(location, history, sessionStorage));
const speaker = new Speaker();
const sound = new Sound(speaker);
const microphone = new Microphone();
const conversation = new Conversation((event) => line.send(event), speaker);
const onAir = new OnAir(sound, microphone, () => ({
  deviceId: recall('microphone'),
  processing: byId('processing').checked,
}));
const meters = { you: new Meter('meter-you'), anchor: new Meter('meter-anchor') };
const drawMicrophones = showMicrophones(microphone, () => onAir.reopen());

function studioState() {
  if (onAir.state === 'opening' || (onAir.state === 'live' && !line.connected)) return 'connecting';
  if (conversation.state !== 'listening') return conversation.state;
  return onAir.state === 'live' ? 'listening' : 'off';
}

function draw() {
  drawState(studioState(), { voice: onAir.state, muted: onAir.muted });
  drawControls({ voice: onAir.state, muted: onAir.muted, answering: conversation.answering });
}

/* ---- the microphone ---- */

let lastOnAir = { state: 'off', muted: false };

onAir.addEventListener('change', () => {
  const { state, muted } = onAir;
  if (state === 'live' && lastOnAir.state !== 'live') announce('Listening.');
  if (state === 'off' && lastOnAir.state === 'live') announce('Stopped.');
  if (state === 'live' && muted !== lastOnAir.muted) announce(muted ? 'Muted.' : 'Unmuted.');
  if (state === 'off' && lastOnAir.state !== 'off') conversation.goOff();
  lastOnAir = { state, muted };
  keepAwake(state === 'live');
  if (state === 'live') drawMicrophones();
  draw();
});

onAir.addEventListener('problem', ({ detail: { topic, problem } }) => {
  showNotice(topic, problem, { severity: topic === 'microphone' ? 'error' : 'warning' });
});

onAir.addEventListener('solved', ({ detail: { topic } }) => clearNotice(topic));

microphone.addEventListener('samples', ({ detail: { samples, peak } }) => {
  meters.you.push(peak);
  line.sendAudio(samples);
});

navigator.permissions?.query({ name: 'microphone' }).then(
  (permission) => {
    permission.onchange = () => permission.state === 'granted' && clearNotice('microphone');
  },
  () => {}, // Not every browser can be asked.
);

/* ---- the line ---- */

line.addEventListener('open', ({ detail: { again } }) => {
  drawLine('up', 'Connected');
  clearNotice('line');
  if (again) {
    announce('Connected again.');
    addCaptionRule('Connected again');
  }
  draw();
});

line.addEventListener('message', ({ detail }) => conversation.receive(detail));

line.addEventListener('lost', ({ detail: { reason, retryInMs, wasOpen } }) => {
  drawLine('down', 'Reconnecting');
  if (wasOpen) {
    conversation.lineLost();
    addCaptionRule('Line lost');
  }
  const soon = retryInMs < 1500 ? 'in a moment' : `in ${Math.round(retryInMs / 1000)} seconds`;
  showNotice(
    'line',
    { title: 'No line to the server', text: `${reason} Trying again ${soon}; what was said is kept.` },
    { action: { label: 'Try now', run: () => line.retryNow() }, repeat: !wasOpen },
  );
  draw();
});

line.addEventListener('pressure', ({ detail: { over, droppedMs } }) => {
  if (over) return clearNotice('pressure');
  const text = `Some of what you say is left out (${(droppedMs / 1000).toFixed(1)} s so far) until it keeps up again.`;
  showNotice('pressure', { title: 'The line is too slow for the microphone', text }, { severity: 'warning' });
});

/* ---- the conversation ---- */

conversation.addEventListener('state', draw);
conversation.addEventListener('interrupted', () => announce('Interrupted.'));
conversation.addEventListener('problem', ({ detail }) => showNotice('server', detail));
conversation.addEventListener('engines', ({ detail }) => drawEngines(detail));
conversation.addEventListener('hello', ({ detail: { name } }) => {
  byId('anchor-name').textContent = name;
  byId('meter-anchor-name').textContent = name;
  document.title = `${name} · Studio`;
});

/** @returns {Promise<boolean>} false when the message could not be sent */
async function ask(text) {
  try {
    await sound.open();
  } catch (error) {
    showNotice('microphone', microphoneProblem(error, { blockedByPolicy: false }), { severity: 'warning' });
  }
  const sent = conversation.say(text);
  if (sent) clearNotice('typed');
  else showNotice('typed', { title: 'Not sent', text: 'There is no line to the server right now. Send it again when it is back.' });
  return sent;
}

byId('composer').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = byId('say');
  const text = field.value.trim();
  if (text && (await ask(text))) field.value = '';
});

/* ---- the loudspeaker ---- */

speaker.addEventListener('level', ({ detail: { peak } }) => meters.anchor.push(peak));
speaker.addEventListener('overflow', () => {
  const text = 'The server sends faster than anyone can listen; the rest of this answer is left out.';
  showNotice('overflow', { title: 'The answer is too long to keep', text });
});
sound.addEventListener('running', () => clearNotice('sound'));
sound.addEventListener('blocked', () => {
  const text = 'It waits for a press of a button. If this comes back, look for a mute symbol on the tab.';
  showNotice('sound', { title: 'The browser holds the sound back', text }, { action: { label: 'Play sound', run: () => sound.resume() } });
});

/* ---- the page ---- */

showCaptions(conversation.captions, {
  anchorName: () => byId('anchor-name').textContent,
  readAloud: () => byId('read-captions').checked,
});
showRundown(conversation, ask);
showLatency(conversation.turns);
showEngineLog(conversation);
showVoices(conversation);
showThemeButton();
rememberCheckbox(byId('processing'), 'processing');
rememberCheckbox(byId('read-captions'), 'read-captions');
rememberCheckbox(byId('shortcuts-on'), 'shortcuts');

const mute = new MuteKey(() => onAir.toggleMute());
const showHelp = () => byId('shortcuts').showModal();
mute.attach(byId('mute'));
byId('start').addEventListener('click', () => onAir.toggle());
byId('stop-answer').addEventListener('click', () => conversation.stopAnswer());
byId('processing').addEventListener('change', () => onAir.reopen());
byId('shortcuts-open').addEventListener('click', showHelp);
listenForShortcuts({
  start: () => onAir.toggle(),
  stopAnswer: () => conversation.stopAnswer(),
  type: () => byId('say').focus(),
  help: showHelp,
  mute,
  enabled: () => byId('shortcuts-on').checked,
});

function animate(now) {
  meters.you.draw(now);
  meters.anchor.draw(now);
  requestAnimationFrame(animate);
}

requestAnimationFrame(animate);
setInterval(() => drawClock(onAir.since), 500);
drawClock(null);
draw();
drawMicrophones();
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
