//! Does the detector of the embedded profile open turns for speech, and for nothing else, and let them end?

use std::ops::Range;
use std::sync::Arc;

use anchor_core::audio::{INPUT_RATE, OUTPUT_RATE, resample};
use anchor_core::engine::VadModel;
use anchor_core::rundown::OnAir;
use anchor_engines::{LoadContext, VAD};
use tokio::sync::watch;

use crate::tts;

const RATE: usize = INPUT_RATE as usize;

/// How a turn is told from probabilities, as a session does by default.
const ON: f32 = 0.5;
const OFF: f32 = 0.35;
const WINDOWS_TO_START: usize = 2;
const SILENCE_TO_STOP: usize = RATE * 400 / 1000;

/// Latest a turn may be seen after its first sound: what a session keeps before it.
const LATEST_START: usize = RATE * 350 / 1000;

/// Latest it may be over after its last sound: the silence asked for, and what the detector takes to notice it.
const LATEST_STOP: usize = SILENCE_TO_STOP + RATE * 250 / 1000;

fn model() -> Arc<dyn VadModel> {
    let entry = VAD.iter().find(|entry| entry.name == "silero").expect("the table has it");
    (entry.load)(&LoadContext { rundown: watch::channel(OnAir::default()).1, options: toml::Table::new() }).unwrap()
}

/// Where turns were seen to begin and to be over; one that is not over ends behind the sound.
fn turns(model: &dyn VadModel, sound: &[f32]) -> Vec<Range<usize>> {
    let mut detector = model.start();
    let mut turns: Vec<Range<usize>> = Vec::new();
    let (mut active, mut likely, mut quiet_since) = (false, 0, 0);
    for (index, frame) in sound.chunks(320).enumerate() {
        let Some(probability) = detector.push(frame) else { continue };
        let now = (index + 1) * 320;
        likely = if probability >= ON { likely + 1 } else { 0 };
        if probability >= OFF {
            quiet_since = now;
        }
        if !active && likely >= WINDOWS_TO_START {
            active = true;
            turns.push(now..usize::MAX);
        } else if active && now - quiet_since >= SILENCE_TO_STOP {
            active = false;
            turns.last_mut().expect("a turn is active").end = now;
        }
    }
    turns
}

/// What three voices say, at the rate of a microphone, from the first sound to the last, with a peak of 1.
async fn utterances() -> Vec<(String, Vec<f32>)> {
    let engine = tts::engine("flite");
    let mut utterances = Vec::new();
    for voice in ["rms", "awb", "kal16"] {
        for text in
            ["Stop.", "What is the news this evening?", "Tell me more about the harbour bridge, and who pays for it."]
        {
            let spoken = tts::speak(&*engine, voice, 1.0, &[text]).await;
            let sound = resample(&spoken.sound, OUTPUT_RATE, INPUT_RATE).unwrap();
            let peak = sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            let heard = |sample: &f32| sample.abs() > 0.01 * peak;
            let (first, last) = (sound.iter().position(heard).unwrap(), sound.iter().rposition(heard).unwrap());
            utterances.push((format!("{voice}: {text}"), sound[first..=last].iter().map(|s| s / peak).collect()));
        }
    }
    utterances
}

fn decibels(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

fn scaled(sound: &[f32], factor: f32) -> Vec<f32> {
    sound.iter().map(|sample| sample * factor).collect()
}

/// Root mean square of the loud parts.
fn level(sound: &[f32]) -> f32 {
    let powers: Vec<f32> = sound.chunks(320).map(|c| c.iter().map(|s| s * s).sum::<f32>() / c.len() as f32).collect();
    let loudest = powers.iter().fold(0.0_f32, |a, b| a.max(*b));
    let loud: Vec<f32> = powers.into_iter().filter(|power| *power > loudest * 1e-3).collect();
    (loud.iter().sum::<f32>() / loud.len() as f32).sqrt()
}

/// A sound that goes on, with a root mean square of about 1.
type Background = fn(usize) -> Vec<f32>;

fn white(length: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| uniform() + uniform() + uniform()).collect()
}

/// Paul Kellet's filter over white noise.
fn pink(length: usize) -> Vec<f32> {
    let mut b = [0.0; 3];
    let shape = |w: f32| {
        b = [0.99765 * b[0] + w * 0.0990460, 0.96300 * b[1] + w * 0.2965164, 0.57000 * b[2] + w * 1.0526913];
        (b[0] + b[1] + b[2] + w * 0.1848) / 1.6
    };
    white(length).into_iter().map(shape).collect()
}

