//! Keeps other web sites, and whoever does not know the token, out of a page that has no accounts.
//!
//! A site that the reader visits could point its own name at our address (DNS rebinding) or send requests across
//! origins. A rebound request carries the site's name in `Host`, a request across origins another `Origin`: both
//! are refused before any handler runs. So a browser that remembers the token does nothing for another site either.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::refusal::{PageLanguage, Refusal};
use crate::chat::secrets::is_same;

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

/// What is answered without the token: scripts that only look whether the service is well have none.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// How the page is reached from elsewhere. By default it is not.
#[derive(Clone, Default)]
pub struct Exposure {
    /// What whoever asks has to know: the password that a browser asks for, or `Authorization: Bearer`. Empty: nothing.
    pub token: String,
    /// The origin under which a proxy that does TLS shows the page, `https://name`; empty: there is none.
    pub url: String,
}

/// Who is let in.
pub(super) struct Door {
    listener: IpAddr,
    exposure: Exposure,
}

impl Door {
    pub(super) fn of(listener: SocketAddr, exposure: Exposure) -> Self {
        Door { listener: listener.ip(), exposure }
    }

    /// Whether the page may be addressed like this. Ports are not compared: it may be reached through a forwarded port,
    /// and a name that somebody else owns is refused whatever its port.
    ///
    /// `host` as in the header: a name or an address, perhaps with a port.
    fn is_own_host(&self, host: &str) -> bool {
        let name = name_of(host);
        if name.eq_ignore_ascii_case("localhost")
            || self.shown_host().is_some_and(|shown| name.eq_ignore_ascii_case(shown))
        {
            return true;
        }
        let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        // An address cannot be rebound, so a listener on all interfaces takes every one of them.
        address == self.listener || address.is_loopback() || self.listener.is_unspecified()
    }

    fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        if self.shown_host().is_some_and(|shown| name_of(host).eq_ignore_ascii_case(shown)) {
            return origin.eq_ignore_ascii_case(&self.exposure.url);
        }
        origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    }

    /// The name under which a proxy shows the page.
    fn shown_host(&self) -> Option<&str> {
        self.exposure.url.split_once("://").map(|(_, host)| name_of(host))
    }

    fn refusal_of(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Refusal> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = text(HOST).filter(|host| self.is_own_host(host));
        let Some(host) = host else { return Some(Refusal::ForeignHost) };
        // Scripts send no origin; browsers always do.
        let origin = headers.get(ORIGIN).filter(|_| !method.is_safe());
        if origin.is_some_and(|origin| !self.is_own_origin(origin.to_str().unwrap_or_default(), host)) {
            return Some(Refusal::ForeignOrigin);
        }
        let token = self.exposure.token.as_bytes();
        let is_known = || text(AUTHORIZATION).and_then(told).is_some_and(|told| is_same(&told, token));
        (!token.is_empty() && !OPEN.contains(&path) && !is_known()).then_some(Refusal::NoToken)
    }
}

/// What an `Authorization` header says: a bearer's token, or a password whoever it is of.
fn told(authorization: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok()).flatten()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = match door.refusal_of(request.method(), request.uri().path(), request.headers()) {
        Some(refusal) => refusal.to(PageLanguage::of(request.headers()).0).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.extend(SECURITY_HEADERS);
    // Answers and documents are the team's: no cache keeps them.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(listener: [u8; 4], token: &str, url: &str) -> Door {
        Door::of((listener, 8080).into(), Exposure { token: token.to_owned(), url: url.to_owned() })
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let loopback = door([127, 0, 0, 1], "", "");
        for own in ["localhost", "LOCALHOST:9000", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
            assert!(loopback.is_own_host(own), "{own}");
        }
        for foreign in ["", "evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5:8080"]
        {
            assert!(!loopback.is_own_host(foreign), "{foreign}");
        }
        let shown = door([127, 0, 0, 1], "", "https://ask.example:444");
        assert!(shown.is_own_host("Ask.example") && shown.is_own_host("localhost"));
        assert!(!shown.is_own_host("task.example"));
    }

    #[test]
    fn a_listener_on_all_interfaces_takes_any_address_but_no_name() {
        let everywhere = door([0, 0, 0, 0], "", "");
        assert!(everywhere.is_own_host("192.168.1.5:8080"));
        assert!(!everywhere.is_own_host("rebound.example:8080"));
    }

    fn refusal(door: &Door, method: &Method, path: &str, headers: &[(HeaderName, &'static str)]) -> Option<Refusal> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        door.refusal_of(method, path, &HeaderMap::from_iter(headers))
    }

    #[test]
    fn a_question_from_another_origin_is_refused() {
        let of = |door: &Door, host: &'static str, origin: &'static str| {
            refusal(door, &Method::POST, "/api/ask", &[(HOST, host), (ORIGIN, origin)])
        };
        let direct = door([127, 0, 0, 1], "", "");
        assert_eq!(refusal(&direct, &Method::POST, "/api/ask", &[(HOST, "localhost:8080")]), None);
        assert_eq!(of(&direct, "localhost:8080", "http://localhost:8080"), None);
        for foreign in ["http://localhost:3000", "https://localhost:8080", "http://evil.example", "null", ""] {
            assert_eq!(of(&direct, "localhost:8080", foreign), Some(Refusal::ForeignOrigin), "{foreign}");
        }
        let shown = door([127, 0, 0, 1], "", "https://ask.example");
        assert_eq!(of(&shown, "ask.example", "https://ask.example"), None);
        for foreign in ["https://evil.example", "http://ask.example"] {
            assert_eq!(of(&shown, "ask.example", foreign), Some(Refusal::ForeignOrigin), "{foreign}");
        }
        assert_eq!(of(&direct, "localhost:8080", "https://ask.example"), Some(Refusal::ForeignOrigin));
    }

    #[test]
    fn who_does_not_know_the_token_sees_only_whether_the_service_is_well() {
        let door = door([0, 0, 0, 0], "a token of some length", "");
        let with = |path: &str, authorization: Option<&'static str>| {
            let told = authorization.map(|told| (AUTHORIZATION, told));
            let headers: Vec<_> = [(HOST, "10.0.0.7")].into_iter().chain(told).collect();
            refusal(&door, &Method::GET, path, &headers)
        };
        assert_eq!((with("/healthz", None), with("/readyz", None)), (None, None));
        for path in ["/", "/metrics", "/api/status", "/healthz/", "/assets/page.js"] {
            assert_eq!(with(path, None), Some(Refusal::NoToken), "{path}");
            assert_eq!(with(path, Some("Bearer a token of some length")), None, "{path}");
        }
        // `whoever:a token of some length`
        assert_eq!(with("/", Some("Basic d2hvZXZlcjphIHRva2VuIG9mIHNvbWUgbGVuZ3Ro")), None);
        for wrong in [
            "",
            "Bearer",
            "Bearer a token of some lengtH",
            "Bearer ",
            "Basic !",
            "Basic d2hvZXZlcjphIHRva2Vu",
            "Digest a",
        ] {
            assert_eq!(with("/", Some(wrong)), Some(Refusal::NoToken), "{wrong}");
        }
    }
}
