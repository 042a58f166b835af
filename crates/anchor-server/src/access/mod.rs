//! Who may use the server, and how much of it.

mod keys;
mod origin;
mod places;
mod secrets;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use keys::Key;
pub(crate) use keys::now;
use places::Place;
pub(crate) use places::Places;
pub(crate) use secrets::{Secret, Secrets};

use crate::http::Server;
use crate::metrics;
use crate::refusal::Refusal;

/// Who may use a server.
#[derive(Clone, Debug)]
pub struct Access {
    /// Nobody is served without a key.
    pub required: bool,
    /// The keys that are good, now and later.
    pub keys: watch::Receiver<Vec<Key>>,
    /// Pages of these origins, such as `https://radio.example`, may use the server beside its own.
    pub origins: Vec<String>,
}

impl Default for Access {
    /// Everybody who can reach it.
    fn default() -> Self {
        Self { required: false, keys: watch::Sender::default().subscribe(), origins: Vec::new() }
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who sent a request. Every handler that takes one serves only those who may.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key's name, or the address where no key is needed: what limits are counted by.
    pub(crate) name: String,
    /// Settings that its ephemeral key carries: the `session` object it was made with.
    pub(crate) session: Option<serde_json::Value>,
}

/// A session, or a request that engines work for, that a caller may hold. Dropping it gives its place to the next.
pub(crate) struct Admission {
    _seat: OwnedSemaphorePermit,
    _place: Place,
}

impl Caller {
    /// A place for one more session or request, or why there is none.
    pub(crate) fn admit(&self, server: &Server) -> Result<Admission, Refusal> {
        let limits = &server.app.limits;
        let seat = server.seats.clone().try_acquire_owned().map_err(|_| {
            metrics::refused("full");
            let message =
                format!("All {} sessions of this server are taken. Try again when one has ended.", limits.sessions);
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_sessions", message)
        })?;
        let place = server.places.take(&self.name, limits.sessions_per_caller).ok_or_else(|| {
            metrics::refused("caller_full");
            let message = format!(
                "{} holds {} sessions already, as many as one caller may. End one of them first.",
                self.name, limits.sessions_per_caller
            );
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_sessions", message)
        })?;
        Ok(Admission { _seat: seat, _place: place })
    }
}

/// Where an ephemeral key opens the door: to conversations, not to the rest of the API.
fn within_scope(path: &str) -> bool {
    let path = path.strip_prefix("/openai").unwrap_or(path);
    path == "/v1/realtime" || path.starts_with("/v1/realtime/calls")
}

impl FromRequestParts<Arc<Server>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Refusal> {
        let Access { required, keys, origins } = &server.app.access;
        if let Some(origin) = parts.headers.get(header::ORIGIN)
            && !origins.iter().any(|known| origin.as_bytes() == known.as_bytes())
            && !(if server.local { origin::is_local(origin) } else { origin::is_own(origin, parts) })
        {
            metrics::refused("origin");
            let from = origin.to_str().unwrap_or("a page without a name");
            let whose = if server.local { "this machine" } else { "its own address" };
            let message = format!(
                "This server takes requests of pages of {whose} alone, not of {from}. Open the studio from there, or add \
                 the page's origin to server.origins."
            );
            return Err(Refusal::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
        }
        let token = token(parts);
        if let Some(secret) = token.and_then(|token| server.secrets.find(token)) {
            if !within_scope(parts.uri.path()) {
                let message = "An ephemeral key opens conversations only. Use an API key here.";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope", message));
            }
            return Ok(Self { name: secret.owner, session: secret.session });
        }
        if let Some(key) = token.and_then(|token| Key::find(&keys.borrow(), token)) {
            return Ok(Self { name: key, session: None });
        }
        if *required {
            metrics::refused("key");
            let message = match token {
                None => {
                    "This server needs an API key. Send it as 'Authorization: Bearer KEY'; \
                     `ai-anchor keys add NAME` makes one."
                }
                Some(_) => "The API key is not known, or it has expired. `ai-anchor keys add NAME` makes one.",
            };
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message));
        }
        let name = parts.extensions.get::<Peer>().map_or_else(|| "somebody".into(), |peer| peer.0.to_string());
        Ok(Self { name, session: None })
    }
}

/// The key a request brings: as a bearer's, in Azure's header, or among the subprotocols, where browsers can put one.
fn token(parts: &Parts) -> Option<&str> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let offered = || {
        let mut protocols = text("sec-websocket-protocol")?.split(',');
        protocols.find_map(|protocol| protocol.trim().strip_prefix("openai-insecure-api-key."))
    };
    bearer.or_else(|| text("api-key")).or_else(offered)
}

/// What browsers are told about pages of other origins.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("api-key"),
            HeaderName::from_static("x-openai-agents-sdk"),
        ])
        .expose_headers([header::LOCATION])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brings(name: &str, value: &str) -> Option<String> {
        let request = axum::http::Request::builder().header(name, value).body(()).unwrap();
        token(&request.into_parts().0).map(str::to_owned)
    }

    #[test]
    fn a_key_is_found_wherever_clients_put_it() {
        for (name, value) in [
            ("authorization", "Bearer sk-1"),
            ("authorization", "bearer  sk-1"),
            ("api-key", "sk-1"),
            ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-1, openai-agents-sdk.1.2"),
        ] {
            assert_eq!(brings(name, value).as_deref(), Some("sk-1"), "{name}: {value}");
        }
        for (name, value) in [("authorization", "Basic sk-1"), ("sec-websocket-protocol", "realtime")] {
            assert_eq!(brings(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn an_ephemeral_key_opens_conversations_alone() {
        for path in ["/v1/realtime", "/openai/v1/realtime", "/v1/realtime/calls", "/v1/realtime/calls/rtc_1/hangup"] {
            assert!(within_scope(path), "{path}");
        }
        for path in ["/v1/realtime/client_secrets", "/v1/audio/speech", "/v1/models"] {
            assert!(!within_scope(path), "{path}");
        }
    }
}
