/**
 * Problems in words: what happened, and what to do about it. Nothing here touches the page.
 *
 * @typedef {{title: string, text: string}} Problem
 */

/**
 * Why a microphone could not be opened. The names are those of `getUserMedia` in the Media Capture and Streams
 * specification; browsers tell the kinds of NotAllowedError apart only in the message.
 * @param {{name: string, message?: string}} error
 * @param {{blockedByPolicy: boolean}} surroundings
 * @returns {Problem}
 */
export function microphoneProblem(error, { blockedByPolicy }) {
  const message = (error.message ?? '').toLowerCase();
  switch (error.name) {
    case 'InsecureContext':
      return {
        title: 'The browser gives no microphone to this address',
        text:
          'Browsers allow a microphone only on https pages and on this very machine. Open the studio as http://localhost ' +
          'with its port (from another machine: ssh -L 8080:localhost:8080 HOST), or put https in front of the server. ' +
          'You can type meanwhile.',
      };
    case 'NotAllowedError':
    case 'SecurityError':
      if (blockedByPolicy) {
        return {
          title: 'This page may not use a microphone here',
          text:
            'A policy blocks it: the page is embedded in another one without allow="microphone", or your organisation ' +
            'forbids it. Open the studio in a tab of its own, or ask your administrator.',
        };
      }
      if (message.includes('system')) {
        return {
          title: 'The operating system keeps the microphone from the browser',
          text: 'Allow the microphone for this browser in the privacy settings of the system, then press Start again.',
        };
      }
      if (message.includes('dismissed')) {
        return {
          title: 'The question about the microphone was closed',
          text: 'Press Start again and choose Allow.',
        };
      }
      return {
        title: 'The microphone is not allowed',
        text:
          'Press the symbol left of the address, set Microphone to Allow, then press Start again. You can type meanwhile.',
      };
    case 'NotFoundError':
    case 'OverconstrainedError':
      return {
        title: 'No microphone found',
        text: 'Plug one in, or switch it on in the sound settings of the system, then press Start again. You can type meanwhile.',
      };
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: 'The microphone does not answer',
        text: 'Another program may be using it. Close that program or choose another microphone, then press Start again.',
      };
    default:
      return {
        title: 'The microphone could not be opened',
        text: `The browser says: ${error.message || error.name}. Choose another microphone or reload the page.`,
      };
  }
}

/** True when the document's permissions policy forbids the microphone. Not every browser tells. */
export function blockedByPolicy() {
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  return policy?.allowsFeature?.('microphone') === false;
}

/** Errors of the protocol that a person at the desk can do nothing about and need not see. */
const NOT_WORTH_SAYING = new Set(['response_cancel_not_active']);

/**
 * An `error` event of the server.
 * @param {{message?: string, code?: string, type?: string}} error
 * @returns {Problem | null} null when nobody needs to know
 */
export function serverProblem({ message, code, type }) {
  if (NOT_WORTH_SAYING.has(code)) return null;
  return {
    title: type === 'server_error' ? 'The server met a problem' : 'The server refused a request',
    text: message || `It says only: ${code ?? type ?? 'error'}.`,
  };
}

/**
 * A `response.done` whose status is `failed`.
 * @param {{error?: {message?: string, code?: string}} | null} details its `status_details`
 * @returns {Problem}
 */
export function failedAnswerProblem(details) {
  return {
    title: 'The anchor could not answer',
    text: `${details?.error?.message ?? 'The server gives no reason.'} Ask again; if it happens twice, look at Engines.`,
  };
}
