// @openai/agents-realtime over WebSocket: an agent with a tool, its history, its interruption.

import { Events, askTool, expect, require, result, sleep, speak, url } from "./tap.mjs";

const { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } = require("@openai/agents-realtime");
const { z } = require("zod");

let called = null;
const temperature = tool({
  name: "get_temperature",
  description: "Get the current temperature in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    called = city;
    return result;
  },
});
const agent = new RealtimeAgent({ name: "Ada", instructions: "You are Ada.", tools: process.argv[2] === "tool" ? [temperature] : [] });
const transport = new OpenAIRealtimeWebSocket({ url: url.replace("http", "ws") + "/v1/realtime?model=anchor", useInsecureApiKey: true });
const session = new RealtimeSession(agent, { transport, model: "anchor" });
const events = new Events();
const errors = [];
let heard = 0;
let interruptions = 0;
transport.on("*", (event) => events.push(event));
session.on("audio", (audio) => (heard += audio.data.byteLength));
session.on("audio_interrupted", () => interruptions++);
session.on("error", (error) => errors.push(JSON.stringify(error)));

const append = (piece) => session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
const said = (role) => session.history.filter((item) => item.type === "message" && item.role === role);

const scenarios = {
  async voice() {
    await speak(append);
    await events.until("response.done");
    await sleep(300);
    expect(heard > 0, "sound");
    expect(said("user")[0]?.content[0]?.transcript, "the question in the history");
    expect(said("assistant")[0]?.content[0]?.transcript, "the answer in the history");
  },
  async text() {
    session.sendMessage("what is the weather");
    await events.until("response.done");
    await sleep(300);
    expect(said("assistant")[0]?.content[0]?.transcript, "the answer in the history");
  },
  async tool() {
    session.sendMessage(askTool);
    await events.until("response.done");
    await events.until("response.done");
    await sleep(300);
    expect(called === "Paris", "the call with its argument");
    expect(said("assistant").at(-1)?.content[0]?.transcript?.includes("21"), "the result, told");
  },
  async "barge-in"() {
    session.sendMessage("what are the headlines");
    await events.until("response.output_audio.delta");
    await sleep(1000);
    const speaking = speak(append);
    const { response } = await events.until("response.done");
    await speaking;
    expect(response.status === "cancelled", "a cancelled response");
    await events.until("response.done");
    expect(interruptions > 0, "the client noticed");
    expect(events.count("conversation.item.truncated") > 0, "the answer was cut");
  },
  async malformed() {
    transport.sendEvent({ type: "nonsense" });
    await events.until("error");
    errors.length = 0;
    session.sendMessage("what is the weather");
    await events.until("response.done");
  },
};

await session.connect({ apiKey: "none" });
await scenarios[process.argv[2]]();
expect(errors.length === 0, "no errors, but there is " + errors.join(" "));
session.close();
process.exit(0);
