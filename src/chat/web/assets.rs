//! The files of the page, compiled into the binary.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::refusal::{PageLanguage, Refusal};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! asset {
    ($name:literal, $media_type:expr) => {
        Asset { name: $name, media_type: $media_type, text: include_str!(concat!("assets/", $name)) }
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: Asset = asset!("index.html", HTML);

const ASSETS: [Asset; 19] = [
    asset!("theme.css", CSS),
    asset!("chat.css", CSS),
    asset!("turn.css", CSS),
    asset!("document.css", CSS),
    asset!("mark.svg", SVG),
    asset!("theme.js", JAVASCRIPT),
    asset!("chat.js", JAVASCRIPT),
    asset!("composer.js", JAVASCRIPT),
    asset!("turn.js", JAVASCRIPT),
    asset!("sources.js", JAVASCRIPT),
    asset!("panel.js", JAVASCRIPT),
    asset!("answer-stream.js", JAVASCRIPT),
    asset!("service-status.js", JAVASCRIPT),
    asset!("labels.js", JAVASCRIPT),
    asset!("preferences.js", JAVASCRIPT),
    asset!("elements.js", JAVASCRIPT),
    asset!("markdown-blocks.js", JAVASCRIPT),
    asset!("markdown-inline.js", JAVASCRIPT),
    asset!("quote-highlight.js", JAVASCRIPT),
];

/// Changes with any file of the page, so that a browser never mixes the files of two versions.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for asset in ASSETS.iter().chain([&PAGE]) {
        hasher.update(asset.text.as_bytes());
    }
    format!("\"{}\"", &hasher.finalize().to_hex()[..16])
});

pub(super) async fn page(headers: HeaderMap) -> Response {
    respond(&PAGE, &headers)
}

pub(super) async fn asset(
    PageLanguage(language): PageLanguage,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => respond(asset, &headers),
        None => Refusal::NothingHere.to(language).into_response(),
    }
}

fn respond(asset: &Asset, headers: &HeaderMap) -> Response {
    let kept = [(ETAG, VERSION.as_str()), (CACHE_CONTROL, "no-cache")];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == VERSION.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(CONTENT_TYPE, asset.media_type)], asset.text).into_response()
}