fn sines(length: usize, partials: &[(f32, f32)]) -> Vec<f32> {
    let sample =
        |n: usize| partials.iter().map(|(hz, a)| a * (std::f32::consts::TAU * hz * n as f32 / RATE as f32).sin()).sum();
    let raw: Vec<f32> = (0..length).map(sample).collect();
    let rms = (raw.iter().map(|s| s * s).sum::<f32>() / length as f32).sqrt();
    scaled(&raw, 1.0 / rms)
}

fn tone(length: usize) -> Vec<f32> {
    sines(length, &[(440.0, 1.0)])
}

fn hum(length: usize) -> Vec<f32> {
    sines(length, &[(50.0, 1.0), (100.0, 0.5), (150.0, 0.4), (250.0, 0.2), (350.0, 0.1)])
}

/// A chord each second and a melody of four notes a second above it.
fn music(length: usize) -> Vec<f32> {
    const CHORDS: [[f32; 3]; 4] =
        [[261.6, 329.6, 392.0], [220.0, 261.6, 329.6], [174.6, 220.0, 261.6], [196.0, 246.9, 293.7]];
    const MELODY: [f32; 7] = [523.3, 659.3, 784.0, 587.3, 880.0, 523.3, 1046.5];
    let struck = |seconds: f32, hz: f32, fading: f32| {
        let partial = |k: i32| (std::f32::consts::TAU * hz * k as f32 * seconds).sin() / k as f32;
        (seconds / 0.01).min(1.0) * (-seconds * fading).exp() * (1..=4).map(partial).sum::<f32>()
    };
    let sample = |n: usize| {
        let chord =
            CHORDS[n / RATE % 4].iter().map(|hz| 0.5 * struck((n % RATE) as f32 / RATE as f32, *hz, 0.8)).sum::<f32>();
        chord + struck((n % (RATE / 4)) as f32 / RATE as f32, MELODY[n / (RATE / 4) % 7], 4.0)
    };
    (0..length).map(sample).collect()
}

/// Somebody at a keyboard, three strokes a second.
fn clicks(length: usize) -> Vec<f32> {
    white(length).into_iter().enumerate().map(|(n, w)| 3.0 * w * (-((n % 5_300) as f32) / 15.0).exp()).collect()
}

/// `before` samples, the utterance and long enough behind it for its turn to end, with `background` over all of it.
fn scene(utterance: &[f32], before: usize, background: impl Fn(usize) -> Vec<f32>) -> (Vec<f32>, Range<usize>) {
    let length = before + utterance.len() + 2 * LATEST_STOP;
    let mut sound = background(length);
    for (sample, speech) in sound[before..].iter_mut().zip(utterance) {
        *sample += speech;
    }
    (sound, before..before + utterance.len())
}

/// Listens to scenes with one utterance each and keeps what was misunderstood.
struct Jury {
    model: Arc<dyn VadModel>,
    scenes: usize,
    complaints: Vec<String>,
}

impl Jury {
    fn new() -> Self {
        Self { model: model(), scenes: 0, complaints: Vec::new() }
    }

    /// The utterance has to be one turn, seen early enough and over soon enough, and nothing else a turn.
    fn hear(&mut self, name: &str, sound: &[f32], speech: Range<usize>) {
        self.scenes += 1;
        let turns = turns(&*self.model, sound);
        let complaint = match &turns[..] {
            [turn] if turn.start < speech.start || turn.start > speech.start + LATEST_START => "is not seen in time",
            [turn] if turn.end < speech.end || turn.end > speech.end + LATEST_STOP => "is not over in time",
            [_] => return,
            [] => "is not seen",
            _ => "is taken apart",
        };
        self.complaints.push(format!("{name} {complaint}: speech is {speech:?}, turns are {turns:?}"));
    }

    fn verdict(self) {
        let complaints = self.complaints.join("\n");
        assert!(complaints.is_empty(), "{} of {} scenes:\n{complaints}", self.complaints.len(), self.scenes);
    }
}

#[tokio::test]
async fn speech_of_any_level_is_a_turn_from_the_first_word() {
    let mut jury = Jury::new();
    for (name, speech) in utterances().await {
        for peak in [-40.0, -30.0, -20.0, -6.0] {
            let speech = scaled(&speech, decibels(peak));
            for (before, hiss) in [(0, 1e-4), (RATE * 3 / 2, 1e-4), (2 * RATE, 0.0)] {
                let (sound, place) = scene(&speech, before, |length| scaled(&white(length), hiss));
                jury.hear(&format!("{name} at {peak} dBFS after {before} samples"), &sound, place);
            }
        }
    }
    jury.verdict();
}

