// openai-node: `OpenAIRealtimeWS`. It always asks for wss:, so its sockets are made by hand.

import net from "node:net";
import { Events, askTool, expect, question, require, result, sleep, speak, url, weather } from "./tap.mjs";

const { OpenAI } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const client = new OpenAI({ apiKey: "none", baseURL: url.replace("http:", "https:") + "/v1" });
const createConnection = (options) => net.connect({ host: options.host, port: options.port });
const rt = new OpenAIRealtimeWS({ model: "anchor", options: { createConnection } }, client);
const events = new Events();
rt.on("event", (event) => events.push(event));
rt.on("error", () => {});

const append = (piece) => rt.send({ type: "input_audio_buffer.append", audio: piece.toString("base64") });
const say = (text) => {
  const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
  rt.send({ type: "conversation.item.create", item });
  rt.send({ type: "response.create" });
};

const scenarios = {
  async voice() {
    await speak(append);
    const done = await events.until("response.done");
    expect(done.response.status === "completed", "a completed response");
    expect(events.count("response.output_audio.delta") > 0, "sound");
  },
  async text() {
    rt.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
    await events.until("session.updated");
    say("what is the weather");
    const done = await events.until("response.done");
    expect(done.response.output[0].content[0].text, "text");
  },
  async tool() {
    rt.send({ type: "session.update", session: { type: "realtime", tools: [weather] } });
    await events.until("session.updated");
    say(askTool);
    const call = (await events.until("response.done")).response.output[0];
    expect(call.type === "function_call" && call.arguments.includes("Paris"), "a call");
    rt.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: call.call_id, output: result } });
    rt.send({ type: "response.create" });
    const answer = (await events.until("response.done")).response.output[0];
    expect(answer.content[0].transcript.includes("21"), "the result, told");
  },
  async "barge-in"() {
    say("what are the headlines");
    await events.until("response.output_audio.delta");
    await sleep(1000);
    const speaking = speak(append);
    const { response } = await events.until("response.done");
    expect(response.status === "cancelled" && response.status_details.reason === "turn_detected", "a cancelled response");
    rt.send({ type: "conversation.item.truncate", item_id: response.output[0].id, content_index: 0, audio_end_ms: 500 });
    await events.until("conversation.item.truncated");
    await speaking;
    await events.until("response.done");
  },
  async malformed() {
    for (const message of ["{", '{"type":"nonsense"}', '{"type":"input_audio_buffer.append","audio":"???"}']) {
      rt.socket.send(message);
      expect((await events.until("error")).error.message, "an error that says what is wrong");
    }
    rt.send({ type: "input_audio_buffer.clear" });
    await events.until("input_audio_buffer.cleared");
  },
};

await events.until("session.created");
await scenarios[process.argv[2]]();
rt.close();
process.exit(0);
