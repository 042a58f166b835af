//! What a chat model is told: the request as turns that every template accepts, cut to fit its context.
//!
//! Chat templates differ in what they allow; this is what all of them do. After the instructions, the user speaks first,
//! roles alternate, and the last word is the user's or a tool's. Whatever else happened (the anchor was cut off, the
//! operator intervened, nothing was said) stands in square brackets in a turn of the user, never in one of the anchor,
//! because a model writes on in the manner of its own turns.

use anchor_core::engine::{LlmRequest, Role, ToolCall};
use serde::Deserialize;

/// Stands where the anchor was cut off, in the place of what the user would have heard next.
const CUT_OFF: &str = "[You were cut off here. What you had in mind to say after that was not heard.]";

/// Stands for a line of the user that has no words.
const SILENCE: &str = "[Nothing was said.]";

/// Stands before an answer that comes before any question.
const OPENING: &str = "[The conversation begins. You speak first.]";

/// Asks for an answer after which the user has not spoken.
const GO_ON: &str = "[Go on.]";

/// Stands for what was left out because it does not fit.
const LEFT_OUT: &str = "[The beginning of the conversation is left out here.]";

/// Asks for the rest of an answer of a model that cannot be made to write on in its own turn.
const CONTINUE: &str = "[Go on exactly where you were cut off, in the middle of the sentence if need be. Repeat nothing of \
                        what you said and do not comment on it.]";

/// What a tool call is told to have given while that is not known: every call has to have a result.
pub(super) const NO_RESULT: &str = "The result is not known yet.";

/// Tokens a chat template puts around a turn, generously.
const AROUND_TURN: usize = 8;

/// Turns are left out in steps of so many. Servers keep what they computed for the beginning of a prompt; leaving out one
/// more turn every time would make them compute all of it anew every time.
const STEP: usize = 8;

/// How a model is made to go on with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Continues {
    /// The request ends with the anchor's own, unfinished turn.
    Prefill,
    /// The request asks for it in words.
    Ask,
}

/// How much a model takes in, in tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Its context: the prompt and the answer together.
    pub(super) context: u32,
    /// What is kept free for the answer.
    pub(super) answer: u32,
    /// What is needed beside the text, such as for sound.
    pub(super) other: u32,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// What the user said.
    User(String),
    /// What the anchor said, and what it asked of tools after it.
    Assistant(String, Vec<ToolCall>),
}

impl Turn {
    fn tokens(&self) -> usize {
        AROUND_TURN
            + match self {
                Self::User(text) => tokens(text),
                Self::Assistant(text, calls) => {
                    let call = |call: &ToolCall| {
                        let result = call.result.as_deref().unwrap_or(NO_RESULT);
                        2 * AROUND_TURN + tokens(&call.name) + tokens(&call.arguments) + tokens(result)
                    };
                    tokens(text) + calls.iter().map(call).sum::<usize>()
                }
            }
    }
}

/// A request as turns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The anchor's standing instructions; may be empty.
    pub(super) instructions: String,
    /// The conversation, the user first. The last turn is the anchor's only where it is to be continued, or called a tool.
    pub(super) turns: Vec<Turn>,
    /// The last turn is the unfinished answer.
    pub(super) prefilled: bool,
}

impl Prompt {
    /// The turns of `request` that fit. The instructions and the last question are always there.
    pub(super) fn new(request: &LlmRequest, continues: Continues, room: Room) -> Self {
        let mut prompt = Self {
            instructions: request.instructions.trim().to_owned(),
            turns: turns(request),
            prefilled: !request.so_far.is_empty() && continues == Continues::Prefill,
        };
        let mut taken = room.answer as usize + room.other as usize + AROUND_TURN + tokens(&prompt.instructions);
        for tool in &request.tools {
            taken += 2 * AROUND_TURN + tokens(&tool.name) + tokens(&tool.description) + tokens(&tool.parameters);
        }
        taken += tokens(&request.so_far) + tokens(CONTINUE) + tokens(LEFT_OUT);
        prompt.trim((room.context as usize).saturating_sub(taken));
        if matches!(prompt.turns.first(), Some(Turn::Assistant(..))) {
            prompt.turns.insert(0, Turn::User(OPENING.into()));
        }
        if !request.so_far.is_empty() {
            prompt.turns.push(Turn::Assistant(request.so_far.clone(), Vec::new()));
            if !prompt.prefilled {
                prompt.turns.push(Turn::User(CONTINUE.into()));
            }
        }
        prompt
    }

