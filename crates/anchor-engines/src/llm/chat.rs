//! The chat API of OpenAI as servers of all makers speak it: the body of a request, and how the answer is read.
//!
//! Source: the OpenAI API reference, "Create chat completion" and its streaming events. Where servers differ (a whole answer
//! although a stream was asked for, errors in the stream, chunks without choices, thoughts beside the text), all ways are
//! understood.

use std::collections::BTreeMap;

use anchor_core::engine::{LlmEvent, LlmRequest, ToolCall};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::calls;
use super::prompt::{NO_RESULT, Prompt, Turn};
use super::spoken::Spoken;
use super::wordless;
use crate::http::{Body, Decode, Fault, Rest, cut_short, error_in};

/// Most calls in one answer: a model that makes more has run away.
const CALLS_MAX: usize = 64;

/// The conversation as messages.
pub(super) fn messages(prompt: &Prompt) -> Vec<Value> {
    let mut messages = Vec::new();
    if !prompt.instructions.is_empty() {
        messages.push(json!({ "role": "system", "content": prompt.instructions }));
    }
    for turn in &prompt.turns {
        match turn {
            Turn::User(text) => messages.push(json!({ "role": "user", "content": text })),
            Turn::Assistant(text, calls) if calls.is_empty() => {
                messages.push(json!({ "role": "assistant", "content": text }));
            }
            Turn::Assistant(text, calls) => {
                let made = |call: &ToolCall| {
                    let function = json!({ "name": call.name, "arguments": call.arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                };
                let made: Vec<Value> = calls.iter().map(made).collect();
                messages.push(json!({ "role": "assistant", "content": text, "tool_calls": made }));
                for call in calls {
                    let result = call.result.as_deref().unwrap_or(NO_RESULT);
                    messages.push(json!({ "role": "tool", "tool_call_id": call.id, "content": result }));
                }
            }
        }
    }
    messages
}

/// Reads an answer, streamed or whole.
pub(super) struct Answer {
    spoken: Spoken,
    offered: Vec<String>,
    calls: BTreeMap<u64, Call>,
    body: Body,
    /// Nothing was said so far, and nothing was there to go on with.
    wordless: bool,
    /// The server said why it stopped.
    stopped: bool,
    /// It was because the answer met its bound.
    limited: bool,
    done: bool,
}

/// A call as its pieces come in.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    pub(super) fn new(prompt: &Prompt, request: &LlmRequest) -> Self {
        Self {
            spoken: Spoken::new(prompt, &request.so_far),
            offered: calls::names(request),
            calls: BTreeMap::new(),
            body: Body::default(),
            wordless: request.so_far.is_empty(),
            stopped: false,
            limited: false,
            done: false,
        }
    }

    fn event(&mut self, data: &str, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        if data == "[DONE]" {
            return self.end(events);
        }
        let event: Value = serde_json::from_str(data).map_err(|_| cut_short())?;
        if let Some(reason) = error_in(&event) {
            return Err(Fault::Broken(reason));
        }
        let choice = &event["choices"][0];
        self.take(&choice["delta"], events)?;
        self.stop(choice);
        Ok(())
    }

    fn stop(&mut self, choice: &Value) {
        self.stopped |= choice["finish_reason"].is_string();
        self.limited |= choice["finish_reason"] == "length";
    }

    /// Takes in a piece of the message, or all of it.
    fn take(&mut self, message: &Value, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        if let Some(text) = message["content"].as_str() {
            events.extend(self.spoken.push(text).map(LlmEvent::Delta));
            self.wordless &= events.is_empty();
        }
        for (at, piece) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = piece["index"].as_u64().unwrap_or(at as u64);
            if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(&index) {
                return Err(Fault::Broken("it calls tools without end".into()));
            }
            let call = self.calls.entry(index).or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if call.id.is_empty() {
                call.id = text(&piece["id"]);
            }
            call.name += &text(&piece["function"]["name"]);
            call.arguments += &match &piece["function"]["arguments"] {
                // Some servers send the object itself.
                object @ Value::Object(_) => object.to_string(),
                other => text(other),
            };
            if call.arguments.len() > calls::ARGUMENTS_MAX {
                return Err(Fault::Broken("the arguments of its call have no end".into()));
            }
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        self.done = true;
        events.extend(self.spoken.finish().map(LlmEvent::Delta));
        for call in std::mem::take(&mut self.calls).into_values() {
            match calls::call(&self.offered, &call.id, &call.name, &call.arguments) {
                // The bound was met in the middle of it.
                Err(_) if self.limited => {}
                made => events.extend(made?.map(LlmEvent::ToolCall)),
            }
        }
        if self.wordless && events.is_empty() {
            return Err(wordless());
        }
        events.extend(self.limited.then_some(LlmEvent::LimitReached));
        Ok(())
    }
}

impl Decode for Answer {
    type Event = LlmEvent;

    fn begin(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        self.body.begin(headers);
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        let data = self.body.push(bytes)?;
        data.iter().try_for_each(|data| self.event(data, events))
    }

