//! A world for a conversation to live in: a clock that only moves when told, people, and engines that follow a script.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anchor_core::audio::{AudioFrame, INPUT_RATE, SampleTime, Samples};
use anchor_core::engine::{EngineError, LlmEvent, LlmRequest, SttEvent, ToolCall, TtsEvent, WordTime};
use anchor_core::{
    ClientCommand, Content, Conversation, Event, Input, Item, Job, Output, Progress, ResponseId, SessionConfig, TurnId,
};

/// Sound arrives in frames of this length.
const FRAME_MS: u64 = 20;
/// The voice activity detector judges windows of this many samples.
const WINDOW: u64 = 512;
/// The voice speaks at this pace.
const MS_PER_BYTE: u64 = 60;

/// What happens at a moment of the story.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The person speaks for this long; the recogniser will have understood these words, if any.
    Speak(u64, &'static str),
    /// The client asks for something.
    Ask(ClientCommand),
    /// The client reports playout of the newest response.
    Played(u64),
}

/// How long the engines take, and what they do wrong.
#[derive(Clone, Debug)]
pub(crate) struct Engines {
    pub(crate) stt_ms: u64,
    pub(crate) llm_ms: u64,
    pub(crate) tts_ms: u64,
    /// What the language model answers, one after the other; then the last again. What stands behind a `>` in it is the
    /// name of a tool it calls, and an answer ends before it is complete where it ends in `...`.
    pub(crate) answers: Vec<&'static str>,
    /// The voice knows when its words end.
    pub(crate) words: bool,
    pub(crate) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    SttFails,
    SttHangs,
    LlmFails,
    LlmFailsMidway,
    LlmHangs,
    TtsFails,
    TtsHangs,
}

impl Default for Engines {
    fn default() -> Self {
        let answers = vec!["The bridge is open again, after two years. It cost three million."];
        Self { stt_ms: 10, llm_ms: 30, tts_ms: 40, answers, words: true, fault: None }
    }
}

