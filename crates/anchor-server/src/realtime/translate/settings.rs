//! The settings of a session: what the wire calls them, what the conversation calls them, and how a client changes them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use anchor_core::{SessionConfig, SessionUpdate, TurnDetection as Endpointing};
use serde_json::{Value, json};

use super::super::pcm::WIRE_RATE;
use super::super::wire::{
    AudioFormat, AudioPatch, Eagerness, Error, FormatPatch, InputPatch, Modality, OutputPatch, SemanticVad, ServerVad,
    Session, SessionAudio, SessionInput, SessionOutput, SessionPatch, Transcription, TranscriptionPatch, TurnDetection,
    TurnDetectionKind, TurnDetectionPatch, VoicePatch,
};
use super::Introduction;

/// The one form of sound there is.
pub(super) const FORMAT: AudioFormat = AudioFormat { kind: "audio/pcm", rate: WIRE_RATE };

/// Voices of the hosted API. Clients ask for them by default, so they mean the anchor's own voice.
pub(crate) const HOSTED_VOICES: &[&str] =
    &["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"];

/// The settings a session begins with.
pub(super) fn initial(key: &str, introduction: &Introduction<'_>) -> Session {
    let Introduction { model, recogniser, voices, config } = introduction;
    let voice = config.voice.clone().or_else(|| voices.first().map(|voice| voice.name.clone()));
    Session {
        kind: "realtime",
        object: "realtime.session",
        id: format!("sess_{key}"),
        model: model.clone(),
        output_modalities: [modality(config.speak)],
        instructions: config.instructions.clone(),
        audio: SessionAudio {
            input: SessionInput {
                format: FORMAT,
                transcription: Some(Transcription {
                    model: recogniser.clone(),
                    language: config.language.clone(),
                    prompt: None,
                }),
                noise_reduction: None,
                turn_detection: config.turn_detection.as_ref().map(server_vad).map(TurnDetection::ServerVad),
            },
            output: SessionOutput {
                format: FORMAT,
                voice: voice.unwrap_or_else(|| "default".to_owned()),
                speed: rounded(config.speed),
            },
        },
        max_output_tokens: config.max_tokens,
        tools: Vec::new(),
        tool_choice: json!("auto"),
        truncation: json!("auto"),
        tracing: None,
        prompt: None,
        include: None,
        reasoning: None,
        parallel_tool_calls: None,
    }
}

/// Takes over what the conversation made of the settings where it has limits of its own.
pub(super) fn adopt(session: &mut Session, config: &SessionConfig) {
    if let (Some(TurnDetection::ServerVad(shown)), Some(rules)) =
        (&mut session.audio.input.turn_detection, &config.turn_detection)
    {
        *shown = ServerVad { idle_timeout_ms: shown.idle_timeout_ms, ..server_vad(rules) };
    }
}

/// Changes `session` as the client asks, and says what that changes for the conversation. On an error nothing is changed.
pub(super) fn amend(session: &mut Session, patch: SessionPatch, voices: &[String]) -> Result<SessionUpdate, Error> {
    let mut amended = session.clone();
    let mut update = SessionUpdate::default();
    if let Some(kind) = patch.kind.filter(|kind| kind != "realtime") {
        let message = format!("Sessions of type '{kind}' are not offered. Use 'realtime'.");
        return Err(Error::invalid("invalid_value", Some("session.type"), message));
    }
    if let Some(modalities) = patch.output_modalities {
        let modality = one_modality(&modalities, "session.output_modalities")?;
        amended.output_modalities = [modality];
        update.speak = Some(modality == Modality::Audio);
    }
    if let Some(instructions) = patch.instructions {
        amended.instructions.clone_from(&instructions);
        update.instructions = Some(instructions);
    }
    if let Some(tokens) = &patch.max_output_tokens {
        amended.max_output_tokens = max_output_tokens(tokens)?;
        update.max_tokens = Some(amended.max_output_tokens);
    }
    let AudioPatch { input, output } = patch.audio.unwrap_or_default();
    amend_input(&mut amended.audio.input, input.unwrap_or_default(), &mut update)?;
    amend_output(&mut amended.audio.output, output.unwrap_or_default(), voices, &mut update)?;

    amended.tools = patch.tools.unwrap_or(amended.tools);
    amended.tool_choice = patch.tool_choice.unwrap_or(amended.tool_choice);
    amended.truncation = patch.truncation.unwrap_or(amended.truncation);
    amended.tracing = patch.tracing.unwrap_or(amended.tracing);
    amended.prompt = patch.prompt.unwrap_or(amended.prompt);
    amended.include = patch.include.unwrap_or(amended.include);
    amended.reasoning = patch.reasoning.or(amended.reasoning);
    amended.parallel_tool_calls = patch.parallel_tool_calls.or(amended.parallel_tool_calls);
    *session = amended;
    Ok(update)
}

