/**
 * The menus of microphones and voices. What is chosen is remembered on this machine.
 */

import { recall, remember } from '../settings.js';
import { byId, make } from './element.js';

/**
 * @param {import('../microphone.js').Microphone} microphone
 * @param {() => void} changed called when the operator chose another one
 * @returns {() => Promise<void>} draws the menu again
 */
export function showMicrophones(microphone, changed) {
  const menu = byId('microphone');
  const draw = async () => {
    const devices = (await microphone.devices()).filter(({ deviceId }) => !['default', 'communications'].includes(deviceId));
    const options = devices.map(({ deviceId, label }, index) => make('option', { value: deviceId, text: label || `Microphone ${index + 1}` }));
    menu.replaceChildren(make('option', { value: '', text: systemChoice(microphone.label) }), ...options);
    const chosen = recall('microphone');
    menu.value = devices.some(({ deviceId }) => deviceId === chosen) ? chosen : '';
  };
  menu.addEventListener('change', () => {
    remember('microphone', menu.value);
    changed();
  });
  microphone.addEventListener('devices', draw);
  return draw;
}

function systemChoice(inUse) {
  if (!inUse || recall('microphone')) return 'System default';
  return `System default: ${inUse.replace(/^Default - /, '')}`;
}

/** @param {import('../conversation.js').Conversation} conversation */
export function showVoices(conversation) {
  const menu = byId('voice');
  conversation.addEventListener('hello', ({ detail: { voices } }) => {
    menu.replaceChildren(...voices.map(voiceOption));
    menu.disabled = voices.length === 0;
    choose(menu, conversation.voice);
    if (choose(menu, recall('voice'))) conversation.useVoice(menu.value);
  });
  conversation.addEventListener('voice', () => choose(menu, conversation.voice));
  menu.addEventListener('change', () => {
    remember('voice', menu.value);
    conversation.useVoice(menu.value);
    byId('voice-note').textContent = `${menu.value} speaks from the next answer on.`;
  });
}

function voiceOption({ name, language, about }) {
  return make('option', { value: name, text: [name, about, language].filter(Boolean).join(' · ') });
}

/** @returns {boolean} false when there is no such voice */
function choose(menu, voice) {
  const offered = [...menu.options].some(({ value }) => value === voice);
  if (offered) menu.value = voice;
  return offered;
}
