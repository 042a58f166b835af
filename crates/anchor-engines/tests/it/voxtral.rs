//! The recognisers behind vLLM against a server that speaks its protocol and fails in every way it can.

use std::sync::Arc;
use std::time::Duration;

use anchor_core::audio::AudioFrame;
use anchor_core::engine::{EngineError, Stt, SttEvent, SttRequest};
use anchor_core::rundown::OnAir;
use anchor_engines::LoadContext;
use anchor_engines::slot::find;
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::servers::vllm::{Asked, MODEL, Vllm};
use crate::servers::{Server, Trouble};

const TEXT: &str = "What is the weather going to be in Selmouth tomorrow?";
const TURNS: &str = "voxtral-vllm";
const REALTIME: &str = "voxtral-realtime";

fn load(engine: &str, options: &str) -> Arc<dyn Stt> {
    let options = options.parse().expect("a table");
    let context = LoadContext { rundown: watch::channel(OnAir::default()).1, options };
    (find::<dyn Stt>(engine).unwrap().load)(&context).unwrap()
}

/// The engine with short patience, and no hypotheses unless a test wants them.
fn quick(engine: &str, server: &Server) -> Arc<dyn Stt> {
    let own = if engine == TURNS { "partial_interval_ms = 0\n" } else { "" };
    load(engine, &format!("{}first_ms = 400\nbetween_ms = 200\n{own}", server.options()))
}

/// A turn of this length, all at once.
async fn heard(stt: &dyn Stt, milliseconds: usize) -> Vec<Result<SttEvent, EngineError>> {
    let frames = vec![AudioFrame::new(vec![0.1; 320]); milliseconds / 20];
    let events = stt.transcribe(SttRequest::default(), stream::iter(frames).boxed()).collect();
    timeout(Duration::from_secs(20), events).await.expect("it ends")
}

fn text(events: &[Result<SttEvent, EngineError>]) -> &str {
    match events.last() {
        Some(Ok(SttEvent::Final(text))) => text,
        other => panic!("no final transcript but {other:?}"),
    }
}

fn error(events: &[Result<SttEvent, EngineError>], server: &Server) -> String {
    let error = events.last().expect("an event").as_ref().expect_err("an error").to_string();
    error.replace(&server.url(), "http://vllm")
}

#[tokio::test]
async fn a_turn_is_transcribed_with_its_language_and_key() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    let stt = load(TURNS, &format!("{}api_key = 'sesame'", server.options()));
    let request = SttRequest { language: Some("de-AT".into()), prompt: None };
    let frames = vec![AudioFrame::new(vec![0.1; 320]); 200];
    let events: Vec<_> = stt.transcribe(request, stream::iter(frames).boxed()).collect().await;
    assert_eq!(text(&events), TEXT);
    let key = Some("Bearer sesame".to_owned());
    let language = Some("de".to_owned());
    assert_eq!(vllm.asked(), [Asked { model: MODEL.into(), language, stream: true, milliseconds: 4000, key }]);
}

#[tokio::test]
async fn servers_that_do_not_stream_are_understood() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    vllm.answer_whole();
    assert_eq!(text(&heard(&*quick(TURNS, &server), 4000).await), TEXT);
}

