//! Made-up conversations: does any break a rule?
//!
//! The world itself checks that no job starts twice, is fed after its end or is cancelled twice, and that deadlines lie
//! in the future.

use anchor_core::audio::Samples;
use anchor_core::{ClientCommand, Event, ItemId, ItemStatus, ResponseId, ResponseParams, SessionConfig, SessionUpdate};
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
        1 => any::<Option<bool>>()
            .prop_map(|speak| Act::Ask(ClientCommand::CreateResponse(ResponseParams { speak, ..ResponseParams::default() }))),
        1 => item.clone().prop_map(|id| Act::Ask(ClientCommand::DeleteItem(id))),
        1 => (item, 0u64..5_000).prop_map(|(id, ms)| {
            Act::Ask(ClientCommand::TruncateItem { id, audio_end: Samples::from_ms(ms) })
        }),
        1 => any::<bool>().prop_map(|manual| {
            let detection = (!manual).then(Default::default);
            Act::Ask(ClientCommand::Update(SessionUpdate { turn_detection: Some(detection), ..Default::default() }))
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

/// Every response is created, then done, and at most one is between the two.
fn check_responses(events: &[Event]) {
    let mut active: Option<ResponseId> = None;
    for event in events {
        match event {
            Event::ResponseCreated { response, .. } => {
                assert_eq!(active.replace(*response), None, "two responses at once");
            }
            Event::ResponseDone { response, output, .. } => {
                assert_eq!(active.take(), Some(*response), "a response ended that was not under way");
                assert!(output.iter().all(|item| item.status != ItemStatus::InProgress));
            }
            Event::AnswerText { response, .. } | Event::OutputAdded { response, .. } => {
                assert_eq!(active, Some(*response), "text of a response that is over");
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
        delays in (0u64..400, 0u64..900, 0u64..400),
    ) {
        let (stt_ms, llm_ms, tts_ms) = delays;
        let mut world =
            World::new(SessionConfig::default(), Engines { stt_ms, llm_ms, tts_ms, words, fault, ..Engines::default() });
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
        story.push((at + 10_000, Act::Ask(ClientCommand::Update(detect))));
        story.push((at + 10_000, Act::Ask(ClientCommand::ClearInput)));
        story.push((at + 11_000, Act::Speak(1_000, "what about the bridge")));
        world.live(&story, at + 19_000);
        prop_assert!(world.newest_played_ms() > 3_000, "{}", world.timeline());
    }
}
