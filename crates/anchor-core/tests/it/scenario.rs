//! Told conversations: does each come out as told?

use std::time::Duration;

use anchor_core::audio::{AudioFrame, Samples};
use anchor_core::engine::Role;
use anchor_core::{
    ClientCommand, Content, ContextItem, ItemId, Position, ResponseId, ResponseParams, Retention, SessionConfig,
    SessionUpdate,
};

use crate::world::{Act, Engines, Fault, World};

const QUESTION: Act = Act::Speak(1_200, "what about the bridge");

fn tell(engines: Engines, story: &[(u64, Act)], end_ms: u64) -> String {
    tell_with(SessionConfig::default(), engines, story, end_ms)
}

fn tell_with(config: SessionConfig, engines: Engines, story: &[(u64, Act)], end_ms: u64) -> String {
    let mut world = World::new(config, engines);
    world.live(story, end_ms);
    world.timeline()
}

fn ask(text: &str) -> Act {
    Act::Ask(create(None, Position::Last, Content::written(Role::User, text)))
}

fn create(id: Option<&str>, position: Position, content: Content) -> ClientCommand {
    ClientCommand::CreateItem { id: id.map(|id| ItemId(id.into())), position, content }
}

fn respond() -> Act {
    Act::Ask(ClientCommand::CreateResponse(Box::default()))
}

#[test]
fn a_question_is_answered() {
    insta::assert_snapshot!(tell(Engines::default(), &[(500, QUESTION)], 7_500));
}

#[test]
fn talking_over_the_anchor_stops_it_and_the_history_holds_what_was_heard() {
    let engines = Engines {
        answers: vec!["The bridge is open again, after two years. It cost three million.", "It will rain."],
        ..Engines::default()
    };
    let story = [(500, QUESTION), (4_000, Act::Speak(900, "and the weather"))];
    insta::assert_snapshot!(tell(engines, &story, 8_000));
}

#[test]
fn without_word_times_the_cut_is_by_share_of_the_sound() {
    let engines = Engines { words: false, ..Engines::default() };
    let story = [(500, QUESTION), (4_000, Act::Speak(900, "stop"))];
    insta::assert_snapshot!(tell(engines, &story, 5_500));
}

#[test]
fn the_clients_word_on_what_was_heard_counts() {
    let cut = ClientCommand::TruncateItem { id: ItemId("item_0002".into()), audio_end: Samples::from_ms(700) };
    let story = [
        (500, QUESTION),
        (4_000, Act::Speak(900, "stop")),
        (4_200, Act::Ask(cut)),
        (4_300, Act::Ask(ClientCommand::RetrieveItem(ItemId("item_0002".into())))),
    ];
    insta::assert_snapshot!(tell(Engines::default(), &story, 4_400));
}

#[test]
fn playout_reports_move_the_cut() {
    let story = [(500, QUESTION), (3_900, Act::Played(500)), (4_000, Act::Speak(900, "stop"))];
    insta::assert_snapshot!(tell(Engines::default(), &story, 4_300));
}

#[test]
fn a_click_is_not_a_turn() {
    insta::assert_snapshot!(tell(Engines::default(), &[(500, Act::Speak(40, ""))], 3_000));
}

#[test]
fn a_noise_while_thinking_does_not_cost_the_answer() {
    let engines = Engines { llm_ms: 1_500, ..Engines::default() };
    insta::assert_snapshot!(tell(engines, &[(500, QUESTION), (2_600, Act::Speak(200, ""))], 9_500));
}

#[test]
fn going_on_while_the_anchor_thinks_withdraws_the_answer_to_half_a_question() {
    let engines = Engines { llm_ms: 1_500, ..Engines::default() };
    let story = [(500, QUESTION), (2_600, Act::Speak(600, "and what did it cost"))];
    insta::assert_snapshot!(tell(engines, &story, 5_500));
}

#[test]
fn a_pause_inside_a_sentence_does_not_end_the_turn() {
    let story = [(500, Act::Speak(600, "what about the bridge")), (1_450, Act::Speak(500, ""))];
    insta::assert_snapshot!(tell(Engines::default(), &story, 3_000));
}

#[test]
fn where_interruption_is_off_the_anchor_finishes() {
    let mut config = SessionConfig::default();
    config.turn_detection.as_mut().unwrap().interrupt_response = false;
    let story = [(500, QUESTION), (4_000, Act::Speak(900, "and the weather"))];
    insta::assert_snapshot!(tell_with(config, Engines::default(), &story, 8_000));
}

#[test]
fn a_typed_question_is_answered_in_text() {
    let config = SessionConfig { speak: false, ..SessionConfig::default() };
    insta::assert_snapshot!(tell_with(
        config,
        Engines::default(),
        &[(100, ask("the bridge?")), (100, respond())],
        1_000
    ));
}

