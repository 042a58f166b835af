//! The order of a session's server events: a machine that reads them one by one and tells the first that breaks a rule.
//!
//! Nothing in production needs it; tests run every event that a client receives through it, and a simulation can run
//! its own. It knows no wire format: whoever has events in one says what they are as [`Token`]s.
//!
//! The rules are those of OpenAI's guide "Realtime conversations" and of the reference of the Realtime API's server events.

use std::collections::{BTreeMap, BTreeSet};

use Violation::*;

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Sound is in the events.
    WebSocket,
    /// Sound goes beside the events, which tell when it starts and stops.
    WebRtc,
}

/// What an event is, with the names it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// The session's settings, for the first time.
    SessionCreated,
    /// The person began to speak; the item will be theirs.
    SpeechStarted(&'a str),
    /// They stopped.
    SpeechStopped(&'a str),
    /// The item's sound is complete. Carries the item before it.
    Committed(&'a str, Option<&'a str>),
    /// An item is in the conversation. Carries the item before it.
    ItemAdded(&'a str, Option<&'a str>),
    /// The item changes no more.
    ItemDone(&'a str),
    /// The item is not in the conversation any more.
    ItemDeleted(&'a str),
    /// Anything else about an item of the conversation: shown, cut, transcribed.
    Item(&'a str),
    /// An answer begins, in the conversation or beside it.
    ResponseCreated {
        /// Its name.
        response: &'a str,
        /// It belongs to the conversation.
        within: bool,
    },
    /// The answer has an item.
    OutputItemAdded(&'a str, &'a str),
    /// That item is complete.
    OutputItemDone(&'a str, &'a str),
    /// A part of an item of the answer begins.
    PartAdded(&'a str, &'a str, u64),
    /// The part is complete.
    PartDone(&'a str, &'a str, u64),
    /// A piece of a part.
    Delta(&'a str, &'a str, u64, Stream),
    /// The part has no further pieces of this kind.
    StreamDone(&'a str, &'a str, u64, Stream),
    /// A piece of a call's arguments.
    CallDelta(&'a str, &'a str),
    /// A call's arguments are complete.
    CallDone(&'a str, &'a str),
    /// The answer is over.
    ResponseDone(&'a str),
    /// The answer's sound begins to leave, beside the events.
    SoundStarted(&'a str),
    /// The answer's sound was given out.
    SoundStopped(&'a str),
    /// What was left of the answer's sound was thrown away.
    SoundCleared(&'a str),
    /// An event that may come at any time.
    Other,
}

/// What the pieces of a part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Written text.
    Text,
    /// Sound.
    Audio,
    /// What the sound says.
    Transcript,
}

/// A rule that an event breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "their messages say what they are")]
pub enum Violation {
    #[error("the event has the name of an earlier one, or none")]
    EventIdTwice,
    #[error("the session has to be created once, and before anything else")]
    SessionNotFirst,
    #[error("the item {0} is not known")]
    UnknownItem(String),
    #[error("the item {0} was added before")]
    AddedTwice(String),
    #[error("the item before is {0}, which is not known")]
    UnknownPrevious(String),
    #[error("the item {0} was done before")]
    DoneTwice(String),
    #[error("the person is already speaking, or stops without having begun")]
    SpeechOutOfTurn,
    #[error("the response {0} was created before")]
    CreatedTwice(String),
    #[error("the response {1} begins while {0} is under way")]
    TwoAtOnce(String, String),
    #[error("the response {0} is not under way")]
    NotUnderWay(String),
    #[error("the item {0} of the response is not open")]
    OutputNotOpen(String),
    #[error("part {1} of the item {0} is not open")]
    PartNotOpen(String, u64),
    #[error("part {1} of the item {0} was there before")]
    PartTwice(String, u64),
    #[error("something comes behind the end of its kind in the item {0}")]
    BehindItsEnd(String),
    #[error("the item {0} ends with something still open")]
    StillOpen(String),
    #[error("the item {0} of the response was not announced in the conversation, or not ended there")]
    NotInConversation(String),
    #[error("the arguments of the call {0} are not complete")]
    CallIncomplete(String),
    #[error("sound in events, where it goes beside them, or news of sound beside the events, where there is none")]
    WrongLine,
    #[error("the sound of {0} starts twice, or ends without having started")]
    SoundOutOfTurn(String),
}

/// Reads the events of one session.
#[derive(Debug)]
pub struct Grammar {
    line: Line,
    event_ids: BTreeSet<String>,
    begun: bool,
    /// The item of the person who is speaking.
    speaking: Option<String>,
    /// Every item of the conversation, and whether it is done.
    items: BTreeMap<String, bool>,
    /// Items that were deleted: what is under way about them may still come.
    deleted: BTreeSet<String>,
    /// Items that are announced, but not in the conversation yet.
    coming: BTreeSet<String>,
    /// Responses under way.
    responses: BTreeMap<String, Response>,
    ended: BTreeSet<String>,
    /// The response whose sound is leaving.
    sounding: Option<String>,
}

#[derive(Debug)]
struct Response {
    within: bool,
    outputs: BTreeMap<String, Output>,
}

#[derive(Debug, Default)]
struct Output {
    done: bool,
    /// Parts, and whether they are done.
    parts: BTreeMap<u64, bool>,
    /// What pieces there are, and whether they have ended.
    streams: BTreeMap<(u64, Stream), bool>,
    /// The pieces of a call's arguments, and whether they have ended.
    call: Option<bool>,
}

impl Grammar {
    /// Before the first event.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            event_ids: BTreeSet::new(),
            begun: false,
            speaking: None,
            items: BTreeMap::new(),
            deleted: BTreeSet::new(),
            coming: BTreeSet::new(),
            responses: BTreeMap::new(),
            ended: BTreeSet::new(),
            sounding: None,
        }
    }

    /// Takes the next event. After a violation, what comes means nothing.
    pub fn read(&mut self, event_id: &str, token: Token<'_>) -> Result<(), Violation> {
        require(!event_id.is_empty() && self.event_ids.insert(event_id.into()), || EventIdTwice)?;
        require(self.begun != (token == Token::SessionCreated), || SessionNotFirst)?;
        self.begun = true;
        match token {
            Token::SessionCreated | Token::Other => Ok(()),
            Token::SpeechStarted(item) => {
                require(self.speaking.is_none(), || SpeechOutOfTurn)?;
                self.speaking = Some(item.into());
                self.coming.insert(item.into());
                Ok(())
            }
            Token::SpeechStopped(item) => require(self.speaking.take().as_deref() == Some(item), || SpeechOutOfTurn),
            Token::Committed(item, previous) => {
                self.coming.insert(item.into());
                self.previous(previous)
            }
            Token::ItemAdded(item, previous) => self.added(item, previous),
            Token::ItemDone(item) => {
                let done = self.items.get_mut(item).ok_or_else(|| UnknownItem(item.into()))?;
                require(!std::mem::replace(done, true), || DoneTwice(item.into()))
            }
            Token::ItemDeleted(item) => {
                require(self.items.remove(item).is_some(), || UnknownItem(item.into()))?;
                self.deleted.insert(item.into());
                Ok(())
            }
            Token::Item(item) => {
                let known = self.items.contains_key(item) || self.coming.contains(item) || self.deleted.contains(item);
                require(known, || UnknownItem(item.into()))
            }
            Token::SoundStarted(response) => {
                require(self.line == Line::WebRtc, || WrongLine)?;
                require(self.sounding.replace(response.into()).is_none(), || SoundOutOfTurn(response.into()))
            }
            Token::SoundStopped(response) | Token::SoundCleared(response) => {
                require(self.line == Line::WebRtc, || WrongLine)?;
                require(self.sounding.take().as_deref() == Some(response), || SoundOutOfTurn(response.into()))
            }
            of_response => self.response(of_response),
        }
    }

    /// What must not be open when a session is left alone: responses and items that are not done.
    pub fn open(&self) -> Vec<String> {
        let items = self.items.iter().filter(|(_, done)| !**done).map(|(item, _)| item);
        items.chain(self.responses.keys()).cloned().collect()
    }

    fn previous(&self, previous: Option<&str>) -> Result<(), Violation> {
        let known = previous.is_none_or(|item| self.items.contains_key(item) || item == "root");
        require(known, || UnknownPrevious(previous.unwrap_or_default().into()))
    }

    fn added(&mut self, item: &str, previous: Option<&str>) -> Result<(), Violation> {
        self.previous(previous)?;
        self.coming.remove(item);
        require(self.items.insert(item.into(), false).is_none(), || AddedTwice(item.into()))
    }

    fn response(&mut self, token: Token<'_>) -> Result<(), Violation> {
        match token {
            Token::ResponseCreated { response, within } => {
                let again = self.ended.contains(response) || self.responses.contains_key(response);
                require(!again, || CreatedTwice(response.into()))?;
                let active = self.responses.iter().find(|(_, other)| within && other.within);
                if let Some((active, _)) = active {
                    return Err(TwoAtOnce(active.clone(), response.into()));
                }
                self.responses.insert(response.into(), Response { within, outputs: BTreeMap::new() });
                Ok(())
            }
            Token::ResponseDone(response) => {
                let ended = self.responses.remove(response).ok_or_else(|| NotUnderWay(response.into()))?;
                self.ended.insert(response.into());
                let open = ended.outputs.into_iter().find(|(_, output)| !output.done);
                open.map_or(Ok(()), |(item, _)| Err(StillOpen(item)))
            }
            Token::OutputItemAdded(response, item) => {
                let outputs = &mut self.under_way(response)?.outputs;
                require(outputs.insert(item.into(), Output::default()).is_none(), || AddedTwice(item.into()))
            }
            Token::OutputItemDone(response, item) => {
                let done_there = self.items.get(item).copied();
                let deleted = self.deleted.contains(item);
                let within = self.under_way(response)?.within;
                let output = self.output(response, item)?;
                output.done = true;
                let open = output.parts.values().chain(output.streams.values()).any(|done| !done);
                require(!open, || StillOpen(item.into()))?;
                require(output.call != Some(false), || CallIncomplete(item.into()))?;
                require(!within || deleted || done_there == Some(true), || NotInConversation(item.into()))
            }
            Token::PartAdded(response, item, part) => {
                let announced = self.items.contains_key(item) || self.deleted.contains(item);
                let within = self.under_way(response)?.within;
                require(!within || announced, || NotInConversation(item.into()))?;
                let parts = &mut self.output(response, item)?.parts;
                require(parts.insert(part, false).is_none(), || PartTwice(item.into(), part))
            }
            Token::PartDone(response, item, part) => {
                let output = self.output(response, item)?;
                let done = output.parts.get_mut(&part).ok_or_else(|| PartNotOpen(item.into(), part))?;
                require(!std::mem::replace(done, true), || PartNotOpen(item.into(), part))?;
                let open = output.streams.iter().any(|((of, _), done)| *of == part && !done);
                require(!open, || StillOpen(item.into()))
            }
            Token::Delta(response, item, part, stream) => {
                require(self.line == Line::WebSocket || stream != Stream::Audio, || WrongLine)?;
                self.piece(response, item, part, stream, false)
            }
            Token::StreamDone(response, item, part, stream) => self.piece(response, item, part, stream, true),
            Token::CallDelta(response, item) => self.call(response, item, false),
            Token::CallDone(response, item) => self.call(response, item, true),
            _ => Ok(()),
        }
    }

    fn piece(&mut self, response: &str, item: &str, part: u64, stream: Stream, last: bool) -> Result<(), Violation> {
        let output = self.output(response, item)?;
        require(output.parts.get(&part) == Some(&false), || PartNotOpen(item.into(), part))?;
        let ended = output.streams.insert((part, stream), last);
        require(ended != Some(true), || BehindItsEnd(item.into()))
    }

    fn call(&mut self, response: &str, item: &str, last: bool) -> Result<(), Violation> {
        let announced = self.items.contains_key(item) || self.deleted.contains(item);
        let within = self.under_way(response)?.within;
        require(!within || announced, || NotInConversation(item.into()))?;
        let ended = self.output(response, item)?.call.replace(last);
        require(ended != Some(true), || BehindItsEnd(item.into()))
    }

    fn under_way(&mut self, response: &str) -> Result<&mut Response, Violation> {
        self.responses.get_mut(response).ok_or_else(|| NotUnderWay(response.into()))
    }

    fn output(&mut self, response: &str, item: &str) -> Result<&mut Output, Violation> {
        let output = self.under_way(response)?.outputs.get_mut(item).filter(|output| !output.done);
        output.ok_or_else(|| OutputNotOpen(item.into()))
    }
}

fn require(kept: bool, violation: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if kept { Ok(()) } else { Err(violation()) }
}

#[cfg(test)]
mod tests {
    use super::Token::*;
    use super::*;

    /// A spoken turn, its spoken answer, and a call of a tool beside the conversation.
    const SESSION: &[Token<'static>] = &[
        SessionCreated,
        SpeechStarted("u"),
        SpeechStopped("u"),
        Committed("u", None),
        ItemAdded("u", None),
        ItemDone("u"),
        ResponseCreated { response: "r", within: true },
        OutputItemAdded("r", "a"),
        ItemAdded("a", Some("u")),
        PartAdded("r", "a", 0),
        Delta("r", "a", 0, Stream::Transcript),
        Delta("r", "a", 0, Stream::Audio),
        Item("u"),
        StreamDone("r", "a", 0, Stream::Audio),
        StreamDone("r", "a", 0, Stream::Transcript),
        PartDone("r", "a", 0),
        ItemDone("a"),
        OutputItemDone("r", "a"),
        ResponseDone("r"),
        Other,
        ResponseCreated { response: "s", within: false },
        OutputItemAdded("s", "f"),
        CallDelta("s", "f"),
        CallDone("s", "f"),
        OutputItemDone("s", "f"),
        ResponseDone("s"),
        ItemDeleted("a"),
    ];

    fn run(line: Line, tokens: &[Token<'_>]) -> Result<(), Violation> {
        let mut grammar = Grammar::new(line);
        tokens.iter().enumerate().try_for_each(|(at, token)| grammar.read(&format!("e{at}"), *token))
    }

    /// The session without the event at `left_out` and with `planted` in the place of it.
    fn planted(left_out: usize, planted: &[Token<'_>]) -> Violation {
        let (before, after) = SESSION.split_at(left_out);
        run(Line::WebSocket, &[before, planted, &after[1..]].concat()).expect_err("a violation was planted")
    }

    fn at(token: Token<'_>) -> usize {
        SESSION.iter().position(|other| *other == token).unwrap()
    }

    #[test]
    fn a_session_in_order_passes() {
        assert_eq!(run(Line::WebSocket, SESSION), Ok(()));
        let audio = |token: &&Token<'_>| !matches!(token, Delta(_, _, _, Stream::Audio));
        let mut webrtc: Vec<_> = SESSION.iter().filter(audio).copied().collect();
        webrtc.insert(10, SoundStarted("r"));
        webrtc.push(SoundStopped("r"));
        assert_eq!(run(Line::WebRtc, &webrtc), Ok(()));
        webrtc.push(SoundCleared("r"));
        assert_eq!(run(Line::WebRtc, &webrtc), Err(SoundOutOfTurn("r".into())));
    }

    #[test]
    fn what_is_open_is_told() {
        let mut grammar = Grammar::new(Line::WebSocket);
        SESSION[..=at(ItemAdded("a", Some("u")))]
            .iter()
            .enumerate()
            .for_each(|(n, token)| grammar.read(&n.to_string(), *token).unwrap());
        assert_eq!(grammar.open(), ["a", "r"]);
    }

    #[test]
    fn names_of_events_are_new() {
        let mut grammar = Grammar::new(Line::WebSocket);
        grammar.read("e", SessionCreated).unwrap();
        assert_eq!(grammar.read("e", Other), Err(EventIdTwice));
        assert_eq!(grammar.read("", Other), Err(EventIdTwice));
    }

    #[test]
    fn everything_that_is_left_out_or_planted_is_caught() {
        let (text, created) = (String::from, |response, within| ResponseCreated { response, within });
        let left_out = |token| planted(at(token), &[]);
        let twice = |token| planted(at(token), &[token, token]);
        for (found, wanted) in [
            (left_out(SessionCreated), SessionNotFirst),
            (twice(SessionCreated), SessionNotFirst),
            (left_out(SpeechStarted("u")), SpeechOutOfTurn),
            (twice(SpeechStarted("u")), SpeechOutOfTurn),
            (left_out(ItemAdded("u", None)), UnknownItem(text("u"))),
            (twice(ItemAdded("u", None)), AddedTwice(text("u"))),
            (twice(ItemDone("u")), DoneTwice(text("u"))),
            (planted(at(ItemAdded("u", None)), &[ItemDone("u"), ItemAdded("u", None)]), UnknownItem(text("u"))),
            (planted(at(ItemAdded("a", Some("u"))), &[ItemAdded("a", Some("x"))]), UnknownPrevious(text("x"))),
            (planted(at(Other), &[Item("x")]), UnknownItem(text("x"))),
            (left_out(created("r", true)), NotUnderWay(text("r"))),
            (twice(created("r", true)), CreatedTwice(text("r"))),
            (planted(at(Item("u")), &[created("q", true)]), TwoAtOnce(text("r"), text("q"))),
            (left_out(OutputItemAdded("r", "a")), OutputNotOpen(text("a"))),
            (left_out(ItemAdded("a", Some("u"))), NotInConversation(text("a"))),
            (left_out(PartAdded("r", "a", 0)), PartNotOpen(text("a"), 0)),
            (twice(PartAdded("r", "a", 0)), PartTwice(text("a"), 0)),
            (left_out(StreamDone("r", "a", 0, Stream::Audio)), StillOpen(text("a"))),
            (twice(StreamDone("r", "a", 0, Stream::Audio)), BehindItsEnd(text("a"))),
            (left_out(PartDone("r", "a", 0)), StillOpen(text("a"))),
            (planted(at(ItemDone("a")), &[Delta("r", "a", 0, Stream::Audio)]), PartNotOpen(text("a"), 0)),
            (left_out(ItemDone("a")), NotInConversation(text("a"))),
            (left_out(OutputItemDone("r", "a")), StillOpen(text("a"))),
            (planted(at(Other), &[Delta("r", "a", 0, Stream::Text)]), NotUnderWay(text("r"))),
            (twice(ResponseDone("r")), NotUnderWay(text("r"))),
            (planted(at(Other), &[created("r", true)]), CreatedTwice(text("r"))),
            (left_out(CallDone("s", "f")), CallIncomplete(text("f"))),
            (twice(CallDone("s", "f")), BehindItsEnd(text("f"))),
            (planted(at(Other), &[SoundStarted("r")]), WrongLine),
        ] {
            assert_eq!(found, wanted);
        }
        assert_eq!(run(Line::WebRtc, SESSION), Err(WrongLine));
    }
}