    /// Leaves out the oldest turns until those left have at most `limit` tokens; the last question stays.
    fn trim(&mut self, limit: usize) {
        let is_user = |turn: &Turn| matches!(turn, Turn::User(_));
        let last = self.turns.iter().rposition(is_user).unwrap_or(0);
        let mut left: usize = self.turns.iter().map(Turn::tokens).sum();
        let mut cut = 0;
        while left > limit && cut < last {
            left -= self.turns[cut].tokens();
            cut += 1;
        }
        if cut == 0 {
            return;
        }
        cut = cut.next_multiple_of(STEP).min(last);
        // The user speaks first.
        cut += self.turns[cut..].iter().position(is_user).unwrap_or(0);
        self.turns.drain(..cut);
        if let Some(Turn::User(text)) = self.turns.first_mut() {
            *text = format!("{LEFT_OUT}\n{text}");
        }
    }

    /// The instructions as a part of the first turn, for models that take none of their own.
    pub(super) fn fold_instructions(&mut self) {
        let instructions = std::mem::take(&mut self.instructions);
        if let (false, Some(Turn::User(text))) = (instructions.is_empty(), self.turns.first_mut()) {
            *text = format!("[Instructions: {instructions}]\n{text}");
        }
    }
}

/// The messages as turns that alternate, the last one not the anchor's unless a tool has answered it.
fn turns(request: &LlmRequest) -> Vec<Turn> {
    let mut turns = Vec::new();
    for message in &request.messages {
        let text = message.text.trim();
        match message.role {
            Role::System if text.is_empty() => {}
            Role::System => say(&mut turns, &format!("[From the operator: {text}]")),
            Role::User if text.is_empty() && request.sound.is_none() => say(&mut turns, SILENCE),
            Role::User => say(&mut turns, text),
            Role::Assistant => {
                answer(&mut turns, text, &message.calls);
                if message.interrupted {
                    say(&mut turns, CUT_OFF);
                }
            }
        }
    }
    match turns.last() {
        None => say(&mut turns, OPENING),
        Some(Turn::Assistant(_, calls)) if calls.is_empty() => say(&mut turns, GO_ON),
        Some(_) => {}
    }
    turns
}

fn say(turns: &mut Vec<Turn>, text: &str) {
    match turns.last_mut() {
        Some(Turn::User(before)) if before.is_empty() => *before = text.to_owned(),
        Some(Turn::User(before)) => *before = format!("{before}\n{text}"),
        _ => turns.push(Turn::User(text.to_owned())),
    }
}

fn answer(turns: &mut Vec<Turn>, text: &str, calls: &[ToolCall]) {
    match turns.last_mut() {
        _ if text.is_empty() && calls.is_empty() => {}
        // What was said before a tool's result stays before it.
        Some(Turn::Assistant(before, before_calls)) if before_calls.is_empty() => {
            *before = format!("{before}\n{text}").trim().to_owned();
            before_calls.extend_from_slice(calls);
        }
        _ => turns.push(Turn::Assistant(text.to_owned(), calls.to_vec())),
    }
}

/// About how many tokens a text has, rather too many than too few: one for four ASCII bytes, as English has on average,
/// and one for every other character, as the vocabularies of these models have it for the scripts they know least.
pub(super) fn tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    ascii.div_ceil(4) + text.chars().filter(|character| !character.is_ascii()).count()
}

#[cfg(test)]
mod tests {
    use anchor_core::engine::Message;

    use super::*;

    const ROOM: Room = Room { context: 8192, answer: 1024, other: 0 };

    fn request(messages: Vec<Message>) -> LlmRequest {
        LlmRequest { instructions: "Be brief.".into(), messages, ..LlmRequest::default() }
    }

    fn user(text: &str) -> Message {
        Message::new(Role::User, text)
    }

    fn anchor(text: &str) -> Message {
        Message::new(Role::Assistant, text)
    }

