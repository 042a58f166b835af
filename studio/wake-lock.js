/**
 * Keeps the screen on while the microphone is open: a phone that goes to sleep takes the microphone with it.
 */

let wanted = false;
let lock = null;

/** @param {boolean} awake */
export async function keepAwake(awake) {
  wanted = awake;
  if (!wanted) {
    lock?.release();
    lock = null;
    return;
  }
  if (lock?.released === false || document.visibilityState !== 'visible') return;
  try {
    lock = await navigator.wakeLock?.request('screen');
    if (!wanted) keepAwake(false);
  } catch {
    // Low battery or no right to it: the screen does as it likes.
  }
}

/** The browser lets go of the lock whenever the page is hidden. */
document.addEventListener('visibilitychange', () => keepAwake(wanted));
