//! Language models that break off within an answer.

use anchor_core::engine::ToolCall;

use super::*;

async fn events(chain: &Chain<dyn Llm>) -> Vec<LlmEvent> {
    chain.generate(LlmRequest::default()).map(Result::unwrap).collect().await
}

fn text(events: &[LlmEvent]) -> String {
    let deltas = events.iter().filter_map(|event| match event {
        LlmEvent::Delta(delta) => Some(&**delta),
        _ => None,
    });
    deltas.collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_goes_on_behind_the_last_whole_word() {
    for (second, so_far) in
        [("bridge is open.", "The old"), (" bridge is open.", "The old"), ("The old bridge is open.", "The old")]
    {
        for trouble in [Step::Fail, Step::Stall, Step::Panic] {
            let board = Board::default();
            let good = Model::new("good", &[&[says("The o"), says("ld bri"), trouble]]);
            let spare = Model::new("spare", &[&[says(second)]]);
            let chain = chain_of(&board, &[&good, &spare]);
            assert_eq!(answer(&chain).await.unwrap(), "The old bridge is open.", "{second}");
            assert_eq!(spare.asked.lock().unwrap()[0].so_far, so_far);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_first_word_the_next_starts_afresh() {
    let board = Board::default();
    let good = Model::new("good", &[&[says("Th"), Step::Fail]]);
    let spare = Model::new("spare", &[&[says("It is open.")]]);
    assert_eq!(answer(&chain_of(&board, &[&good, &spare])).await.unwrap(), "It is open.");
    assert_eq!(spare.asked.lock().unwrap()[0].so_far, "");
}

#[tokio::test(start_paused = true)]
async fn stories_stay_where_they_were_told_of() {
    let story = |slug: &str| LlmEvent::Source(slug.into());
    let board = Board::default();
    let good = Model::new(
        "good",
        &[&[Step::Give(story("bridge")), says("It is open."), Step::Give(story("ferry")), says(" It "), Step::Fail]],
    );
    let spare = Model::new("spare", &[&[Step::Give(story("flood")), says("stops.")]]);
    let events = events(&chain_of(&board, &[&good, &spare])).await;
    let at = |slug: &str| events.iter().position(|event| *event == story(slug)).unwrap();
    assert_eq!(text(&events[..at("ferry")]), "It is open.");
    assert_eq!(text(&events[..at("flood")]), "It is open. It ");
    assert_eq!(text(&events), "It is open. It stops.");
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_not_called_twice() {
    let call = LlmEvent::ToolCall(ToolCall { id: "1".into(), name: "x".into(), arguments: "{}".into(), result: None });
    let board = Board::default();
    let good = Model::new("good", &[&[Step::Give(call.clone()), Step::Fail]]);
    let spare = Model::new("spare", &[&[Step::Give(call.clone())]]);
    assert_eq!(events(&chain_of(&board, &[&good, &spare])).await, [call]);
    assert_eq!((spare.asked(), told(&board).len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn three_in_a_row_write_one_answer() {
    let whole = "One two. Three four five. Six seven.";
    for first in 0..whole.len() {
        for second in first..whole.len() {
            let board = Board::default();
            let one = Model::new("one", &[&[says(&whole[..first]), Step::Fail]]);
            let begin = |text: &str| text.rfind(' ').map_or(0, |at| at + 1);
            // The second writes on from the last word the first began, and breaks off, too.
            let (from, until) = (begin(&whole[..first]), begin(&whole[..second]));
            let two = Model::new("two", &[&[says(&whole[from..second]), Step::Fail]]);
            let three = Model::new("three", &[&[says(&whole[until..])]]);
            let chain = chain_of(&board, &[&one, &two, &three]);
            assert_eq!(answer(&chain).await.unwrap(), whole, "{first} {second}");
        }
    }
}
