//! The body of a request, read within limits of size and time.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// A body has this long to arrive: a client that trickles it only holds memory.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if !is(request.headers(), "application/json") {
            let message = "Send JSON, with the header 'Content-Type: application/json'.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        let bytes = match timeout(BODY_PATIENCE, Bytes::from_request(request, state)).await {
            Ok(read) => read.map_err(|error| unread(error.status(), &error.body_text()))?,
            Err(_) => return Err(late()),
        };
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        serde_path_to_error::deserialize(&mut json).map(Self).map_err(|error| {
            let (path, why) = (error.path().to_string(), error.inner().to_string());
            match path.as_str() {
                "." => {
                    Refusal::new(StatusCode::BAD_REQUEST, "invalid_json", format!("The body cannot be read: {why}."))
                }
                _ => Refusal::invalid(path.clone(), format!("'{path}' cannot be read: {why}.")),
            }
        })
    }
}

/// Whether a body is of this type.
pub(super) fn is(headers: &HeaderMap, kind: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.split(';').next()).is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

/// The body could not be read, for this reason.
pub(super) fn unread(status: StatusCode, why: &str) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(status, "too_large", "The body is too long. Send less at a time.")
        }
        _ => Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", format!("The body cannot be read: {why}.")),
    }
}

pub(super) fn late() -> Refusal {
    let message = "The body did not arrive within a minute. Send it faster, or less of it.";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}
