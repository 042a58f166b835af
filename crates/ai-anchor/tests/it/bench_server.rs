//! The benchmark of the server, small: two conversations for a few seconds. How long anything takes is not judged.

use std::path::PathBuf;

use ai_anchor::bench::server::load::{churn, measure};
use ai_anchor::bench::server::subject::Kind;

fn anchor() -> Kind {
    Kind::Anchor(PathBuf::from(env!("CARGO_BIN_EXE_ai-anchor")))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_are_answered_and_interrupt_and_nothing_is_lost() {
    let point = measure(&anchor(), 2, 12).await.unwrap();
    assert_eq!(
        (point.refused, point.lost, point.unanswered, point.missing, &point.trouble),
        (0, 0, 0, 0, &None),
        "{point}"
    );
    assert!(point.latency.unwrap().count > 100, "{point}");
    assert!(point.first.unwrap().count >= 2 && point.silence.unwrap().count >= 1, "{point}");
    assert!(point.cpu > 0.0 && point.rss_kb > 0.0, "{point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_and_go() {
    let churn = churn(&anchor(), 2, 0.25).await.unwrap();
    assert_eq!((churn.lost, &churn.trouble), (0, &None), "{churn}");
    assert!(churn.opened > 2 && churn.latency.unwrap().count > 0, "{churn}");
    assert!(churn.slope.is_some(), "{churn}");
}

#[tokio::test]
async fn a_program_that_is_no_server_is_named() {
    let error = Kind::Pipecat("/bin/false".into()).start().await.err().unwrap();
    assert!(error.to_string().starts_with("/bin/false was started to be measured"), "{error}");
}