/// The world, and what was seen in it.
pub(crate) struct World {
    conversation: Conversation,
    engines: Engines,
    origin: Instant,
    now_ms: u64,
    heard: u64,
    windows: u64,
    wake: Option<Instant>,
    speech: Vec<(u64, u64)>,
    words: Vec<&'static str>,
    pending: BTreeMap<(u64, u64), Input>,
    order: u64,
    stt: BTreeMap<TurnId, bool>,
    llm: BTreeMap<ResponseId, bool>,
    tts: BTreeMap<ResponseId, bool>,
    answered: usize,
    called: usize,
    clause: BTreeMap<ResponseId, u64>,
    played: BTreeMap<ResponseId, Samples>,
    newest: ResponseId,
    /// One line for each thing that was seen.
    pub(crate) log: Vec<String>,
    /// Events in full, for checks.
    pub(crate) events: Vec<Event>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    pub(crate) fn new(config: SessionConfig, engines: Engines) -> Self {
        Self {
            conversation: Conversation::new("", config),
            engines,
            origin: Instant::now() + Duration::from_secs(3600),
            now_ms: 0,
            heard: 0,
            windows: 0,
            wake: None,
            speech: Vec::new(),
            words: Vec::new(),
            pending: BTreeMap::new(),
            order: 0,
            stt: BTreeMap::new(),
            llm: BTreeMap::new(),
            tts: BTreeMap::new(),
            answered: 0,
            called: 0,
            clause: BTreeMap::new(),
            played: BTreeMap::new(),
            newest: ResponseId(0),
            log: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Lives through `story` until `end_ms`.
    pub(crate) fn live(&mut self, story: &[(u64, Act)], end_ms: u64) {
        let mut story = story.iter().peekable();
        for ms in self.now_ms..=end_ms {
            self.now_ms = ms;
            while let Some((_, act)) = story.next_if(|&&(at, _)| at <= ms) {
                self.act(act.clone());
            }
            if self.wake.is_some_and(|at| at <= self.now()) {
                self.put(Input::Timeout);
            }
            while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= ms) {
                let input = entry.remove();
                if self.is_wanted(&input) {
                    self.put(input);
                }
            }
            if ms % FRAME_MS == 0 && ms > 0 {
                self.hear();
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Speak(length, words) => {
                self.note(format!("person: {words}"));
                self.speech.push((self.now_ms, self.now_ms + length));
                self.words.push(words);
            }
            Act::Ask(command) => {
                self.note(format!("client: {command:?}"));
                self.put(Input::Client(command));
            }
            Act::Played(ms) => self.put(Input::Playout(self.newest, Samples::from_ms(ms))),
        }
    }

    /// One frame of sound and the windows it completes.
    fn hear(&mut self) {
        let length = u64::from(INPUT_RATE) * FRAME_MS / 1000;
        self.put(Input::Audio(AudioFrame::new(vec![0.0; length as usize])));
        self.heard += length;
        while (self.windows + 1) * WINDOW <= self.heard {
            self.windows += 1;
            let end = SampleTime(self.windows * WINDOW);
            let middle = SampleTime(end.0 - WINDOW / 2).as_ms();
            let voiced = self.speech.iter().any(|&(from, to)| (from..to).contains(&middle));
            self.put(Input::Speech(end, if voiced { 0.9 } else { 0.05 }));
        }
    }

    /// Gives the conversation an input and does what it wants done.
    pub(crate) fn put(&mut self, input: Input) {
        self.conversation.handle_input(self.now(), input);
        loop {
            match self.conversation.poll_output() {
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now()), "a deadline lies in the past");
                    self.wake = at;
                    return;
                }
                Output::Event(event) => self.see(event),
                Output::Play(id, frame) => {
                    let played = self.played.entry(id).or_default();
                    *played = *played + Samples(frame.len() as u64);
                }
                Output::ClearPlayout => self.note("silence".into()),
                Output::Stt(id, job) => self.stt_job(id, job),
                Output::Llm(id, job) => self.llm_job(id, job),
                Output::Tts(id, job) => self.tts_job(id, job),
            }
        }
    }

    fn stt_job(&mut self, id: TurnId, job: Job<impl std::fmt::Debug, AudioFrame>) {
        let fault = self.engines.fault;
        match job {
            Job::Start(_) => assert!(self.stt.insert(id, true).is_none(), "a job started twice"),
            Job::Feed(_) => assert!(self.stt[&id], "an ended job was fed"),
            Job::Cancel => assert!(self.stt.insert(id, false).is_some_and(|ran| ran), "an ended job was cancelled"),
            Job::Finish if fault == Some(Fault::SttHangs) => {}
            Job::Finish if fault == Some(Fault::SttFails) => {
                self.later(self.engines.stt_ms, Input::Stt(id, Progress::Failed(broken("stt"))));
            }
            Job::Finish => {
                let words = std::mem::take(&mut self.words).join(" ");
                self.later(self.engines.stt_ms, Input::Stt(id, Progress::Event(SttEvent::Final(words))));
                self.later(self.engines.stt_ms, Input::Stt(id, Progress::Finished));
            }
        }
    }

    fn llm_job(&mut self, id: ResponseId, job: Job<LlmRequest, ()>) {
        let delay = self.engines.llm_ms;
        match job {
            Job::Start(request) => {
                self.newest = id;
                assert!(self.llm.insert(id, true).is_none(), "a job started twice");
                self.note(format!("llm is told: {}", told(&request)));
                let answer = self.engines.answers[self.answered.min(self.engines.answers.len() - 1)];
                self.answered += 1;
                match self.engines.fault {
                    Some(Fault::LlmHangs) => return,
                    Some(Fault::LlmFails) => {
                        return self.later(delay, Input::Llm(id, Progress::Failed(broken("llm"))));
                    }
                    _ => {}
                }
                let mut at = delay;
                for (n, word) in answer.split_inclusive(' ').enumerate() {
                    if n == 12 && self.engines.fault == Some(Fault::LlmFailsMidway) {
                        return self.later(at, Input::Llm(id, Progress::Failed(broken("llm"))));
                    }
                    let event = match word.trim().strip_prefix('>') {
                        Some(name) => {
                            self.called += 1;
                            let (id, name, arguments) = (format!("call_{}", self.called), name.into(), "{}".into());
                            LlmEvent::ToolCall(ToolCall { id, name, arguments, result: None })
                        }
                        None => LlmEvent::Delta(word.into()),
                    };
                    self.later(at, Input::Llm(id, Progress::Event(event)));
                    at += 20;
                }
                if answer.ends_with("...") {
                    self.later(at, Input::Llm(id, Progress::Event(LlmEvent::LimitReached)));
                }
                self.later(at, Input::Llm(id, Progress::Finished));
            }
            Job::Cancel => assert!(self.llm.insert(id, false).is_some_and(|ran| ran), "an ended job was cancelled"),
            Job::Feed(()) | Job::Finish => unreachable!("a language model is fed nothing"),
        }
    }

    fn tts_job(&mut self, id: ResponseId, job: Job<impl std::fmt::Debug, String>) {
        match job {
            Job::Start(_) => assert!(self.tts.insert(id, true).is_none(), "a job started twice"),
            Job::Cancel => assert!(self.tts.insert(id, false).is_some_and(|ran| ran), "an ended job was cancelled"),
            Job::Feed(_) if self.engines.fault == Some(Fault::TtsHangs) => {}
            Job::Feed(_) if self.engines.fault == Some(Fault::TtsFails) => {
                self.later(self.engines.tts_ms, Input::Tts(id, Progress::Failed(broken("tts"))));
            }
            Job::Feed(clause) => {
                assert!(self.tts[&id], "an ended job was fed");
                self.note(format!("voice: {clause}"));
                self.speak(id, &clause);
            }
            Job::Finish if self.engines.fault == Some(Fault::TtsHangs) => {}
            Job::Finish => {
                let at = self.clause.get(&id).copied().unwrap_or(self.now_ms).max(self.now_ms);
                self.later(at - self.now_ms + 1, Input::Tts(id, Progress::Finished));
            }
        }
    }

    /// The voice makes the sound of a clause five times faster than it is heard, in pieces of 100 ms.
    fn speak(&mut self, id: ResponseId, clause: &str) {
        let length = clause.len() as u64 * MS_PER_BYTE;
        let mut at = self.clause.get(&id).copied().unwrap_or(0).max(self.now_ms + self.engines.tts_ms) - self.now_ms;
        if self.engines.words {
            for (byte, _) in clause.match_indices(' ').chain([(clause.len(), "")]) {
                let word = WordTime { text_end: byte, end: Samples::from_ms(byte as u64 * MS_PER_BYTE) };
                self.later(at, Input::Tts(id, Progress::Event(TtsEvent::Word(word))));
            }
        }
        for start in (0..length).step_by(100) {
            let piece = Samples::from_ms((length - start).min(100));
            let frame = AudioFrame::new(vec![0.1; piece.0 as usize]);
            self.later(at, Input::Tts(id, Progress::Event(TtsEvent::Audio(frame))));
            at += 20;
        }
        self.later(at, Input::Tts(id, Progress::Event(TtsEvent::ClauseEnd)));
        self.clause.insert(id, self.now_ms + at);
    }

    fn later(&mut self, ms: u64, input: Input) {
        self.order += 1;
        self.pending.insert((self.now_ms + ms, self.order), input);
    }

    /// A shell drops the stream of a cancelled job, so nothing more comes from it.
    fn is_wanted(&mut self, input: &Input) -> bool {
        let ended = |progress_ends: bool, running: Option<&mut bool>| {
            running.is_some_and(|running| {
                let was = *running;
                *running = was && !progress_ends;
                was
            })
        };
        match input {
            Input::Stt(id, p) => ended(!matches!(p, Progress::Event(_)), self.stt.get_mut(id)),
            Input::Llm(id, p) => ended(!matches!(p, Progress::Event(_)), self.llm.get_mut(id)),
            Input::Tts(id, p) => ended(!matches!(p, Progress::Event(_)), self.tts.get_mut(id)),
            _ => true,
        }
    }

    fn see(&mut self, event: Event) {
        let line = match &event {
            Event::AnswerText { .. } => None,
            Event::OutputAdded { index, item, previous, .. } => {
                Some(format!("output {index} added: {}", place(item, previous.as_ref())))
            }
            Event::OutputDone { index, item, .. } => {
                Some(format!("output {index} done: {} {:?} {}", item.id, item.status, shown(&item.content)))
            }
            Event::ResponseCreated { response, out_of_band } => {
                Some(format!("response {}{}", response.0, if *out_of_band { " beside the conversation" } else { "" }))
            }
            Event::ResponseDone { response, outcome, usage, .. } => {
                let played = self.played.get(response).map_or(0, |samples| samples.as_ms());
                assert_eq!(usage.sound.as_ms(), played, "the count of the sound is wrong");
                Some(format!("response {} done: {outcome:?}, {played} ms given out", response.0))
            }
            Event::ItemAdded { item, previous } => Some(format!("item added: {}", place(item, previous.as_ref()))),
            Event::ItemRetrieved(item) => {
                Some(format!("item retrieved: {} {:?} {}", item.id, item.status, shown(&item.content)))
            }
            Event::IdleTimeout { item, start, end } => {
                Some(format!("nobody spoke: {item} from {} to {} ms", start.as_ms(), end.as_ms()))
            }
            Event::ItemDone { .. } => None,
            Event::TurnMeasured { latency, .. } => Some(format!(
                "first sound: endpointing {} + stt {} + llm {} + tts {} ms",
                latency.endpointing.as_millis(),
                latency.stt.as_millis(),
                latency.llm.as_millis(),
                latency.tts.as_millis()
            )),
            Event::SpeechStarted { item, at } => Some(format!("speech started: {item} at {} ms", at.as_ms())),
            Event::SpeechStopped { item, at } => Some(format!("speech stopped: {item} at {} ms", at.as_ms())),
            Event::TranscriptDone { item, text, .. } => Some(format!("transcript: {item} {text:?}")),
            Event::StateChanged(state) => Some(format!("[{state:?}]")),
            Event::ClientError(error) => Some(format!("error: {error}")),
            other => Some(format!("{other:?}")),
        };
        if let Some(line) = line {
            self.note(line);
        }
        self.events.push(event);
    }

    fn note(&mut self, line: String) {
        self.log.push(format!("{:>6} {line}", self.now_ms));
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.now_ms)
    }

    /// The timeline as text.
    pub(crate) fn timeline(&self) -> String {
        self.log.join("\n")
    }

    /// Jobs that have not ended.
    pub(crate) fn running(&self) -> usize {
        let count = |jobs: usize, ended: usize| jobs - ended;
        count(self.stt.len(), self.stt.values().filter(|running| !**running).count())
            + count(self.llm.len(), self.llm.values().filter(|running| !**running).count())
            + count(self.tts.len(), self.tts.values().filter(|running| !**running).count())
    }

    /// Length of the sound given out for the newest response.
    pub(crate) fn newest_played_ms(&self) -> u64 {
        self.played.get(&self.newest).map_or(0, |samples| samples.as_ms())
    }
}