#[tokio::test]
async fn noise_below_speech_neither_hides_it_nor_holds_its_turn() {
    let mut jury = Jury::new();
    let backgrounds: [(&str, Background); 4] =
        [("pink noise", pink), ("white noise", white), ("hum", hum), ("a tone", tone)];
    for (name, speech) in utterances().await {
        let speech = scaled(&speech, decibels(-15.0));
        for (background_name, background) in backgrounds {
            for snr in [20.0, 10.0] {
                for before in [0, 4 * RATE] {
                    let noise = level(&speech) * decibels(-snr);
                    let (sound, place) = scene(&speech, before, |length| scaled(&background(length), noise));
                    let name = format!("{name} {snr} dB above {background_name} after {before} samples");
                    jury.hear(&name, &sound, place);
                }
            }
        }
    }
    jury.verdict();
}

#[tokio::test]
async fn bad_microphones_are_understood() {
    let mut jury = Jury::new();
    for (name, speech) in utterances().await {
        let quiet = |length| scaled(&white(length), 1e-4);
        for offset in [0.3, -0.1] {
            let (mut sound, place) = scene(&scaled(&speech, 0.03), RATE, quiet);
            sound.iter_mut().for_each(|sample| *sample += offset);
            jury.hear(&format!("{name} with an offset of {offset}"), &sound, place);
        }
        let (sound, place) = scene(&scaled(&speech, 4.0), RATE, quiet);
        let clipped: Vec<f32> = sound.iter().map(|sample| sample.clamp(-1.0, 1.0)).collect();
        jury.hear(&format!("{name} clipped by 12 dB"), &clipped, place);
        let (sound, place) = scene(&scaled(&speech, 0.1), 2 * RATE, |length| scaled(&clicks(length), 0.01));
        jury.hear(&format!("{name} beside a keyboard"), &sound, place);
    }
    jury.verdict();
}

#[test]
fn nothing_but_speech_opens_a_turn() {
    let model = model();
    let length = 6 * RATE;
    let backgrounds: [(&str, Background); 6] =
        [("white", white), ("pink", pink), ("tone", tone), ("hum", hum), ("music", music), ("clicks", clicks)];
    for (name, background) in backgrounds {
        for loudness in [-50.0, -30.0, -10.0] {
            let sound = scaled(&background(length), decibels(loudness));
            assert_eq!(turns(&*model, &sound), [], "{name} at {loudness} dBFS");
            let onset = [vec![0.0; 2 * RATE], sound].concat();
            assert_eq!(turns(&*model, &onset), [], "{name} at {loudness} dBFS after silence");
        }
    }
    for hz in [100.0, 150.0, 200.0, 300.0, 350.0, 400.0, 440.0, 600.0, 1000.0, 2500.0] {
        for (name, noise) in [("white", white as Background), ("pink", pink)] {
            for snr in [0.0, 3.0, 10.0, 20.0] {
                let noise = scaled(&noise(length / 2), 0.05 * decibels(-snr));
                let sound: Vec<f32> =
                    sines(length / 2, &[(hz, 1.0)]).iter().zip(noise).map(|(t, n)| 0.05 * t + n).collect();
                assert_eq!(turns(&*model, &sound), [], "{hz} Hz {snr} dB above {name} noise");
            }
        }
    }
    assert_eq!(turns(&*model, &vec![0.5; length]), [], "an offset");
}

/// What plays on when the speaker is done does not keep the turn.
#[tokio::test]
async fn music_under_speech_lets_the_turn_end() {
    let model = model();
    for (name, speech) in utterances().await {
        let speech = scaled(&speech, decibels(-15.0));
        for snr in [20.0, 10.0] {
            let bed = level(&speech) * decibels(-snr);
            let (sound, place) = scene(&speech, 4 * RATE, |length| scaled(&music(length), bed));
            let turns = turns(&*model, &sound);
            let [turn] = &turns[..] else { panic!("{name} {snr} dB above music: {turns:?}") };
            assert!(
                turn.start >= place.start && turn.end <= place.end + RATE,
                "{name} {snr} dB above music: {turn:?} of {place:?}"
            );
        }
    }
}
