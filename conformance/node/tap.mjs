// Writes down every event a client receives, before the client looks at it, and holds what all clients need.

import { appendFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

// From the folder of the installed packages.
export const require = createRequire(process.env.ANCHOR_NODE + "/");
export const url = process.env.ANCHOR_URL;
export const question = readFileSync(process.env.ANCHOR_QUESTION);
export const askTool = "what is the temperature in Paris";
export const result = '{"temperature": 21}';
export const weather = {
  type: "function",
  name: "get_temperature",
  description: "Get the current temperature in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const ws = require("ws");
const emit = ws.WebSocket.prototype.emit;
ws.WebSocket.prototype.emit = function (name, ...rest) {
  if (name === "message" && !rest[1]) appendFileSync(process.env.ANCHOR_EVENTS, rest[0].toString() + "\n");
  return emit.call(this, name, ...rest);
};

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function speak(send) {
  const sound = Buffer.concat([question, Buffer.alloc(48 * 1500)]);
  for (let at = 0; at < sound.length; at += 960) {
    send(sound.subarray(at, at + 960));
    await sleep(20);
  }
}

export function expect(holds, what) {
  if (!holds) fail(what);
}

export function fail(what) {
  console.error("expected: " + what);
  process.exit(1);
}

// Collects events; `until` resolves with the first of this type that was not waited for before.
export class Events {
  seen = [];
  #from = 0;
  #waiting = null;

  push(event) {
    this.seen.push(event);
    this.#waiting?.();
  }

  async until(type) {
    const timer = setTimeout(() => fail(`${type} within a minute`), 60_000);
    for (;;) {
      const at = this.seen.findIndex((event, at) => at >= this.#from && event.type === type);
      if (at >= 0) {
        clearTimeout(timer);
        this.#from = at + 1;
        return this.seen[at];
      }
      await new Promise((done) => (this.#waiting = done));
    }
  }

  count(type) {
    return this.seen.filter((event) => event.type === type).length;
  }
}
