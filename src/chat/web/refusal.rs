//! Requests that get no answer: status code and one sentence in the language of the page.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::QUESTION_CHARACTERS_MAX;
use crate::domain::Language;

/// Seconds after which a refused client may try again.
const RETRY_AFTER_S: &str = "5";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NothingHere,
    ForeignHost,
    ForeignOrigin,
    NoToken,
    NotAQuestion,
    QuestionEmpty,
    QuestionTooLong,
    NotReady,
    TooManyStreams,
    PassageGone,
    DocumentUnreadable,
}

impl Refusal {
    pub(super) fn to(self, language: Language) -> Refused {
        Refused { refusal: self, language }
    }

    fn status(self) -> StatusCode {
        match self {
            Refusal::NothingHere | Refusal::PassageGone => StatusCode::NOT_FOUND,
            Refusal::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Refusal::ForeignOrigin => StatusCode::FORBIDDEN,
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
            Refusal::NotAQuestion | Refusal::QuestionEmpty => StatusCode::BAD_REQUEST,
            Refusal::QuestionTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NotReady | Refusal::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::DocumentUnreadable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn sentence(self, language: Language) -> String {
        let (italian, english) = match self {
            Refusal::NothingHere => ("Qui non c'è niente.", "There is nothing here."),
            Refusal::ForeignHost => (
                "Questo indirizzo non è tra quelli a cui risponde Cervella.",
                "This address is not one that Cervella answers to.",
            ),
            Refusal::ForeignOrigin => (
                "Le domande si accettano soltanto dalla pagina di Cervella.",
                "Questions are only taken from Cervella's own page.",
            ),
            Refusal::NoToken => (
                "Per entrare serve la parola chiave di questa pagina: la conosce chi gestisce Cervella.",
                "This page asks for a password: whoever runs Cervella knows it.",
            ),
            Refusal::NotAQuestion => ("La richiesta non contiene una domanda.", "The request holds no question."),
            Refusal::QuestionEmpty => ("La domanda è vuota.", "The question is empty."),
            Refusal::QuestionTooLong => return question_too_long(language),
            Refusal::NotReady => (
                "Il modello si sta ancora caricando: riprova tra qualche secondo.",
                "The model is still loading: try again in a few seconds.",
            ),
            Refusal::TooManyStreams => (
                "Ci sono troppe risposte in corso: riprova tra poco.",
                "Too many answers are being written: try again in a moment.",
            ),
            Refusal::PassageGone => (
                "Questo passo non è più nei documenti: nel frattempo sono cambiati.",
                "This passage is no longer in the documents: they have changed since.",
            ),
            Refusal::DocumentUnreadable => {
                ("Non è stato possibile leggere il documento.", "The document could not be read.")
            }
        };
        match language {
            Language::Italian => italian.to_owned(),
            Language::English => english.to_owned(),
        }
    }
}

fn question_too_long(language: Language) -> String {
    match language {
        Language::Italian => {
            format!("La domanda è troppo lunga: sono ammessi al massimo {QUESTION_CHARACTERS_MAX} caratteri.")
        }
        Language::English => {
            format!("The question is too long: at most {QUESTION_CHARACTERS_MAX} characters are allowed.")
        }
    }
}

/// A refusal on its way out: `{"error": sentence}`.
#[derive(Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    language: Language,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.refusal.status();
        let mut response = (status, Json(json!({ "error": self.refusal.sentence(self.language) }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S.parse().expect("digits are a header value"));
        }
        if status == StatusCode::UNAUTHORIZED {
            // A browser asks for the password and sends it along from then on.
            let challenge = HeaderValue::from_static("Basic realm=\"Cervella\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The language in which the page talks to its reader: the first one of `Accept-Language` that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageLanguage(pub(super) Language);

impl PageLanguage {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Browsers list the languages by preference, so the weights need no reading.
        let spoken = wanted.split(',').find_map(|tag| {
            let code = tag.trim().split(['-', ';']).next().unwrap_or_default();
            code.to_ascii_lowercase().parse().ok()
        });
        PageLanguage(spoken.unwrap_or(Language::English))
    }
}

impl<S: Sync> FromRequestParts<S> for PageLanguage {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(PageLanguage::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_speaks_the_first_language_that_we_know() {
        let page_language = |wanted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, wanted.parse().unwrap());
            PageLanguage::of(&headers).0
        };
        assert_eq!(page_language("it-IT,it;q=0.9,en;q=0.8"), Language::Italian);
        assert_eq!(page_language("de-CH, IT;q=0.5"), Language::Italian);
        assert_eq!(page_language("en"), Language::English);
        assert_eq!(page_language("*"), Language::English);
    }
}
