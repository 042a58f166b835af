//! A real browser calls over WebRTC, by the dialect alone.

use std::time::Duration;

use ai_anchor::wav;
use anchor_core::audio::OUTPUT_RATE;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::{anchor, share_of_words, spoken};

const PATIENCE: Duration = Duration::from_secs(30);

/// Calls with a microphone that is silent until it is told to play something, and notes what comes back.
const CALL: &str = "
    window.seen = { events: [], loudest: 0, began: performance.now() };
    (async () => {
        const context = new AudioContext();
        const microphone = context.createMediaStreamDestination();
        const line = new RTCPeerConnection();
        line.addTrack(microphone.stream.getTracks()[0], microphone.stream);
        line.onconnectionstatechange = () => {
            if (line.connectionState === 'connected') seen.connectedMs ??= performance.now() - seen.began;
        };
        line.ontrack = ({ streams }) => {
            // Chromium gives no sound of a remote track to Web Audio that no element plays.
            const element = new Audio();
            element.srcObject = streams[0];
            element.play();
            const analyser = context.createAnalyser();
            context.createMediaStreamSource(streams[0]).connect(analyser);
            const wave = new Float32Array(analyser.fftSize);
            setInterval(() => {
                analyser.getFloatTimeDomainData(wave);
                seen.loudest = Math.max(seen.loudest, ...wave.map(Math.abs));
            }, 20);
        };
        const channel = line.createDataChannel('oai-events');
        channel.onmessage = ({ data }) => seen.events.push(JSON.parse(data));
        channel.onclose = () => (seen.closed = true);
        await line.setLocalDescription(await line.createOffer());
        const headers = { 'Content-Type': 'application/sdp' };
        const answer = await fetch('/v1/realtime/calls', { method: 'POST', headers, body: line.localDescription.sdp });
        seen.place = answer.headers.get('Location');
        await line.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
        window.say = async (wav) => {
            const bytes = Uint8Array.from(atob(wav), (c) => c.charCodeAt(0));
            const speech = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) });
            speech.connect(microphone);
            speech.start();
        };
        setInterval(async () => {
            for (const { type, packetsLost } of (await line.getStats()).values()) if (type === 'inbound-rtp') seen.lost = packetsLost;
        }, 100);
    })();
";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_calls_asks_and_hears_the_answer() {
    let host = anchor().await;
    let question = spoken(&host, "rms", "What happened with the harbour bridge?").await;
    tokio::task::block_in_place(|| {
        let browser = Browser::start(&[], (800, 600));
        let has = |kind: &str| format!("seen.events.some(({{ type }}) => type === '{kind}')");
        browser.open(&format!("{}icon.svg", host.page()));
        browser.run(CALL, &json!(null));
        browser.wait("the greeting", &has("session.created"), PATIENCE);
        assert!(browser.eval("seen.place").as_str().unwrap().starts_with("/v1/realtime/calls/rtc_"));
        std::thread::sleep(Duration::from_millis(700));
        browser.run("say(arguments[0]);", &json!(BASE64_STANDARD.encode(wav::write(&question.samples, OUTPUT_RATE))));
        browser.wait("the answer", &has("output_audio_buffer.started"), PATIENCE);
        browser.wait("its end", &has("output_audio_buffer.stopped"), PATIENCE);
        let text = |kind: &str| {
            let text = browser.eval(&format!("seen.events.find(({{ type }}) => type === '{kind}').transcript"));
            text.as_str().unwrap().to_lowercase()
        };
        let understood = text("conversation.item.input_audio_transcription.completed");
        assert!(
            share_of_words("What happened with the harbour bridge", &understood) > 0.6,
            "understood {understood:?}"
        );
        assert!(text("response.output_audio_transcript.done").contains("bridge"));
        assert!(browser.eval("seen.loudest").as_f64().unwrap() > 0.05, "nothing was heard");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(browser.eval("seen.lost"), json!(0));
        browser.run("fetch(`${seen.place}/hangup`, { method: 'POST' });", &json!(null));
        browser.wait("the end of the call", "seen.closed === true", PATIENCE);
    });
}
