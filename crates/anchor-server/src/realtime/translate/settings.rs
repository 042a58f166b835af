//! The settings of a session: what the wire calls them, what the conversation calls them, and how a client changes them.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anchor_core::SessionUpdate;
use serde_json::{Value, json};

use super::super::wire::{
    AudioFormat, AudioPatch, Error, FormatPatch, InputPatch, Kind, Modality, OutputPatch, Session, SessionAudio,
    SessionInput, SessionOutput, SessionPatch, Transcription, TranscriptionPatch, VoicePatch,
};
use super::{Introduction, detection, tools};

/// Voices of the hosted API. Clients ask for them by default, so they mean the anchor's own voice.
pub(crate) const HOSTED_VOICES: &[&str] =
    &["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"];

/// The settings a session begins with.
pub(super) fn initial(key: &str, introduction: &Introduction<'_>) -> Session {
    let Introduction { model, recogniser, voices, config, kind } = introduction;
    let voice = config.voice.clone().or_else(|| voices.first().map(|voice| voice.name.clone()));
    Session {
        kind: *kind,
        object: "realtime.session",
        id: format!("sess_{key}"),
        model: model.clone(),
        output_modalities: [modality(config.speak)],
        instructions: config.instructions.clone(),
        audio: SessionAudio {
            input: SessionInput {
                format: AudioFormat::Pcm,
                transcription: Some(Transcription {
                    model: recogniser.clone(),
                    language: config.language.clone(),
                    prompt: None,
                }),
                noise_reduction: None,
                turn_detection: detection::initial(config, *kind),
            },
            output: SessionOutput {
                format: AudioFormat::Pcm,
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

/// Changes `session` as the client asks, and says what that changes for the conversation. On an error nothing is changed.
pub(super) fn amend(session: &mut Session, patch: SessionPatch, voices: &[String]) -> Result<SessionUpdate, Error> {
    let mut amended = session.clone();
    let mut update = SessionUpdate::default();
    check_kind(session.kind, &patch)?;
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
        amended.max_output_tokens = max_output_tokens(tokens, "session.max_output_tokens")?;
        update.max_tokens = Some(amended.max_output_tokens);
    }
    let AudioPatch { input, output } = patch.audio.unwrap_or_default();
    amend_input(&mut amended.audio.input, input.unwrap_or_default(), session.kind, &mut update)?;
    amend_output(&mut amended.audio.output, output.unwrap_or_default(), voices, &mut update)?;

    if let Some(offered) = patch.tools {
        update.tools = Some(tools::offered(&offered, "session.tools")?);
        amended.tools = offered;
    }
    if let Some(choice) = patch.tool_choice {
        update.tool_choice = Some(tools::choice(&choice, "session.tool_choice")?);
        amended.tool_choice = choice;
    }
    if let Some(truncation) = patch.truncation {
        update.retention = Some(tools::retention(&truncation)?);
        amended.truncation = truncation;
    }
    amended.tracing = patch.tracing.unwrap_or(amended.tracing);
    amended.prompt = patch.prompt.unwrap_or(amended.prompt);
    amended.include = patch.include.unwrap_or(amended.include);
    amended.reasoning = patch.reasoning.or(amended.reasoning);
    amended.parallel_tool_calls = patch.parallel_tool_calls.or(amended.parallel_tool_calls);
    *session = amended;
    Ok(update)
}

/// A session stays what it was opened as, and one that only transcribes has no settings of answers.
fn check_kind(kind: Kind, patch: &SessionPatch) -> Result<(), Error> {
    if let Some(asked) = patch.kind.as_ref().filter(|asked| *asked != kind.name()) {
        let message = format!(
            "This is a session of type '{}' and cannot become '{asked}'. Connect with '?intent=transcription' for \
             transcripts without answers, and without it for a conversation.",
            kind.name()
        );
        return Err(Error::invalid("invalid_value", Some("session.type"), message));
    }
    let foreign = [
        ("output_modalities", patch.output_modalities.is_some()),
        ("instructions", patch.instructions.is_some()),
        ("audio.output", patch.audio.as_ref().is_some_and(|audio| audio.output.is_some())),
        ("max_output_tokens", patch.max_output_tokens.is_some()),
        ("tools", patch.tools.is_some()),
        ("tool_choice", patch.tool_choice.is_some()),
        ("truncation", patch.truncation.is_some()),
    ];
    match foreign.iter().find(|(_, given)| *given && kind == Kind::Transcription) {
        Some((name, _)) => {
            let param = format!("session.{name}");
            let message = format!("Unknown parameter: '{param}'. A session of type 'transcription' gives no answers.");
            Err(Error::invalid("unknown_parameter", Some(&param), message))
        }
        None => Ok(()),
    }
}

fn amend_input(
    input: &mut SessionInput,
    patch: InputPatch,
    kind: Kind,
    update: &mut SessionUpdate,
) -> Result<(), Error> {
    input.format = format(patch.format, input.format, "session.audio.input.format")?;
    if let Some(transcription) = patch.transcription {
        input.transcription = transcription.map(|patch| transcribe(input.transcription.take(), patch));
        // Without transcription events the anchor goes on transcribing for itself, as it did.
        if let Some(wanted) = &input.transcription {
            update.language = Some(wanted.language.clone());
            update.vocabulary = Some(wanted.prompt.clone());
        }
    }
    if let Some(noise_reduction) = patch.noise_reduction {
        let kind = noise_reduction.as_ref().map(|wanted| wanted["type"].as_str().unwrap_or_default());
        if kind.is_some_and(|kind| kind != "near_field" && kind != "far_field") {
            const PARAM: &str = "session.audio.input.noise_reduction.type";
            let message = format!("'{PARAM}' must be 'near_field' or 'far_field'.");
            return Err(Error::invalid("invalid_value", Some(PARAM), message));
        }
        input.noise_reduction = noise_reduction;
    }
    if let Some(detection) = patch.turn_detection {
        input.turn_detection = match detection {
            Some(patch) => Some(detection::detect(input.turn_detection.as_ref(), patch, kind)?),
            None => None,
        };
        update.turn_detection = Some(input.turn_detection.as_ref().map(detection::endpointing));
    }
    Ok(())
}

fn amend_output(
    output: &mut SessionOutput,
    patch: OutputPatch,
    voices: &[String],
    update: &mut SessionUpdate,
) -> Result<(), Error> {
    output.format = format(patch.format, output.format, "session.audio.output.format")?;
    if let Some(voice) = patch.voice {
        (output.voice, update.voice) =
            own_voice(voice, voices, "session.audio.output.voice").map(|(a, b)| (a, Some(b)))?;
    }
    if let Some(speed) = patch.speed {
        output.speed = decimal(speed, 0.25..=1.5, "session.audio.output.speed")?;
        update.speed = Some(speed as f32);
    }
    Ok(())
}

/// The voice as the client calls it, and the anchor's own that is meant.
pub(super) fn own_voice(voice: VoicePatch, voices: &[String], param: &str) -> Result<(String, String), Error> {
    let (VoicePatch::Name(name) | VoicePatch::Custom { id: name }) = voice;
    let own = match voices.first() {
        Some(own) if HOSTED_VOICES.contains(&name.as_str()) && !voices.contains(&name) => own.clone(),
        Some(_) if !voices.contains(&name) => {
            let message = format!("There is no voice '{name}'. Choose one of: {}.", voices.join(", "));
            return Err(Error::invalid("invalid_value", Some(param), message));
        }
        _ => name.clone(),
    };
    Ok((name, own))
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

pub(super) fn max_output_tokens(tokens: &Value, param: &str) -> Result<Option<u32>, Error> {
    match (tokens.as_i64(), tokens.as_str()) {
        (Some(tokens), _) => integer(tokens, 1..=4096, param).map(|tokens| Some(tokens as u32)),
        (None, Some("inf")) => Ok(None),
        _ => {
            let message = format!("'{param}' must be a whole number from 1 to 4096, or \"inf\".");
            Err(Error::invalid("invalid_type", Some(param), message))
        }
    }
}

pub(super) fn format(patch: Option<FormatPatch>, current: AudioFormat, param: &str) -> Result<AudioFormat, Error> {
    let Some(FormatPatch { kind, rate }) = patch else { return Ok(current) };
    let format = match kind {
        None => current,
        Some(kind) => AudioFormat::ALL.into_iter().find(|format| format.name() == kind).ok_or_else(|| {
            let message = format!("There is no format '{kind}'. Use 'audio/pcm', 'audio/pcmu' or 'audio/pcma'.");
            Error::invalid("invalid_value", Some(&format!("{param}.type")), message)
        })?,
    };
    if let Some(rate) = rate {
        let only = i64::from(format.rate());
        integer(rate, only..=only, &format!("{param}.rate"))?;
    }
    Ok(format)
}

fn transcribe(current: Option<Transcription>, patch: TranscriptionPatch) -> Transcription {
    let current = current.unwrap_or(Transcription { model: "default".to_owned(), language: None, prompt: None });
    Transcription {
        model: patch.model.unwrap_or(current.model),
        language: patch.language.unwrap_or(current.language),
        prompt: patch.prompt.unwrap_or(current.prompt),
    }
}

/// Checks a whole number against its limits.
pub(super) fn integer(value: i64, limits: RangeInclusive<i64>, param: &str) -> Result<i64, Error> {
    within(value, limits, "integer", param)
}

/// Checks a number against its limits.
pub(super) fn decimal(value: f64, limits: RangeInclusive<f64>, param: &str) -> Result<f64, Error> {
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
pub(super) fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
