//! Who has the floor: what the person did, against what the anchor is doing.

/// What the person, or the client on their behalf, did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Began to speak.
    Spoke,
    /// Finished a turn, with words in it or without.
    Finished { words: bool },
    /// Asked for an answer without a turn.
    Asked,
    /// Asked for quiet.
    Hushed,
}

/// What the anchor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Nothing.
    Idle,
    /// Nothing, but it owes an answer: it withdrew one because the person went on speaking.
    Owing,
    /// Preparing an answer of which nothing was heard yet.
    Thinking,
    /// Speaking.
    Speaking,
    /// Done, with the last moment of the answer still on its way to the ear.
    Draining,
}

/// What the session allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Answer when a turn ends.
    pub(crate) create_response: bool,
    /// Stop answering when the person speaks.
    pub(crate) interrupt_response: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Stay,
    /// Begin an answer.
    Answer,
    /// Take back an answer nobody has heard yet; it is owed.
    Withdraw,
    /// Fall silent: the person has the floor.
    Yield,
    /// Fall silent: the client asked for it.
    Hush,
    /// Only drop the sound on its way: the answer itself is complete.
    Flush,
    /// Tell the client that an answer is under way already.
    RefuseSecond,
    /// Tell the client that there is nothing to cancel.
    RefuseCancel,
}

/// The whole of the anchor's manners.
pub(crate) fn decide(act: Act, anchor: Anchor, rules: Rules) -> Action {
    match (act, anchor) {
        // A person who goes on speaking has not finished the question: an answer to half of it is of no use.
        (Act::Spoke, Anchor::Thinking) if rules.interrupt_response => Action::Withdraw,
        // Talking over the anchor stops it, also in its last moment, when only the sound is left to stop.
        (Act::Spoke, Anchor::Speaking) if rules.interrupt_response => Action::Yield,
        (Act::Spoke, Anchor::Draining) if rules.interrupt_response => Action::Flush,
        (Act::Spoke, _) => Action::Stay,

        // One answer at a time: a turn that ended while the anchor kept the floor waits for the next.
        (Act::Finished { .. }, Anchor::Thinking | Anchor::Speaking) => Action::Stay,
        (Act::Finished { words: true }, _) if rules.create_response => Action::Answer,
        // What took the floor was a noise: the question before it still wants its answer.
        (Act::Finished { words: false }, Anchor::Owing) if rules.create_response => Action::Answer,
        (Act::Finished { .. }, _) => Action::Stay,

        (Act::Asked, Anchor::Thinking | Anchor::Speaking) => Action::RefuseSecond,
        (Act::Asked, _) => Action::Answer,

        (Act::Hushed, Anchor::Thinking | Anchor::Speaking) => Action::Hush,
        (Act::Hushed, Anchor::Draining) => Action::Flush,
        (Act::Hushed, Anchor::Idle | Anchor::Owing) => Action::RefuseCancel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHORS: [Anchor; 5] = [Anchor::Idle, Anchor::Owing, Anchor::Thinking, Anchor::Speaking, Anchor::Draining];

    fn row(act: Act, create_response: bool, interrupt_response: bool) -> [Action; 5] {
        ANCHORS.map(|anchor| decide(act, anchor, Rules { create_response, interrupt_response }))
    }

    #[test]
    fn speech_takes_the_floor_where_the_session_allows_it() {
        use Action::*;
        assert_eq!(row(Act::Spoke, true, true), [Stay, Stay, Withdraw, Yield, Flush]);
        assert_eq!(row(Act::Spoke, true, false), [Stay; 5]);
    }

    #[test]
    fn a_turn_is_answered_once_and_a_noise_only_where_an_answer_is_owed() {
        use Action::*;
        assert_eq!(row(Act::Finished { words: true }, true, true), [Answer, Answer, Stay, Stay, Answer]);
        assert_eq!(row(Act::Finished { words: false }, true, true), [Stay, Answer, Stay, Stay, Stay]);
        assert_eq!(row(Act::Finished { words: true }, false, true), [Stay; 5]);
    }

    #[test]
    fn clients_get_one_answer_at_a_time_and_may_stop_it() {
        use Action::*;
        assert_eq!(row(Act::Asked, false, false), [Answer, Answer, RefuseSecond, RefuseSecond, Answer]);
        assert_eq!(row(Act::Hushed, false, false), [RefuseCancel, RefuseCancel, Hush, Hush, Flush]);
    }
}
