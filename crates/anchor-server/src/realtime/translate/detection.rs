//! How the end of a turn is heard: the wire's two kinds of detection, and the conversation's one.

use std::time::Duration;

use anchor_core::{SessionConfig, TurnDetection as Endpointing};

use super::super::wire::{
    Eagerness, Error, Kind, Manners, SemanticVad, ServerVad, Session, TurnDetection, TurnDetectionKind,
    TurnDetectionPatch,
};
use super::settings::{decimal, integer, rounded};

/// Longest padding or pause a client may ask for, in milliseconds.
const MILLISECONDS_MAX: i64 = 10_000;

/// The times a client may let the anchor wait before it breaks a silence, in milliseconds: the hosted API's limits.
const IDLE_TIMEOUT: std::ops::RangeInclusive<i64> = 5_000..=30_000;

/// The detection a session begins with.
pub(super) fn initial(config: &SessionConfig, kind: Kind) -> Option<TurnDetection> {
    config.turn_detection.as_ref().map(|rules| TurnDetection::ServerVad(server_vad(rules, kind)))
}

/// Takes over what the conversation made of the rules where it has limits of its own.
pub(super) fn adopt(session: &mut Session, config: &SessionConfig) {
    if let (Some(TurnDetection::ServerVad(shown)), Some(rules)) =
        (&mut session.audio.input.turn_detection, &config.turn_detection)
    {
        *shown = server_vad(rules, session.kind);
    }
}

/// What is absent stays as it is, or is the default where the kind of detection changes.
pub(super) fn detect(
    current: Option<&TurnDetection>,
    patch: TurnDetectionPatch,
    session: Kind,
) -> Result<TurnDetection, Error> {
    let usual = server_vad(&Endpointing::default(), session);
    let (kind, server, semantic) = match current {
        None => (TurnDetectionKind::ServerVad, usual.clone(), semantic_vad(usual.manners)),
        Some(TurnDetection::ServerVad(server)) => {
            (TurnDetectionKind::ServerVad, server.clone(), semantic_vad(server.manners))
        }
        Some(TurnDetection::SemanticVad(semantic)) => {
            (TurnDetectionKind::SemanticVad, ServerVad { manners: semantic.manners, ..usual }, semantic.clone())
        }
    };
    let amended = |current: Manners| match session {
        Kind::Realtime => Manners {
            create_response: patch.create_response.or(current.create_response),
            interrupt_response: patch.interrupt_response.or(current.interrupt_response),
        },
        Kind::Transcription => current,
    };
    Ok(match patch.kind.unwrap_or(kind) {
        TurnDetectionKind::ServerVad => {
            let manners = amended(server.manners);
            TurnDetection::ServerVad(detect_silence(ServerVad { manners, ..server }, patch)?)
        }
        TurnDetectionKind::SemanticVad => TurnDetection::SemanticVad(SemanticVad {
            eagerness: patch.eagerness.unwrap_or(semantic.eagerness),
            manners: amended(semantic.manners),
        }),
    })
}

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
        idle_timeout_ms: match patch.idle_timeout_ms {
            Some(Some(timeout)) => {
                Some(integer(timeout, IDLE_TIMEOUT, &param("idle_timeout_ms")).map(i64::unsigned_abs)?)
            }
            Some(None) => None,
            None => current.idle_timeout_ms,
        },
        manners: current.manners,
    })
}

fn server_vad(rules: &Endpointing, session: Kind) -> ServerVad {
    let manners = match session {
        Kind::Realtime => {
            Manners { create_response: Some(rules.create_response), interrupt_response: Some(rules.interrupt_response) }
        }
        Kind::Transcription => Manners { create_response: None, interrupt_response: None },
    };
    ServerVad {
        threshold: rounded(rules.threshold),
        prefix_padding_ms: rules.prefix_padding.as_millis() as u64,
        silence_duration_ms: rules.silence_duration.as_millis() as u64,
        manners,
        idle_timeout_ms: rules.idle_timeout.map(|timeout| timeout.as_millis() as u64),
    }
}

fn semantic_vad(manners: Manners) -> SemanticVad {
    SemanticVad { eagerness: Eagerness::Auto, manners }
}

/// How the conversation is to hear the end of a turn. It judges by pauses alone, so eagerness becomes the pause.
pub(super) fn endpointing(detection: &TurnDetection) -> Endpointing {
    let (rules, manners) = match detection {
        TurnDetection::ServerVad(rules) => {
            let heard = Endpointing {
                threshold: rules.threshold as f32,
                prefix_padding: Duration::from_millis(rules.prefix_padding_ms),
                silence_duration: Duration::from_millis(rules.silence_duration_ms),
                idle_timeout: rules.idle_timeout_ms.map(Duration::from_millis),
                ..Endpointing::default()
            };
            (heard, rules.manners)
        }
        TurnDetection::SemanticVad(SemanticVad { eagerness, manners }) => {
            let usual = Endpointing::default();
            let silence_duration = match eagerness {
                Eagerness::High => usual.silence_duration * 7 / 10,
                Eagerness::Medium | Eagerness::Auto => usual.silence_duration,
                Eagerness::Low => usual.silence_duration * 2,
            };
            (Endpointing { silence_duration, ..usual }, *manners)
        }
    };
    let (create, interrupt) = (manners.create_response, manners.interrupt_response);
    Endpointing {
        create_response: create.unwrap_or(false),
        interrupt_response: interrupt.unwrap_or(false),
        // A session without answers has none to give to a silence.
        idle_timeout: rules.idle_timeout.filter(|_| create.is_some()),
        ..rules
    }
}
