//! `/v1/realtime/client_secrets`: ephemeral keys, for pages that must not hold an API key.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use crate::access::{Caller, Secret, now};
use crate::http::Server;
use crate::realtime;
use crate::refusal::Refusal;

/// Longest settings a key may carry, in bytes: they are kept until it expires.
const SETTINGS_MAX: usize = 64 * 1024;

/// How long a key may be good, in seconds, and how long it is unless asked otherwise.
const SECONDS: std::ops::RangeInclusive<u64> = 10..=7200;
const SECONDS_USUAL: u64 = 600;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/realtime/client_secrets", post(make)).layer(DefaultBodyLimit::max(SETTINGS_MAX))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    expires_after: Option<Expiry>,
    session: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expiry {
    #[serde(default, rename = "anchor")]
    _anchor: Anchor,
    seconds: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Anchor {
    #[default]
    CreatedAt,
}

async fn make(
    State(server): State<Arc<Server>>,
    caller: Caller,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Refusal> {
    let seconds = wanted.expires_after.map_or(SECONDS_USUAL, |expiry| expiry.seconds);
    if !SECONDS.contains(&seconds) {
        let message = format!("A key is good for 10 to 7200 seconds, not for {seconds}.");
        return Err(Refusal::invalid("expires_after.seconds", message));
    }
    let session = realtime::described(&server.app, wanted.session.as_ref())?;
    let expires_at = now() + seconds;
    let secret = Secret { owner: caller.name, session: wanted.session, expires_at };
    let Some(value) = server.secrets.add(secret) else {
        let message = "Too many ephemeral keys are good at this moment. Try again when some have expired.";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_secrets", message));
    };
    Ok(Json(json!({ "value": value, "expires_at": expires_at, "session": session })))
}