    fn show(prompt: &Prompt) -> String {
        let line = |turn: &Turn| match turn {
            Turn::User(text) => format!("user: {text}"),
            Turn::Assistant(text, calls) => {
                let calls: String = calls.iter().map(|call| format!(" -> {}", call.name)).collect();
                format!("anchor: {text}{calls}")
            }
        };
        prompt.turns.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn shown(request: &LlmRequest) -> String {
        show(&Prompt::new(request, Continues::Prefill, ROOM))
    }

    #[test]
    fn a_cut_off_answer_is_told_once_in_the_turn_of_the_user() {
        let cut = Message { interrupted: true, ..anchor("Here are the") };
        insta::assert_snapshot!(shown(&request(vec![user("the news"), cut, user("stop"), user("the weather")])), @"
        user: the news
        anchor: Here are the
        user: [You were cut off here. What you had in mind to say after that was not heard.]
        stop
        the weather
        ");
    }

    #[test]
    fn every_request_ends_with_something_to_answer() {
        assert_eq!(shown(&request(vec![])), format!("user: {OPENING}"));
        assert_eq!(shown(&request(vec![user(" ")])), format!("user: {SILENCE}"));
        insta::assert_snapshot!(shown(&request(vec![anchor("Good evening."), user("hello"), anchor("Hello.")])), @"
        user: [The conversation begins. You speak first.]
        anchor: Good evening.
        user: hello
        anchor: Hello.
        user: [Go on.]
        ");
        let operator = Message::new(Role::System, "Read the weather now.");
        insta::assert_snapshot!(shown(&request(vec![user("hello"), anchor("Hello."), operator])), @"
        user: hello
        anchor: Hello.
        user: [From the operator: Read the weather now.]
        ");
    }

    #[test]
    fn a_tools_result_is_answered_without_another_word() {
        let call =
            ToolCall { id: "1".into(), name: "clock".into(), arguments: "{}".into(), result: Some("6:30".into()) };
        let asked = Message { calls: vec![call], ..anchor("") };
        insta::assert_snapshot!(shown(&request(vec![user("what time is it"), anchor("Let me see."), asked])), @"
        user: what time is it
        anchor: Let me see. -> clock
        ");
    }

    #[test]
    fn an_unfinished_answer_comes_last_or_is_asked_for() {
        let request = LlmRequest { so_far: "It is ".into(), ..request(vec![user("the time?")]) };
        let prompt = Prompt::new(&request, Continues::Prefill, ROOM);
        assert_eq!((prompt.turns.last(), prompt.prefilled), (Some(&Turn::Assistant("It is ".into(), vec![])), true));
        let prompt = Prompt::new(&request, Continues::Ask, ROOM);
        assert_eq!((prompt.turns.last(), prompt.prefilled), (Some(&Turn::User(CONTINUE.into())), false));
        assert_eq!(prompt.turns[1], Turn::Assistant("It is ".into(), vec![]));
    }

    #[test]
    fn the_oldest_turns_give_way_but_never_the_instructions_or_the_question() {
        let long = "word ".repeat(80);
        let mut messages = Vec::new();
        for n in 0..20 {
            messages.extend([user(&format!("question {n} {long}")), anchor(&format!("answer {n} {long}"))]);
        }
        messages.push(user("the last question"));
        let room = Room { context: 3000, answer: 500, other: 0 };
        let prompt = Prompt::new(&request(messages.clone()), Continues::Prefill, room);
        let total: usize = prompt.turns.iter().map(Turn::tokens).sum();
        assert!((1000..2500).contains(&total), "{total}");
        assert!(show(&prompt).starts_with(&format!("user: {LEFT_OUT}\nquestion ")));
        assert_eq!(prompt.turns.last(), Some(&Turn::User("the last question".into())));

        // A few turns later it begins at the same place.
        messages.extend([anchor("Yes."), user("another")]);
        let later = Prompt::new(&request(messages.clone()), Continues::Prefill, room);
        assert_eq!(later.turns[..prompt.turns.len()], prompt.turns);

        let none = Room { context: 10, ..room };
        let prompt = Prompt::new(&request(messages), Continues::Prefill, none);
        assert_eq!((show(&prompt), prompt.instructions), (format!("user: {LEFT_OUT}\nanother"), "Be brief.".into()));
    }

    #[test]
    fn instructions_can_stand_in_the_first_turn() {
        let mut prompt = Prompt::new(&request(vec![user("hello")]), Continues::Ask, ROOM);
        prompt.fold_instructions();
        assert_eq!(
            (show(&prompt), prompt.instructions),
            ("user: [Instructions: Be brief.]\nhello".into(), String::new())
        );
    }

    #[test]
    fn tokens_are_rather_too_many() {
        assert_eq!([tokens(""), tokens("four"), tokens("fives"), tokens("grün"), tokens("你好")], [0, 1, 2, 2, 2]);
    }
}