#[test]
fn a_second_answer_at_once_is_refused_and_so_is_cancelling_nothing() {
    let story = [
        (50, Act::Ask(ClientCommand::CancelResponse(None))),
        (100, ask("the bridge?")),
        (100, respond()),
        (300, respond()),
        (1_000, Act::Ask(ClientCommand::CancelResponse(None))),
    ];
    insta::assert_snapshot!(tell(Engines::default(), &story, 2_000));
}

#[test]
fn manual_turns_end_when_the_client_says_so() {
    let config = SessionConfig { turn_detection: None, ..SessionConfig::default() };
    let story = [
        (50, Act::Ask(ClientCommand::CommitInput)),
        (500, QUESTION),
        (1_750, Act::Ask(ClientCommand::CommitInput)),
        (1_750, respond()),
        (6_600, Act::Ask(ClientCommand::ClearInput)),
    ];
    insta::assert_snapshot!(tell_with(config, Engines::default(), &story, 6_700));
}

#[test]
fn settings_change_while_the_conversation_goes_on() {
    let update = SessionUpdate { speak: Some(false), turn_detection: Some(None), ..SessionUpdate::default() };
    let story = [(100, Act::Ask(ClientCommand::Update(Box::new(update)))), (500, QUESTION)];
    insta::assert_snapshot!(tell(Engines::default(), &story, 3_000));
}

#[test]
fn an_endless_turn_is_ended() {
    let mut world = World::new(SessionConfig::default(), Engines::default());
    world.live(&[(500, Act::Speak(130_000, "and so on"))], 125_000);
    assert!(world.timeline().contains("speech stopped: item_0001"), "{}", world.timeline());
}

#[test]
fn engines_that_fail_are_told_of_and_the_conversation_goes_on() {
    for fault in [
        Fault::SttFails,
        Fault::SttHangs,
        Fault::LlmFails,
        Fault::LlmFailsMidway,
        Fault::LlmHangs,
        Fault::TtsFails,
        Fault::TtsHangs,
    ] {
        let mut world = World::new(SessionConfig::default(), Engines { fault: Some(fault), ..Engines::default() });
        world.live(&[(500, QUESTION)], 30_000);
        assert_eq!(world.running(), 0, "{fault:?} left a job behind:\n{}", world.timeline());
        insta::assert_snapshot!(format!("{fault:?}"), world.timeline());
    }
}

#[test]
fn items_are_made_found_and_removed_by_name() {
    let id = |name: &str| ItemId(name.into());
    let create =
        |name: &str, position| Act::Ask(create(Some(name), position, Content::written(Role::System, "be brief")));
    let story = [
        (1, create("a", Position::Last)),
        (2, create("b", Position::First)),
        (3, create("b", Position::Last)),
        (4, create("c", Position::After(id("nobody")))),
        (5, Act::Ask(ClientCommand::DeleteItem(id("a")))),
        (6, Act::Ask(ClientCommand::DeleteItem(id("a")))),
        (7, Act::Ask(ClientCommand::RetrieveItem(id("b")))),
        (8, Act::Ask(ClientCommand::TruncateItem { id: id("b"), audio_end: Samples(0) })),
        (9, Act::Ask(ClientCommand::ClearInput)),
    ];
    insta::assert_snapshot!(tell(Engines::default(), &story, 20));
}

fn beside(input: Option<Vec<ContextItem>>) -> Act {
    let params = ResponseParams { out_of_band: true, input, speak: Some(false), ..ResponseParams::default() };
    Act::Ask(ClientCommand::CreateResponse(Box::new(params)))
}

fn gives(call: &str, output: &str) -> Act {
    let content = Content::CallOutput { call: call.into(), output: output.into() };
    Act::Ask(create(None, Position::Last, content))
}

#[test]
fn tools_are_called_when_what_was_said_before_was_given_out_and_their_results_are_told() {
    let engines = Engines { answers: vec!["Let me look. >clock >weather", "It is noon."], ..Engines::default() };
    let story = [
        (500, QUESTION),
        (5_000, gives("call_2", "rain")),
        (5_000, gives("call_1", "noon")),
        (5_010, gives("call_9", "nothing")),
        (5_020, respond()),
    ];
    insta::assert_snapshot!(tell(engines, &story, 7_000));
}

#[test]
fn an_answer_may_be_nothing_but_a_call() {
    let config = SessionConfig { speak: false, ..SessionConfig::default() };
    let engines = Engines { answers: vec![">clock", "Noon."], ..Engines::default() };
    let story = [(100, ask("the time?")), (100, respond()), (400, gives("call_1", "noon")), (400, respond())];
    insta::assert_snapshot!(tell_with(config, engines, &story, 1_000));
}