    fn finish(&mut self, events: &mut Vec<LlmEvent>) -> Result<(), Fault> {
        match self.body.finish()? {
            Rest::Whole(answer) => {
                let choice = &answer["choices"][0];
                self.take(&choice["message"], events)?;
                self.stop(choice);
                self.end(events)
            }
            Rest::Events(last) => {
                if let Some(data) = last {
                    self.event(&data, events)?;
                }
                // Some servers end the stream without the last line once they have said why they stopped.
                match (self.done, self.stopped) {
                    (true, _) => Ok(()),
                    (false, true) => self.end(events),
                    (false, false) => Err(cut_short()),
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use anchor_core::engine::{Message, Role, Tool};
    use reqwest::header::CONTENT_TYPE;

    use super::super::prompt::{Continues, Room};
    use super::*;

    const ROOM: Room = Room { context: 8192, answer: 512, other: 0 };

    fn request() -> LlmRequest {
        let tool = Tool { name: "clock".into(), description: String::new(), parameters: String::new() };
        LlmRequest {
            instructions: "Be brief.".into(),
            messages: vec![Message::new(Role::User, "hello")],
            tools: vec![tool],
            ..LlmRequest::default()
        }
    }

    fn read(kind: &str, pieces: &[&str]) -> (Vec<LlmEvent>, Result<(), Fault>) {
        let request = request();
        let mut answer = Answer::new(&Prompt::new(&request, Continues::Ask, ROOM), &request);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        answer.begin(&headers).unwrap();
        let mut events = Vec::new();
        for piece in pieces {
            if let Err(fault) = answer.push(piece.as_bytes(), &mut events) {
                return (events, Err(fault));
            }
        }
        let outcome = answer.finish(&mut events);
        (events, outcome)
    }

    fn chunk(delta: &str, finish: &str) -> String {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
    }

    #[test]
    fn a_stream_is_read_whatever_else_is_in_it() {
        let stream = [
            ": keep-alive\n\n".to_owned(),
            chunk("{\"role\":\"assistant\",\"content\":\"\"}", "null"),
            chunk("{\"reasoning_content\":\"What do they want?\"}", "null"),
            chunk("{\"content\":\"<think>hm</think>Good\"}", "null"),
            chunk("{\"content\":\" evening.\"}", "null"),
            chunk("{}", "\"stop\""),
            "data: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\n".into(),
            "data: [DONE]\n\n".into(),
        ];
        let stream = stream.concat();
        let (one, other) = stream.split_at(stream.len() / 3);
        let (events, outcome) = read("text/event-stream", &[one, other]);
        assert!(outcome.is_ok());
        assert_eq!(events, [LlmEvent::Delta("Good".into()), LlmEvent::Delta(" evening.".into())]);
    }

    #[test]
    fn calls_are_put_together_from_their_pieces() {
        let piece = |json: &str| chunk(&format!("{{\"tool_calls\":[{json}]}}"), "null");
        let stream = [
            piece(r#"{"index":0,"id":"a1","function":{"name":"clock","arguments":""}}"#),
            piece(r#"{"index":0,"function":{"arguments":"{\"zone\":"}}"#),
            piece(r#"{"index":0,"function":{"arguments":"\"UTC\"}"}}"#),
            piece(r#"{"index":1,"id":"a2","function":{"name":"rocket","arguments":"{}"}}"#),
            chunk("{}", "\"tool_calls\""),
        ];
        let (events, outcome) = read("text/event-stream", &[&stream.concat()]);
        assert!(outcome.is_ok());
        let call =
            ToolCall { id: "a1".into(), name: "clock".into(), arguments: "{\"zone\":\"UTC\"}".into(), result: None };
        assert_eq!(events, [LlmEvent::ToolCall(call)]);
    }

    #[test]
    fn an_answer_that_met_its_bound_says_so_and_makes_no_half_calls() {
        let call = r#"{"tool_calls":[{"index":0,"id":"a1","function":{"name":"clock","arguments":"{\"zone"}}]}"#;
        let stream = [chunk("{\"content\":\"Good\"}", "null"), chunk(call, "\"length\"")].concat();
        let (events, outcome) = read("text/event-stream", &[&stream]);
        assert!(outcome.is_ok());
        assert_eq!(events, [LlmEvent::Delta("Good".into()), LlmEvent::LimitReached]);
        let body = r#"{"choices":[{"message":{"content":"Good"},"finish_reason":"length"}]}"#;
        let (events, _) = read("application/json", &[body]);
        assert_eq!(events, [LlmEvent::Delta("Good".into()), LlmEvent::LimitReached]);
    }

    #[test]
    fn a_whole_answer_is_understood_too() {
        let body = r#"{"choices":[{"message":{"role":"assistant","content":" Good evening."}}]}"#;
        let (events, outcome) = read("application/json", &[body]);
        assert!(outcome.is_ok());
        assert_eq!(events, [LlmEvent::Delta("Good evening.".into())]);
        assert!(matches!(read("application/json", &[&body[..30]]).1, Err(Fault::Broken(_))));
    }

    #[test]
    fn what_is_cut_short_or_fails_in_the_middle_is_a_fault() {
        let begun = chunk("{\"content\":\"Good\"}", "null");
        for bad in [
            "",
            "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
            "data: {\"cho",
            "error: {\"message\":\"x\"}\n",
        ] {
            let (events, outcome) = read("text/event-stream", &[&begun, bad]);
            assert_eq!(events, [LlmEvent::Delta("Good".into())]);
            assert!(matches!(outcome, Err(Fault::Broken(_))), "{bad}: {outcome:?}");
        }
    }

    #[test]
    fn tools_and_their_results_stand_in_the_messages() {
        let call =
            ToolCall { id: "a1".into(), name: "clock".into(), arguments: "{}".into(), result: Some("6:30".into()) };
        let asked = Message { calls: vec![call], ..Message::new(Role::Assistant, "Let me see.") };
        let request = LlmRequest { messages: vec![Message::new(Role::User, "time?"), asked], ..request() };
        let messages = messages(&Prompt::new(&request, Continues::Ask, ROOM));
        let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!(messages[2]["tool_calls"][0]["function"]["arguments"], "{}");
        assert_eq!(messages[3]["content"], "6:30");
    }
}
