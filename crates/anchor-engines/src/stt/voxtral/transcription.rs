//! One transcription: the request to `/v1/audio/transcriptions`, and how its answer is read.
//!
//! Source: `vllm/entrypoints/speech_to_text/transcription/protocol.py` of github.com/vllm-project/vllm, and the OpenAI API
//! reference, "Create transcription".

use anchor_core::audio::INPUT_RATE;
use anchor_core::engine::{EngineError, SttEvent};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::http::{Body, Decode, Fault, Rest, Target, cut_short, error_in, message, unreadable};

/// Longest text of one turn. Two minutes of fast speech have 3 kB; a model that writes more is in a loop.
const TEXT_MAX: usize = 64 * 1024;

/// Tokens that speech has at most: this many for a second (fast speech has five words, a word of Hindi four tokens), and
/// some for its end. The model hears half a minute at a time, and the bound is for each.
const TOKENS_PER_SECOND: usize = 20;
const TOKENS_MORE: usize = 64;
const WINDOW_SECONDS: usize = 30;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The sound as a WAV file.
    pub(super) wav: Bytes,
    /// The model.
    pub(super) model: String,
    /// ISO 639-1 code of the language; `None` lets the model find out.
    pub(super) language: Option<String>,
    /// Words to expect.
    pub(super) prompt: Option<String>,
}

impl Request {
    /// The request for one endpoint. The answer comes as server-sent events where the server can do that.
    pub(super) fn build(&self, target: &Target<'_>) -> RequestBuilder {
        let length = self.wav.len() as u64;
        let file = Part::stream_with_length(self.wav.clone(), length).file_name("turn.wav");
        // The part's type is only a hint; servers look into the file.
        let file = file.mime_str("audio/wav").unwrap_or_else(|_| Part::bytes(self.wav.to_vec()).file_name("turn.wav"));
        let mut form = Form::new()
            .part("file", file)
            .text("model", self.model.clone())
            .text("response_format", "json")
            .text("temperature", "0")
            // A model in a loop would write until its context is full.
            .text("max_completion_tokens", self.most_tokens().to_string())
            .text("stream", "true");
        if let Some(language) = &self.language {
            form = form.text("language", language.clone());
        }
        if let Some(prompt) = &self.prompt {
            form = form.text("prompt", prompt.clone());
        }
        target.post("/v1/audio/transcriptions").multipart(form)
    }

    fn most_tokens(&self) -> usize {
        let seconds = self.wav.len().div_ceil(2 * INPUT_RATE as usize).min(WINDOW_SECONDS);
        TOKENS_PER_SECOND * seconds + TOKENS_MORE
    }
}

/// Reads the answer, events or one JSON object. Gives the text so far after every piece, and the whole at the end.
pub(super) struct Answer {
    engine: &'static str,
    model: String,
    /// Words that are shown already: nothing shorter is given out before the end.
    shown: usize,
    text: String,
    done: bool,
    body: Body,
}

impl Answer {
    pub(super) fn new(engine: &'static str, model: &str, shown: usize) -> Self {
        Self { engine, model: model.to_owned(), shown, text: String::new(), done: false, body: Body::default() }
    }

    fn take(&mut self, data: &str, events: &mut Vec<SttEvent>) -> Result<(), Fault> {
        if data == "[DONE]" {
            self.done = true;
            events.push(SttEvent::Final(self.text.trim().to_owned()));
            return Ok(());
        }
        let event: Value = serde_json::from_str(data).map_err(|error| unreadable(self.engine, error))?;
        if let Some(reason) = error_in(&event) {
            // Headers were sent before the request was looked into, so that a refusal can come as an event.
            let code = event["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            return Err(match code.and_then(|code| StatusCode::from_u16(code).ok()) {
                Some(status) => self.refused(self.engine, status, data),
                None => Fault::Broken(reason),
            });
        }
        let delta = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        if !delta.is_empty() {
            self.add(delta)?;
            if self.text.split_whitespace().count() > self.shown {
                events.push(SttEvent::Partial(self.text.trim().to_owned()));
            }
        }
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), Fault> {
        self.text.push_str(text);
        if self.text.len() <= TEXT_MAX {
            return Ok(());
        }
        let reason = "it wrote far more than anybody can have said".into();
        Err(Fault::Final(EngineError::Failed { engine: self.engine, reason }))
    }
}

impl Decode for Answer {
    type Event = SttEvent;

