//! Keeps other web sites out of a page that has no accounts.
//!
//! A site that the reader visits could point its own name at our address (DNS rebinding) or send requests across
//! origins. A rebound request carries the site's name in `Host`, a request across origins another `Origin`: both
//! are refused before any handler runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::{PageLanguage, Refusal};

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The names under which this listener may be addressed. Ports are not compared: the page may be reached through a
/// forwarded port, and a name that somebody else owns is refused whatever its port.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnHosts {
    listener: IpAddr,
}

impl OwnHosts {
    pub(super) fn of(listener: SocketAddr) -> Self {
        OwnHosts { listener: listener.ip() }
    }

    /// `host` as in the header: a name or an address, perhaps with a port.
    fn contains(self, host: &str) -> bool {
        let name = name_of(host);
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        // An address cannot be rebound, so a listener on all interfaces takes every one of them.
        address == self.listener || address.is_loopback() || self.listener.is_unspecified()
    }
}

fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

pub(super) async fn guard(State(hosts): State<Arc<OwnHosts>>, request: Request, next: Next) -> Response {
    let mut response = match refusal_of(*hosts, request.method(), request.headers()) {
        Some(refusal) => refusal.to(PageLanguage::of(request.headers()).0).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.extend(SECURITY_HEADERS);
    // Answers and documents are the team's: no cache keeps them.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal_of(hosts: OwnHosts, method: &Method, headers: &HeaderMap) -> Option<Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(HOST).filter(|host| hosts.contains(host));
    let Some(host) = host else { return Some(Refusal::ForeignHost) };
    if method.is_safe() {
        return None;
    }
    // Scripts send no origin; browsers always do.
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or_default();
    let is_own = origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    (!is_own).then_some(Refusal::ForeignOrigin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_answered() {
        let loopback = OwnHosts::of(([127, 0, 0, 1], 8080).into());
        for own in ["localhost", "LOCALHOST:9000", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
            assert!(loopback.contains(own), "{own}");
        }
        for foreign in ["", "evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5:8080"]
        {
            assert!(!loopback.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_takes_any_address_but_no_name() {
        let everywhere = OwnHosts::of(([0, 0, 0, 0], 8080).into());
        assert!(everywhere.contains("192.168.1.5:8080"));
        assert!(!everywhere.contains("rebound.example:8080"));
    }

    #[test]
    fn a_question_from_another_origin_is_refused() {
        let hosts = OwnHosts::of(([127, 0, 0, 1], 8080).into());
        let refusal = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:8080"));
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            refusal_of(hosts, &Method::POST, &headers)
        };
        assert_eq!(refusal(None), None);
        assert_eq!(refusal(Some("http://localhost:8080")), None);
        for foreign in ["http://localhost:3000", "https://localhost:8080", "http://evil.example", "null", ""] {
            assert_eq!(refusal(Some(foreign)), Some(Refusal::ForeignOrigin), "{foreign}");
        }
    }
}