#[test]
fn a_call_of_an_answer_that_was_talked_over_is_not_made() {
    let engines = Engines { answers: vec!["Let me look at that for you. >clock", "Yes?"], ..Engines::default() };
    let mut world = World::new(SessionConfig::default(), engines);
    world.live(&[(500, QUESTION), (2_800, Act::Speak(900, "stop"))], 5_000);
    assert!(!world.timeline().contains("call of clock"), "{}", world.timeline());
}

#[test]
fn an_answer_that_meets_its_bound_is_incomplete() {
    let config = SessionConfig { speak: false, ..SessionConfig::default() };
    let engines = Engines { answers: vec!["The bridge is..."], ..Engines::default() };
    insta::assert_snapshot!(tell_with(config, engines, &[(100, ask("the bridge?")), (100, respond())], 1_000));
}

#[test]
fn answers_are_made_beside_the_conversation_and_are_not_told_of_in_it() {
    let input = vec![
        ContextItem::Reference(ItemId("item_0001".into())),
        ContextItem::New(Content::written(Role::User, "What is this about?")),
    ];
    let engines = Engines {
        answers: vec!["The bridge is open again.", "A bridge.", "It will rain."],
        llm_ms: 200,
        ..Engines::default()
    };
    let nobody = vec![ContextItem::Reference(ItemId("nobody".into()))];
    let story = [
        (100, ask("the bridge?")),
        (100, respond()),
        (150, beside(Some(input))),
        (160, beside(Some(nobody))),
        (5_000, ask("and the weather?")),
        (5_000, respond()),
        (5_010, beside(None)),
        (5_050, Act::Ask(ClientCommand::CancelResponse(Some(ResponseId(4))))),
        (5_060, Act::Ask(ClientCommand::CancelResponse(Some(ResponseId(4))))),
    ];
    insta::assert_snapshot!(tell(engines, &story, 8_000));
}

#[test]
fn talking_does_not_stop_what_is_made_beside_the_conversation() {
    let engines = Engines { llm_ms: 800, ..Engines::default() };
    let mut world = World::new(SessionConfig::default(), engines);
    world.live(&[(100, ask("the bridge?")), (100, beside(None)), (300, Act::Speak(900, "hello"))], 3_000);
    assert!(world.timeline().contains("response 1 done: Completed"), "{}", world.timeline());
}

#[test]
fn so_many_answers_are_made_beside_the_conversation_and_no_more() {
    let mut world = World::new(SessionConfig::default(), Engines::default());
    world.live(&vec![(100, beside(Some(Vec::new()))); 9], 200);
    let refused = "error: 8 responses beside the conversation are in progress";
    assert_eq!(world.timeline().matches(refused).count(), 1, "{}", world.timeline());
}

#[test]
fn recordings_are_transcribed_before_they_are_answered() {
    let recording = |id: &str| {
        let sound = AudioFrame::new(vec![0.1; 16_000]);
        Act::Ask(ClientCommand::CreateSpokenItem { id: Some(ItemId(id.into())), position: Position::Last, sound })
    };
    let config = SessionConfig { speak: false, turn_detection: None, ..SessionConfig::default() };
    let engines = Engines { stt_ms: 200, ..Engines::default() };
    // Each recording is understood as what the person is told to say right before it.
    let story = [
        (100, Act::Speak(0, "what about the bridge")),
        (100, recording("one")),
        (310, Act::Speak(0, "and the weather")),
        (310, recording("two")),
        (320, respond()),
        (330, beside(Some(vec![ContextItem::Reference(ItemId("two".into()))]))),
        (340, beside(Some(Vec::new()))),
    ];
    insta::assert_snapshot!(tell_with(config, engines, &story, 1_000));
}

#[test]
fn a_silence_is_broken_once_it_lasts_as_long_as_the_session_waits() {
    let mut config = SessionConfig::default();
    config.turn_detection.as_mut().unwrap().idle_timeout = Some(Duration::from_secs(6));
    let engines = Engines { answers: vec!["It is open.", "Are you there?"], ..Engines::default() };
    insta::assert_snapshot!(tell_with(config, engines, &[(8_000, QUESTION)], 20_000));
}

#[test]
fn what_is_too_much_for_the_model_is_left_out() {
    let retention = Some(Retention { most: 12, retained: 0.5 });
    let config = SessionConfig { speak: false, retention, ..SessionConfig::default() };
    let engines = Engines { answers: vec!["It is open."], ..Engines::default() };
    let story: Vec<_> =
        (0..4).flat_map(|n| [(n * 500 + 100, ask("what about the bridge?")), (n * 500 + 100, respond())]).collect();
    let mut world = World::new(config, engines);
    world.live(&story, 2_400);
    let told: Vec<usize> =
        world.log.iter().filter(|line| line.contains("llm is told")).map(|l| l.matches('|').count() + 1).collect();
    assert_eq!(told, [1, 3, 1, 3], "{}", world.timeline());
}