    fn begin(&mut self, headers: &HeaderMap) -> Result<(), Fault> {
        self.body.begin(headers);
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], events: &mut Vec<SttEvent>) -> Result<(), Fault> {
        let data = self.body.push(bytes)?;
        data.iter().try_for_each(|data| self.take(data, events))
    }

    fn finish(&mut self, events: &mut Vec<SttEvent>) -> Result<(), Fault> {
        match self.body.finish()? {
            Rest::Whole(answer) => {
                let text = answer["text"].as_str().ok_or_else(|| unreadable(self.engine, "there is no text in it"))?;
                events.push(SttEvent::Final(text.trim().to_owned()));
                self.done = true;
                Ok(())
            }
            Rest::Events(last) => {
                if let Some(data) = last {
                    self.take(&data, events)?;
                }
                if self.done { Ok(()) } else { Err(cut_short()) }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.done
    }

    fn refused(&self, engine: &'static str, status: StatusCode, body: &str) -> Fault {
        if status != StatusCode::NOT_FOUND {
            return crate::http::refused(engine, status, body);
        }
        let said = message(body).map_or_else(String::new, |said| format!(" ({said})"));
        Fault::Final(EngineError::Unavailable {
            engine,
            reason: format!("the server has no transcription by the model {}{said}", self.model),
            remedy: format!("Start a server of that model, or set `url` and `model` in the options of {engine}."),
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::CONTENT_TYPE;

    use super::*;

    fn read(pieces: &[&str], json: bool) -> (Vec<SttEvent>, Result<(), Fault>) {
        let mut answer = Answer::new("test", "m", 0);
        let mut headers = HeaderMap::new();
        let kind = if json { "application/json" } else { "text/event-stream; charset=utf-8" };
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

    fn delta(text: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n")
    }

    #[test]
    fn events_grow_into_the_whole() {
        let text = [delta(" What"), delta(" is"), delta(""), "data: [DONE]\n\n".into()].concat();
        let (left, right) = text.split_at(37);
        let (events, outcome) = read(&[left, right], false);
        assert!(outcome.is_ok());
        let partial = |text: &str| SttEvent::Partial(text.into());
        assert_eq!(events, [partial("What"), partial("What is"), SttEvent::Final("What is".into())]);
    }

    #[test]
    fn one_object_is_understood_too() {
        let (events, outcome) = read(&["{\"text\":\" Good ", "evening. \",\"usage\":{\"seconds\":2}}"], true);
        assert!(outcome.is_ok());
        assert_eq!(events, [SttEvent::Final("Good evening.".into())]);
        assert!(matches!(read(&["{\"text\":\"Good"], true).1, Err(Fault::Broken(_))));
    }

    #[test]
    fn an_answer_without_an_end_or_with_an_error_is_none() {
        assert!(matches!(read(&[&delta("What")], false).1, Err(Fault::Broken(_))));
        let (events, outcome) = read(&[&delta("What"), "data: {\"error\":{\"message\":\"out of memory\"}}\n\n"], false);
        assert_eq!(events.len(), 1);
        assert!(matches!(outcome, Err(Fault::Broken(reason)) if reason == "out of memory"));
        assert!(matches!(read(&["data: {half\n\n"], false).1, Err(Fault::Final(_))));
    }

    #[test]
    fn a_refusal_may_come_as_an_event() {
        let refusal = "data: {\"error\":{\"message\":\"the prompt is too long\",\"code\":400}}\n\n";
        let fault = read(&[refusal], false).1.unwrap_err();
        let Fault::Final(error) = fault else { panic!("it is tried again: {fault:?}") };
        assert_eq!(
            error.to_string(),
            "test failed: the server refuses the request: the prompt is too long (400 Bad Request)"
        );
        let overloaded = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n";
        assert!(matches!(read(&[overloaded], false).1, Err(Fault::Broken(_))));
    }

    #[test]
    fn the_bound_on_tokens_grows_with_the_sound_up_to_a_window() {
        let most = |seconds: usize| {
            let wav = vec![0; 44 + 2 * INPUT_RATE as usize * seconds].into();
            Request { wav, model: "m".into(), language: None, prompt: None }.most_tokens()
        };
        // A header makes a second of its own.
        assert_eq!([most(0), most(2), most(30), most(120)], [84, 124, 664, 664]);
    }

    #[test]
    fn a_model_in_a_loop_is_stopped() {
        let outcome = read(&[&delta(&"na ".repeat(TEXT_MAX / 3 + 1))], false).1;
        assert!(matches!(outcome, Err(Fault::Final(_))));
    }
}