fn amend_input(input: &mut SessionInput, patch: InputPatch, update: &mut SessionUpdate) -> Result<(), Error> {
    check_format(patch.format, "session.audio.input.format")?;
    if let Some(transcription) = patch.transcription {
        input.transcription = transcription.map(|patch| transcribe(input.transcription.take(), patch));
        update.language = Some(input.transcription.as_ref().and_then(|transcription| transcription.language.clone()));
    }
    if let Some(noise_reduction) = patch.noise_reduction {
        input.noise_reduction = noise_reduction;
    }
    if let Some(detection) = patch.turn_detection {
        input.turn_detection = match detection {
            Some(patch) => Some(detect(input.turn_detection.as_ref(), patch)?),
            None => None,
        };
        update.turn_detection = Some(input.turn_detection.as_ref().map(endpointing));
    }
    Ok(())
}

fn amend_output(
    output: &mut SessionOutput,
    patch: OutputPatch,
    voices: &[String],
    update: &mut SessionUpdate,
) -> Result<(), Error> {
    check_format(patch.format, "session.audio.output.format")?;
    if let Some(VoicePatch::Name(name) | VoicePatch::Custom { id: name }) = patch.voice {
        update.voice = match voices.first() {
            Some(own) if HOSTED_VOICES.contains(&name.as_str()) && !voices.contains(&name) => Some(own.clone()),
            Some(_) if !voices.contains(&name) => {
                let message = format!("There is no voice '{name}'. Choose one of: {}.", voices.join(", "));
                return Err(Error::invalid("invalid_value", Some("session.audio.output.voice"), message));
            }
            _ => Some(name.clone()),
        };
        output.voice = name;
    }
    if let Some(speed) = patch.speed {
        output.speed = decimal(speed, 0.25..=1.5, "session.audio.output.speed")?;
        update.speed = Some(speed as f32);
    }
    Ok(())
}

/// The one form in which the anchor is to answer.
pub(super) fn one_modality(modalities: &[Modality], param: &str) -> Result<Modality, Error> {
    match modalities {
        [modality] => Ok(*modality),
        _ => {
            let message = format!("'{param}' must be [\"audio\"] or [\"text\"]. Sound comes with its transcript.");
            Err(Error::invalid("invalid_value", Some(param), message))
        }
    }
}

pub(super) fn modality(speak: bool) -> Modality {
    if speak { Modality::Audio } else { Modality::Text }
}

fn max_output_tokens(tokens: &Value) -> Result<Option<u32>, Error> {
    const PARAM: &str = "session.max_output_tokens";
    match (tokens.as_i64(), tokens.as_str()) {
        (Some(tokens), _) => integer(tokens, 1..=4096, PARAM).map(|tokens| Some(tokens as u32)),
        (None, Some("inf")) => Ok(None),
        _ => {
            let message = format!("'{PARAM}' must be a whole number from 1 to 4096, or \"inf\".");
            Err(Error::invalid("invalid_type", Some(PARAM), message))
        }
    }
}

fn check_format(format: Option<FormatPatch>, param: &str) -> Result<(), Error> {
    let Some(FormatPatch { kind, rate }) = format else { return Ok(()) };
    if let Some(kind) = kind.filter(|kind| kind != FORMAT.kind) {
        let message = format!("'{kind}' is not offered. Send and expect 'audio/pcm' at {WIRE_RATE} Hz.");
        return Err(Error::invalid("invalid_value", Some(&format!("{param}.type")), message));
    }
    let only = i64::from(WIRE_RATE);
    rate.map_or(Ok(()), |rate| integer(rate, only..=only, &format!("{param}.rate")).map(|_| ()))
}

fn transcribe(current: Option<Transcription>, patch: TranscriptionPatch) -> Transcription {
    let current = current.unwrap_or(Transcription { model: "default".to_owned(), language: None, prompt: None });
    Transcription {
        model: patch.model.unwrap_or(current.model),
        language: patch.language.unwrap_or(current.language),
        prompt: patch.prompt.unwrap_or(current.prompt),
    }
}

