//! Made-up conversations: does any break a rule?
//!
//! The world itself checks that no job starts twice, is fed after its end or is cancelled twice, and that deadlines lie
//! in the future.

use std::collections::BTreeMap;
use std::time::Duration;

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::{
    ClientCommand, Content, ContextItem, Event, Item, ItemId, ItemStatus, Outcome, Position, ResponseId,
    ResponseParams, SessionConfig, SessionUpdate,
};
use proptest::prelude::*;

use crate::world::{Act, Engines, Fault, World};

fn act() -> impl Strategy<Value = Act> {
    let item = (1u32..8).prop_map(|n| ItemId(format!("item_{n:04}").into()));
    prop_oneof![
        6 => (20u64..2_500).prop_map(|length| Act::Speak(length, "what about the bridge")),
        2 => (20u64..600).prop_map(|length| Act::Speak(length, "")),
        1 => Just(Act::Ask(ClientCommand::CommitInput)),
        1 => Just(Act::Ask(ClientCommand::ClearInput)),
        1 => Just(Act::Ask(ClientCommand::CancelResponse(None))),
        2 => (any::<Option<bool>>(), any::<bool>(), prop::option::of(item.clone())).prop_map(|(speak, out_of_band, id)| {
            let input = id.map(|id| vec![ContextItem::Reference(id)]);
            let params = ResponseParams { speak, out_of_band, input, ..ResponseParams::default() };
            Act::Ask(ClientCommand::CreateResponse(Box::new(params)))
        }),
        1 => (1u64..6).prop_map(|id| Act::Ask(ClientCommand::CancelResponse(Some(ResponseId(id))))),
        1 => (1u32..4).prop_map(|n| {
            let content = Content::CallOutput { call: format!("call_{n}"), output: "noon".into() };
            Act::Ask(ClientCommand::CreateItem { id: None, position: Position::Last, content })
        }),
        1 => Just(Act::Ask(ClientCommand::CreateSpokenItem {
            id: None,
            position: Position::First,
            sound: AudioFrame::new(vec![0.1; 8_000]),
        })),
        1 => item.clone().prop_map(|id| Act::Ask(ClientCommand::DeleteItem(id))),
        1 => (item, 0u64..5_000).prop_map(|(id, ms)| {
            Act::Ask(ClientCommand::TruncateItem { id, audio_end: Samples::from_ms(ms) })
        }),
        1 => any::<bool>().prop_map(|manual| {
            let detection = (!manual).then(Default::default);
            Act::Ask(ClientCommand::Update(Box::new(SessionUpdate { turn_detection: Some(detection), ..Default::default() })))
        }),
        1 => (0u64..5_000).prop_map(Act::Played),
    ]
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Fault::SttFails)),
        1 => Just(Some(Fault::LlmFailsMidway)),
        1 => Just(Some(Fault::TtsFails)),
        1 => Just(Some(Fault::TtsHangs)),
    ]
}

/// What is left to be told of a response.
struct Open {
    out_of_band: bool,
    /// Items so far; the last one may be open.
    items: Vec<Item>,
}

/// Every response is created, then done, its items follow one another in between, and at most one response in the
/// conversation is open.
fn check_responses(events: &[Event]) {
    let mut open: BTreeMap<ResponseId, Open> = BTreeMap::new();
    let in_progress = |open: &Open| open.items.last().is_some_and(|item| item.status == ItemStatus::InProgress);
    for event in events {
        match event {
            Event::ResponseCreated { response, out_of_band } => {
                let second = open.values().any(|open| !open.out_of_band) && !out_of_band;
                assert!(!second, "two responses in the conversation at once");
                let new = Open { out_of_band: *out_of_band, items: Vec::new() };
                assert!(open.insert(*response, new).is_none(), "a response was created twice");
            }
            Event::OutputAdded { response, index, item, previous } => {
                let open = open.get_mut(response).expect("an item of a response that is over");
                assert!(!in_progress(open), "an item within an item");
                assert_eq!(*index as usize, open.items.len(), "an index was left out");
                assert_eq!(item.status, ItemStatus::InProgress);
                assert!(!open.out_of_band || previous.is_none(), "it has no place in the conversation");
                open.items.push(item.clone());
            }
            Event::AnswerText { response, .. } => {
                let open = &open[response];
                assert!(
                    in_progress(open) && matches!(open.items[0].content, Content::Message { .. }),
                    "text of nothing"
                );
            }
            Event::OutputDone { response, index, item, .. } => {
                let open = open.get_mut(response).expect("an item of a response that is over");
                assert!(in_progress(open), "an item ended twice");
                assert_eq!(*index as usize + 1, open.items.len());
                assert_ne!(item.status, ItemStatus::InProgress);
                assert_eq!(open.items.pop().map(|item| item.id).as_ref(), Some(&item.id), "another item ended");
                open.items.push(item.clone());
            }
            Event::ResponseDone { response, outcome, output, .. } => {
                let open = open.remove(response).expect("a response ended that was not under way");
                assert_eq!(*output, open.items, "the output is what was told of");
                let calls = output.iter().any(|item| matches!(item.content, Content::Call { .. }));
                assert!(!calls || *outcome == Outcome::Completed, "a call of an answer that was stopped");
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_breaks_a_rule(
        story in prop::collection::vec((0u64..1_500, act()), 1..14),
        fault in fault(),
        words in any::<bool>(),
        (answers, idle) in (any::<bool>(), any::<bool>()),
        delays in (0u64..400, 0u64..900, 0u64..400),
    ) {
        let (stt_ms, llm_ms, tts_ms) = delays;
        let mut config = SessionConfig::default();
        if let Some(rules) = &mut config.turn_detection {
            // Without answers it is a session that transcribes.
            rules.create_response = answers;
            rules.idle_timeout = (idle && answers).then_some(Duration::from_secs(60));
        }
        let said = vec!["The bridge is open again. It cost three million. >clock", ">clock >clock", "Nobody knows..."];
        let mut world =
            World::new(config, Engines { stt_ms, llm_ms, tts_ms, words, fault, answers: said });
        let mut at = 0;
        let story: Vec<_> = story.into_iter().map(|(pause, act)| { at += pause; (at, act) }).collect();
        world.live(&story, at + 45_000);
        check_responses(&world.events);
        // An open manual turn keeps the recogniser listening; everything else has ended by now.
        prop_assert!(world.running() <= 1, "{}", world.timeline());
    }

    #[test]
    fn a_clean_question_is_always_answered_aloud(
        before in prop::collection::vec((0u64..1_500, act()), 0..8),
    ) {
        let mut world = World::new(SessionConfig::default(), Engines::default());
        let mut at = 0;
        let mut story: Vec<_> = before.into_iter().map(|(pause, act)| { at += pause; (at, act) }).collect();
        let detect = SessionUpdate { turn_detection: Some(Some(Default::default())), ..Default::default() };
        story.push((at + 10_000, Act::Ask(ClientCommand::Update(Box::new(detect)))));
        story.push((at + 10_000, Act::Ask(ClientCommand::ClearInput)));
        story.push((at + 11_000, Act::Speak(1_000, "what about the bridge")));
        world.live(&story, at + 19_000);
        prop_assert!(world.newest_played_ms() > 3_000, "{}", world.timeline());
    }
}
