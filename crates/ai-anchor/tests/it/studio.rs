//! The studio page in a real browser: with a microphone that plays a file, and with one that reacts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ai_anchor::bench::person::{Noise, ROOM_NOISE_DBFS};
use ai_anchor::wav;
use anchor_core::audio::OUTPUT_RATE;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::{anchor, share_of_words, spoken};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where pictures of the page are left for people to look at.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("studio").join(format!("{name}.png"))
}

/// The text of the last caption of a speaker, `user` or `anchor`.
fn last_caption(browser: &Browser, speaker: &str) -> String {
    let text =
        format!("[...document.querySelectorAll('#captions .caption.{speaker} .caption-text')].at(-1)?.textContent");
    browser.eval(&text).as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_asks_and_the_page_shows_and_sounds_the_answer() {
    let host = anchor().await;
    let question = spoken(&host, "rms", "What happened with the harbour bridge?").await;
    let lead = vec![0.0; OUTPUT_RATE as usize * 3];
    let rest = vec![0.0; OUTPUT_RATE as usize * 60];
    let noise = Noise::new(ROOM_NOISE_DBFS);
    let sound =
        [&lead, &question.samples, &rest].into_iter().flatten().zip(noise).map(|(sample, noise)| sample + noise);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("question.wav");
    std::fs::write(&file, wav::write(&sound.collect::<Vec<_>>(), OUTPUT_RATE)).unwrap();

    tokio::task::block_in_place(|| {
        let switches = [
            "--use-fake-ui-for-media-stream".to_owned(),
            "--use-fake-device-for-media-stream".to_owned(),
            format!("--use-file-for-fake-audio-capture={}%noloop", file.display()),
        ];
        let browser = Browser::start(&switches, (1280, 900));
        browser.open(&host.page());
        browser.wait("the line", "anchorStudio.stats.connected", PATIENCE);
        browser.wait("the rundown", "document.querySelectorAll('#rundown .story').length === 8", PATIENCE);
        browser.eval("document.getElementById('start').click()");
        browser.wait("the answer", "anchorStudio.state === 'speaking'", PATIENCE);
        browser.wait("its sound", "anchorStudio.stats.lastOutputPeak > 0.05", PATIENCE);
        browser.wait(
            "the story on air",
            "document.querySelector('#rundown .story[aria-current]')?.textContent.toLowerCase().includes('bridge') === true",
            PATIENCE,
        );
        browser.screenshot(&picture("speaking"));
        let understood = last_caption(&browser, "user");
        assert!(
            share_of_words("What happened with the harbour bridge", &understood) > 0.6,
            "understood {understood:?}"
        );
        browser.wait("the end of the answer", "anchorStudio.state === 'listening'", PATIENCE * 2);
        assert!(last_caption(&browser, "anchor").to_lowercase().contains("bridge"));
        assert!(browser.eval("anchorStudio.stats.playedMs").as_f64().unwrap() > 2_000.0);
        assert_eq!(browser.eval("document.querySelectorAll('#latency > li').length"), json!(1));
        assert_eq!(browser.eval("document.querySelectorAll('#error > *').length"), json!(0), "a problem is shown");
        assert_eq!(browser.console(), "");
    });
}

/// A microphone in the page's own hands: silence with a little noise, and whatever it is told to play.
const REACTIVE_MICROPHONE: &str = "
    navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext();
        const out = context.createMediaStreamDestination();
        const noise = context.createBuffer(1, context.sampleRate, context.sampleRate);
        const samples = noise.getChannelData(0);
        for (let n = 0; n < samples.length; n += 1) samples[n] = (Math.random() - 0.5) * 0.003;
        const room = new AudioBufferSourceNode(context, { buffer: noise, loop: true });
        room.connect(out);
        room.start();
        window.testMicrophone = async (wav) => {
            const bytes = Uint8Array.from(atob(wav), (c) => c.charCodeAt(0));
            const speech = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) });
            speech.connect(out);
            speech.start();
        };
        return out.stream;
    };
";

#[tokio::test(flavor = "multi_thread")]
async fn talking_over_the_page_silences_it_and_shows_what_was_not_heard() {
    let host = anchor().await;
    let question = spoken(&host, "rms", "What happened with the harbour bridge?").await;
    let interruption = spoken(&host, "rms", "Stop there, please.").await;
    tokio::task::block_in_place(|| {
        let browser = Browser::start(&[], (390, 844));
        let say = |samples: &[f32]| {
            let wav = BASE64_STANDARD.encode(wav::write(samples, OUTPUT_RATE));
            browser.run("testMicrophone(arguments[0]);", &json!(wav));
        };
        browser.before_pages(REACTIVE_MICROPHONE);
        browser.open(&host.page());
        browser.wait("the line", "anchorStudio.stats.connected", PATIENCE);
        browser.eval("document.getElementById('start').click()");
        browser.wait("the microphone", "anchorStudio.state === 'listening' && !!window.testMicrophone", PATIENCE);
        std::thread::sleep(Duration::from_millis(700));
        say(&question.samples);
        browser.wait("the answer's sound", "anchorStudio.stats.lastOutputPeak > 0.05", PATIENCE);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(browser.eval("anchorStudio.stats.flushes"), json!(0));
        say(&interruption.samples);
        let asked = Instant::now();
        browser.wait("silence", "anchorStudio.stats.flushes === 1", PATIENCE);
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?} to fall silent", asked.elapsed());
        // The flush fades for a few milliseconds, and a level is told of every 20.
        std::thread::sleep(Duration::from_millis(60));
        for _ in 0..10 {
            let peak = browser.eval("anchorStudio.stats.lastOutputPeak").as_f64().unwrap();
            assert!(peak < 0.01, "sound goes on after the interruption, at {peak}");
            std::thread::sleep(Duration::from_millis(20));
        }
        browser.wait("the unheard rest", "!!document.querySelector('#captions .interrupted .unheard')", PATIENCE);
        browser.screenshot(&picture("interrupted"));
        browser.wait("the next turn", "anchorStudio.stats.turns.length === 2", PATIENCE);
        let heard =
            browser.eval("document.querySelector('#captions .interrupted .caption-text').firstChild.textContent");
        assert!(heard.as_str().unwrap().len() > 5, "{heard}");
        assert_eq!(browser.console(), "");
    });
}
