//! What the end-to-end tests share: a running anchor, people who speak, and a recogniser that reads back what is heard.

pub(crate) mod browser;
pub(crate) mod served;

use ai_anchor::bench::host::Host;
use ai_anchor::bench::person::Utterance;
use ai_anchor::config::{Config, PROFILES};
use anchor_core::audio::{AudioFrame, INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::{SttEvent, SttRequest};
use futures::{StreamExt, stream};

/// An anchor with the embedded engines and the sample rundown.
pub(crate) async fn anchor() -> Host {
    Host::start(&Config::of(&PROFILES[0]), None).await.expect("the embedded engines are installed")
}

/// What the flite voice `voice` sounds like saying `text`.
pub(crate) async fn spoken(host: &Host, voice: &str, text: &str) -> Utterance {
    Utterance::spoken(&*host.engines.tts, voice, text).await.expect("the voice speaks")
}

/// What the recogniser reads in sound at [`OUTPUT_RATE`].
pub(crate) async fn read_back(host: &Host, sound: &[f32]) -> String {
    let heard = resample(sound, OUTPUT_RATE, INPUT_RATE).unwrap();
    let frames: Vec<AudioFrame> = heard.chunks(320).map(AudioFrame::new).collect();
    let mut events = host.engines.stt.transcribe(SttRequest::default(), stream::iter(frames).boxed());
    let mut text = String::new();
    while let Some(event) = events.next().await {
        if let SttEvent::Final(last) = event.expect("the recogniser works") {
            text = last;
        }
    }
    text
}

/// How many of the words of `text` longer than three letters occur in `heard`, as a share.
pub(crate) fn share_of_words(text: &str, heard: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let letters = |c: char| if c.is_alphabetic() { c.to_ascii_lowercase() } else { ' ' };
        text.chars().map(letters).collect::<String>().split_whitespace().map(str::to_owned).collect()
    };
    let heard = words(heard);
    let wanted: Vec<String> = words(text).into_iter().filter(|word| word.len() > 3).collect();
    wanted.iter().filter(|word| heard.contains(word)).count() as f64 / wanted.len().max(1) as f64
}