#[tokio::test]
async fn words_are_shown_while_they_are_spoken_and_not_taken_back() {
    for engine in [TURNS, REALTIME] {
        let (vllm, server) = Vllm::serve(TEXT).await;
        let own = if engine == TURNS { "partial_interval_ms = 100" } else { "" };
        let stt = load(engine, &format!("{}{own}", server.options()));
        let start = Instant::now();
        let (microphone, audio) = mpsc::unbounded();
        let mut events = stt.transcribe(SttRequest::default(), audio.boxed());
        let speaking = tokio::spawn(async move {
            for _ in 0..200 {
                // Ten times as fast as a person.
                sleep(Duration::from_millis(2)).await;
                microphone.unbounded_send(AudioFrame::new(vec![0.1; 320])).unwrap();
            }
        });
        let mut shown: Vec<String> = Vec::new();
        let mut partials_before_the_end = 0;
        while let Some(event) = timeout(Duration::from_secs(5), events.next()).await.unwrap() {
            match event.unwrap() {
                SttEvent::Partial(text) => {
                    partials_before_the_end += usize::from(!speaking.is_finished());
                    shown.push(text);
                }
                SttEvent::Final(text) => assert_eq!(text, TEXT),
            }
        }
        assert!(partials_before_the_end >= 2, "{engine}: {shown:?}");
        for pair in shown.windows(2) {
            let settled = pair[0].trim_end_matches(|c: char| !c.is_alphanumeric());
            assert!(pair[1].starts_with(settled) && pair[0] != pair[1], "{engine}: {pair:?}");
        }
        if engine == TURNS {
            // Hypotheses come at a bounded rate: 100 ms between them at the least, and the last request.
            let most = start.elapsed().as_millis() as usize / 100 + 1;
            assert!((3..=most).contains(&vllm.asked().len()), "{} requests", vllm.asked().len());
        }
    }
}

#[tokio::test]
async fn a_turn_without_sound_is_empty_and_asks_nobody() {
    for engine in [TURNS, REALTIME] {
        let (vllm, server) = Vllm::serve(TEXT).await;
        assert_eq!(heard(&*quick(engine, &server), 0).await, [Ok(SttEvent::Final(String::new()))]);
        assert_eq!(vllm.asked(), []);
        let quiet = [0.0, 0.0005].map(|level| AudioFrame::new([level, -level].repeat(8_000)));
        let empty = AudioFrame::new(vec![]);
        let frames = [quiet[0].clone(), empty, quiet[1].clone()];
        let stt = load(engine, &server.options());
        let events: Vec<_> = stt.transcribe(SttRequest::default(), stream::iter(frames).boxed()).collect().await;
        assert_eq!(events, [Ok(SttEvent::Final(String::new()))], "{engine}");
        assert_eq!(vllm.asked(), []);
    }
}

#[tokio::test]
async fn sound_may_be_very_short_or_begin_late() {
    let (vllm, server) = Vllm::serve("Yes.").await;
    for engine in [TURNS, REALTIME] {
        let click = AudioFrame::new(vec![0.1; 320]);
        let silence = vec![AudioFrame::new(vec![0.0; 320]); 100];
        let frames = [silence, vec![click.clone(), AudioFrame::new(vec![]), click]].concat();
        let events = quick(engine, &server).transcribe(SttRequest::default(), stream::iter(frames).boxed());
        assert_eq!(text(&events.collect::<Vec<_>>().await), "Yes.", "{engine}");
    }
    assert_eq!(text(&heard(&*quick(TURNS, &server), 20).await), "Yes.");
    // The realtime model is spared all silence but half a second of it; a tenth of a second is the least a server takes.
    assert_eq!(vllm.asked().iter().map(|asked| asked.milliseconds).collect::<Vec<_>>(), [2040, 540, 100]);
}

#[tokio::test]
async fn turns_share_a_connection_that_is_kept() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    let stt = quick(TURNS, &server);
    for _ in 0..4 {
        assert_eq!(text(&heard(&*stt, 4000).await), TEXT);
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!((server.open(), vllm.asked().len()), (1, 4));
}

#[tokio::test]
async fn turns_do_not_wait_for_each_other() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    let stt = load(TURNS, &format!("{}partial_interval_ms = 0", server.options()));
    for _ in 0..30 {
        vllm.troubles.push(Trouble::Slow(Duration::from_millis(20)));
    }
    let start = Instant::now();
    let turns = futures::future::join_all((0..30).map(|_| heard(&*stt, 4000))).await;
    assert!(turns.iter().all(|events| text(events) == TEXT));
    // One alone takes eleven pieces of 20 ms; one after the other they would take more than six seconds.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_end_of_a_turn_does_not_wait_for_a_hypothesis() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    vllm.troubles.push(Trouble::Hangs);
    let stt = load(TURNS, &format!("{}partial_interval_ms = 20", server.options()));
    let (microphone, audio) = mpsc::unbounded();
    let mut events = stt.transcribe(SttRequest::default(), audio.boxed());
    microphone.unbounded_send(AudioFrame::new(vec![0.1; 64_000])).unwrap();
    assert!(timeout(Duration::from_millis(200), events.next()).await.is_err());
    assert_eq!(vllm.asked().len(), 1);
    let start = Instant::now();
    drop(microphone);
    assert_eq!(text(&events.collect::<Vec<_>>().await), TEXT);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    // The hypothesis' connection is closed, the last request's is kept.
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.open(), 1);
}