fn broken(engine: &'static str) -> EngineError {
    EngineError::Failed { engine, reason: "it broke".into() }
}

/// What the language model is told, in one line.
fn told(request: &LlmRequest) -> String {
    let messages = request.messages.iter().map(|message| {
        let call =
            |call: &ToolCall| format!(" >{} gave {}", call.name, call.result.as_deref().unwrap_or("nothing yet"));
        let calls: String = message.calls.iter().map(call).collect();
        format!("{:?}: {}{}{calls}", message.role, message.text, if message.interrupted { " [cut]" } else { "" })
    });
    messages.collect::<Vec<_>>().join(" | ")
}

fn place(item: &Item, previous: Option<&anchor_core::ItemId>) -> String {
    let previous = previous.map_or("nothing".into(), ToString::to_string);
    let kind = match &item.content {
        Content::Message { role, .. } => format!("{role:?}"),
        Content::Call { name, .. } => format!("call of {name}"),
        Content::CallOutput { call, .. } => format!("output of {call}"),
    };
    format!("{} {kind} behind {previous}", item.id)
}

fn shown(content: &Content) -> String {
    match content {
        Content::Message { text, .. } => format!("{:?}", text.as_deref().unwrap_or_default()),
        Content::Call { call, name, arguments } => format!("{name} {arguments} as {call}"),
        Content::CallOutput { call, output } => format!("{output:?} for {call}"),
    }
}
