//! Which pages may use the server from a browser.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};

/// Whether an `Origin` names a page of this machine. A name that merely resolves to this machine does not count:
/// anybody can own one (DNS rebinding).
pub(super) fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()).and_then(|uri| {
        let host = uri.host()?;
        Some(host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
    });
    host.is_some_and(|host| {
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    })
}

/// Whether an `Origin` is the very address the request went to: a page of this server.
pub(super) fn is_own(origin: &HeaderValue, parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let origin = origin.as_bytes();
    let place = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    place.is_some() && place == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_local() {
        for origin in ["http://localhost:8300", "http://127.0.0.1", "https://[::1]:8300", "http://studio.localhost:1"] {
            assert!(is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "file://",
            "http://[::2]",
        ] {
            assert!(!is_local(&HeaderValue::from_static(origin)), "{origin}");
        }
    }
}