#[tokio::test]
async fn a_long_turn_is_one_turn() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    let stt = load(TURNS, &server.options());
    assert_eq!(text(&heard(&*stt, 120_000).await), TEXT);
    assert_eq!(vllm.asked().last().unwrap().milliseconds, 120_000);
}

#[tokio::test]
async fn what_breaks_before_the_end_is_tried_again() {
    let troubles = [
        Trouble::Refuses(503, r#"{"error":{"message":"overloaded"}}"#.into()),
        Trouble::Hangs,
        Trouble::BreaksAfter(0),
        Trouble::BreaksAfter(2),
        Trouble::StopsAfter(2),
        Trouble::SaysAfter(2, "data: {\"error\":{\"message\":\"CUDA out of memory\"}}\n\n".into()),
        Trouble::SaysAfter(1, "data: {\"choi".into()),
        Trouble::SaysAfter(2, String::new()),
    ];
    for trouble in troubles {
        let (vllm, server) = Vllm::serve(TEXT).await;
        vllm.troubles.push(trouble.clone());
        let events = heard(&*quick(TURNS, &server), 4000).await;
        assert_eq!(text(&events), TEXT, "{trouble:?}");
        assert_eq!(vllm.asked().len(), 2, "{trouble:?}");
    }
}

#[tokio::test]
async fn what_stays_broken_is_an_error_that_says_what() {
    let (vllm, server) = Vllm::serve(TEXT).await;
    let stt = quick(TURNS, &server);
    let mut said = Vec::new();
    for trouble in [
        Trouble::Refuses(503, r#"{"error":{"message":"overloaded"}}"#.into()),
        Trouble::Hangs,
        Trouble::Refuses(400, r#"{"error":{"message":"Maximum file size exceeded"}}"#.into()),
        Trouble::Refuses(401, r#"{"error":"Unauthorized"}"#.into()),
        Trouble::Refuses(404, r#"{"detail":"Not Found"}"#.into()),
    ] {
        for _ in 0..2 {
            vllm.troubles.push(trouble.clone());
        }
        said.push(error(&heard(&*stt, 1000).await, &server));
        while vllm.troubles.next().is_some() {}
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    voxtral-vllm failed: http://vllm: overloaded (503 Service Unavailable)
    voxtral-vllm failed: http://vllm: nothing came within 400 ms
    voxtral-vllm failed: the server refuses the request: Maximum file size exceeded (400 Bad Request)
    voxtral-vllm cannot be used: the server does not let it in: Unauthorized (401 Unauthorized). Set the right `api_key` in the engine's options.
    voxtral-vllm cannot be used: the server has no transcription by the model mistralai/Voxtral-Mini-3B-2507 (Not Found). Start a server of that model, or set `url` and `model` in the options of voxtral-vllm.
    ");
    assert_eq!(text(&heard(&*stt, 4000).await), TEXT);
}

#[tokio::test]
async fn a_second_endpoint_takes_over_and_the_load_is_shared() {
    let (first, mut down) = Vllm::serve("from the first").await;
    let (second, up) = Vllm::serve("from the second").await;
    let options = format!("url = ['{}', '{}']\npartial_interval_ms = 0\nfirst_ms = 1000", down.url(), up.url());
    let stt = load(TURNS, &options);
    first.troubles.push(Trouble::Slow(Duration::from_millis(100)));
    let (a, b) = tokio::join!(heard(&*stt, 1000), heard(&*stt, 1000));
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1), "{a:?} {b:?}");
    down.kill().await;
    for _ in 0..3 {
        assert_eq!(text(&heard(&*stt, 1000).await), "from the second");
    }
}

#[tokio::test]
async fn dropping_a_turn_closes_its_connection() {
    for engine in [TURNS, REALTIME] {
        let (vllm, server) = Vllm::serve(TEXT).await;
        vllm.troubles.push(Trouble::StopsAfter(0));
        let stt = load(engine, &server.options());
        let frames = vec![AudioFrame::new(vec![0.1; 320]); 100];
        let mut events = stt.transcribe(SttRequest::default(), stream::iter(frames).boxed());
        let waiting = timeout(Duration::from_millis(300), events.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        let open = || if engine == TURNS { server.open() } else { vllm.sessions() };
        assert_eq!(open(), 1, "{engine}");
        drop(events);
        let deadline = Instant::now() + Duration::from_secs(2);
        while open() > 0 {
            assert!(Instant::now() < deadline, "{engine} keeps its connection");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_realtime_session_that_fails_says_how() {
    let (vllm, mut server) = Vllm::serve(TEXT).await;
    let stt = quick(REALTIME, &server);
    assert_eq!(text(&heard(&*stt, 4000).await), TEXT);
    let mut said = Vec::new();
    for trouble in [
        Trouble::Hangs,
        Trouble::StopsAfter(3),
        Trouble::BreaksAfter(3),
        Trouble::SaysAfter(3, r#"{"type":"error","error":"Model not found","code":"model_not_found"}"#.into()),
        Trouble::SaysAfter(3, "{half".into()),
    ] {
        vllm.troubles.push(trouble);
        said.push(error(&heard(&*stt, 4000).await, &server));
    }
    server.kill().await;
    said.push(error(&heard(&*stt, 4000).await, &server));
    insta::assert_snapshot!(said.join("\n"), @r"
    voxtral-realtime failed: http://vllm: it did not greet in time
    voxtral-realtime failed: the end of the transcript did not come in time
    voxtral-realtime failed: the connection ended in the middle of a turn
    voxtral-realtime cannot be used: the server does not serve the model mistralai/Voxtral-Mini-4B-Realtime-2602 (Model not found). Start a server of that model, or set `url` and `model` in the options of voxtral-realtime.
    voxtral-realtime failed: the server's answer cannot be read: key must be a string at line 1 column 2
    voxtral-realtime failed: http://vllm: no connection (IO error: Connection refused (os error 111))
    ");
    server.revive().await;
    assert_eq!(text(&heard(&*stt, 4000).await), TEXT);
}

#[tokio::test]
async fn a_realtime_server_behind_tls_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = format!("url = 'https://{}'\nfirst_ms = 2000\n", listener.local_addr().unwrap());
    let stt = load(REALTIME, &options);
    let (heard, hello) = futures::join!(heard(&*stt, 1000), async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // RFC 8446, 5.1: a record of type 22 is a handshake; its first message, of type 1, is the client's hello.
        let mut hello = [0; 6];
        socket.read_exact(&mut hello).await.unwrap();
        hello
    });
    assert_eq!((hello[0], hello[5]), (22, 1));
    assert!(matches!(heard.last(), Some(Err(EngineError::Failed { .. }))), "a server that hangs up is no server");
}

#[tokio::test]
async fn a_probe_knows_the_model() {
    for engine in [TURNS, REALTIME] {
        let (_vllm, mut server) = Vllm::serve(TEXT).await;
        assert_eq!(quick(engine, &server).probe().await, Ok(()));
        let wrong = load(engine, &format!("{}model = 'no/such'", server.options()));
        let said = wrong.probe().await.unwrap_err().to_string().replace(&server.url(), "http://vllm");
        assert_eq!(
            said,
            format!(
                "{engine} cannot be used: the server at http://vllm does not serve the model no/such. It serves \
                 mistralai/Voxtral-Mini-3B-2507, mistralai/Voxtral-Mini-4B-Realtime-2602: set `model` in the options of {engine}."
            )
        );
        server.kill().await;
        assert!(matches!(quick(engine, &server).probe().await, Err(EngineError::Failed { .. })));
    }
}
