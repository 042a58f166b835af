/**
 * Light or dark: the system's scheme until the operator presses the button. `theme.js` beside the page restores the choice.
 */

import { remember } from '../settings.js';
import { byId } from './element.js';

export function showThemeButton() {
  const button = byId('theme');
  const root = document.documentElement;
  const current = () => root.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  const other = () => (current() === 'dark' ? 'light' : 'dark');
  const label = () => button.setAttribute('aria-label', `Switch to the ${other()} theme`);
  button.addEventListener('click', () => {
    root.dataset.theme = other();
    remember('theme', root.dataset.theme);
    label();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', label);
  label();
}