/// What is absent stays as it is, or is the default where the kind of detection changes.
fn detect(current: Option<&TurnDetection>, patch: TurnDetectionPatch) -> Result<TurnDetection, Error> {
    let usual = server_vad(&Endpointing::default());
    let (kind, server, semantic) = match current {
        None => (TurnDetectionKind::ServerVad, usual, SemanticVad::default()),
        Some(TurnDetection::ServerVad(server)) => {
            let ServerVad { create_response, interrupt_response, .. } = *server;
            let semantic = SemanticVad { create_response, interrupt_response, ..SemanticVad::default() };
            (TurnDetectionKind::ServerVad, server.clone(), semantic)
        }
        Some(TurnDetection::SemanticVad(semantic)) => {
            let SemanticVad { create_response, interrupt_response, .. } = *semantic;
            let server = ServerVad { create_response, interrupt_response, ..usual };
            (TurnDetectionKind::SemanticVad, server, semantic.clone())
        }
    };
    Ok(match patch.kind.unwrap_or(kind) {
        TurnDetectionKind::ServerVad => TurnDetection::ServerVad(detect_silence(server, patch)?),
        TurnDetectionKind::SemanticVad => TurnDetection::SemanticVad(SemanticVad {
            eagerness: patch.eagerness.unwrap_or(semantic.eagerness),
            create_response: patch.create_response.unwrap_or(semantic.create_response),
            interrupt_response: patch.interrupt_response.unwrap_or(semantic.interrupt_response),
        }),
    })
}

/// Longest padding or pause a client may ask for, in milliseconds.
const MILLISECONDS_MAX: i64 = 10_000;

fn detect_silence(current: ServerVad, patch: TurnDetectionPatch) -> Result<ServerVad, Error> {
    let param = |name: &str| format!("session.audio.input.turn_detection.{name}");
    let milliseconds = |value: Option<i64>, current: u64, name: &str| match value {
        Some(value) => integer(value, 0..=MILLISECONDS_MAX, &param(name)).map(i64::unsigned_abs),
        None => Ok(current),
    };
    Ok(ServerVad {
        threshold: match patch.threshold {
            Some(threshold) => decimal(threshold, 0.0..=1.0, &param("threshold"))?,
            None => current.threshold,
        },
        prefix_padding_ms: milliseconds(patch.prefix_padding_ms, current.prefix_padding_ms, "prefix_padding_ms")?,
        silence_duration_ms: milliseconds(
            patch.silence_duration_ms,
            current.silence_duration_ms,
            "silence_duration_ms",
        )?,
        create_response: patch.create_response.unwrap_or(current.create_response),
        interrupt_response: patch.interrupt_response.unwrap_or(current.interrupt_response),
        idle_timeout_ms: patch.idle_timeout_ms.or(current.idle_timeout_ms),
    })
}

fn server_vad(rules: &Endpointing) -> ServerVad {
    ServerVad {
        threshold: rounded(rules.threshold),
        prefix_padding_ms: rules.prefix_padding.as_millis() as u64,
        silence_duration_ms: rules.silence_duration.as_millis() as u64,
        create_response: rules.create_response,
        interrupt_response: rules.interrupt_response,
        idle_timeout_ms: None,
    }
}

/// How the conversation is to hear the end of a turn. It judges by pauses alone, so eagerness becomes the pause.
fn endpointing(detection: &TurnDetection) -> Endpointing {
    match detection {
        TurnDetection::ServerVad(rules) => Endpointing {
            threshold: rules.threshold as f32,
            prefix_padding: Duration::from_millis(rules.prefix_padding_ms),
            silence_duration: Duration::from_millis(rules.silence_duration_ms),
            create_response: rules.create_response,
            interrupt_response: rules.interrupt_response,
        },
        TurnDetection::SemanticVad(SemanticVad { eagerness, create_response, interrupt_response }) => {
            let usual = Endpointing::default();
            let silence_duration = match eagerness {
                Eagerness::High => usual.silence_duration * 7 / 10,
                Eagerness::Medium | Eagerness::Auto => usual.silence_duration,
                Eagerness::Low => usual.silence_duration * 2,
            };
            let (create_response, interrupt_response) = (*create_response, *interrupt_response);
            Endpointing { silence_duration, create_response, interrupt_response, ..usual }
        }
    }
}

/// Checks a whole number against its limits.
pub(super) fn integer(value: i64, limits: RangeInclusive<i64>, param: &str) -> Result<i64, Error> {
    within(value, limits, "integer", param)
}

/// Checks a number against its limits.
fn decimal(value: f64, limits: RangeInclusive<f64>, param: &str) -> Result<f64, Error> {
    within(value, limits, "decimal", param)
}

fn within<T: PartialOrd + Display>(value: T, limits: RangeInclusive<T>, kind: &str, param: &str) -> Result<T, Error> {
    let (below, sign, limit) = if value < *limits.start() {
        ("below_min", ">=", limits.start())
    } else if value > *limits.end() {
        ("above_max", "<=", limits.end())
    } else {
        return Ok(value);
    };
    let message = format!("'{param}' cannot be {value}: expected a value {sign} {limit}.");
    Err(Error::invalid(format!("{kind}_{below}_value"), Some(param), message))
}

/// A number as it was written in decimal, without the digits that binary adds.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
