//! From passages to what an answer says of them: citations, and how they look in a text.

use crate::domain::{Citation, Passage, PassageId};
use crate::prompt::Reference;
use crate::retrieval::Hit;

/// The passage of a hit, or one that continues it.
pub(super) fn found_passage(hits: &[Hit], id: PassageId) -> Option<&Passage> {
    hits.iter().flat_map(Hit::joined).map(|hit| &hit.passage).find(|passage| passage.id == id)
}

/// A citation of a passage under a number.
pub(super) fn citation(n: usize, passage: &Passage, quote: &str) -> Citation {
    Citation {
        n,
        path: passage.path.clone(),
        link: passage.link.clone(),
        title: passage.title.clone(),
        heading: passage.heading(),
        date: passage.date,
        quote: quote.to_owned(),
        passage_id: passage.id,
        language: passage.language,
    }
}

/// What a citation looks like in a text.
pub(super) fn reference(citation: &Citation) -> Reference {
    let block: Vec<String> = citation.quote.lines().map(|line| format!("> {line}").trim_end().to_owned()).collect();
    Reference { n: citation.n, title: citation.title.clone(), block: block.join("\n") }
}
