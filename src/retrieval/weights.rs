//! What a ranking is made of.

use serde::{Deserialize, Serialize};

/// How the two sides and their parts count. The default was fitted on the development questions and checked on those about
/// the sample handbook; each part was also taken away alone: see `docs/decisions/0005-fusion.md`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    pub fusion: Fusion,
    pub dense: f32,
    pub lexical: f32,
    /// Of the best part of a passage, against the whole; between 0 and 1.
    pub best_part: f32,
    /// Whether what vectors have in common is taken out of them.
    pub centred: bool,
    /// Of a passage's title, headings and codes, in parts of its body.
    pub title: f32,
    pub heading: f32,
    pub code: f32,
    /// Of what the question's words are in the other language, in parts of themselves; 0: its words are looked for as they
    /// are.
    pub pairs: f32,
    /// Of the words that one nobody wrote may be a slip of, in parts of itself; 0: it is looked for as it is.
    pub slips: f32,
    /// Whether many vectors are looked through by their sketches first.
    pub sketches: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// A weighted mean of the cosine and of the share of the query that the passage's words hold (a convex combination:
    /// Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023).
    Mean,
    /// Of places instead of scores (Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion", SIGIR 2009).
    ReciprocalRanks,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            fusion: Fusion::Mean,
            dense: 1.0,
            lexical: 0.3,
            best_part: 0.7,
            centred: true,
            title: 0.3,
            heading: 1.3,
            code: 1.5,
            pairs: 1.0,
            slips: 0.7,
            sketches: true,
        }
    }
}

impl Weights {
    /// What a search engine without any refinement does, for comparison.
    const PLAIN: Weights = Weights {
        fusion: Fusion::ReciprocalRanks,
        dense: 1.0,
        lexical: 1.0,
        best_part: 0.0,
        centred: false,
        title: 1.0,
        heading: 1.0,
        code: 0.0,
        pairs: 0.0,
        slips: 0.0,
        sketches: false,
    };

    /// BM25 alone, vectors alone, and both by plain reciprocal-rank fusion.
    pub const SIMPLE: [(&'static str, Weights); 3] = [
        ("BM25", Weights { dense: 0.0, ..Weights::PLAIN }),
        ("vectors", Weights { lexical: 0.0, ..Weights::PLAIN }),
        ("RRF", Weights::PLAIN),
    ];

    /// These weights without each of their parts, and what is missing.
    pub fn without_each_part(self) -> Vec<(&'static str, Weights)> {
        vec![
            ("words", Weights { lexical: 0.0, ..self }),
            ("best part", Weights { best_part: 0.0, ..self }),
            ("centring", Weights { centred: false, ..self }),
            ("title", Weights { title: 0.0, ..self }),
            ("headings", Weights { heading: 0.0, ..self }),
            ("term pairs", Weights { pairs: 0.0, ..self }),
            ("slips", Weights { slips: 0.0, ..self }),
            ("sketches", Weights { sketches: false, ..self }),
            ("codes", Weights { code: 0.0, ..self }),
            ("mean", Weights { fusion: Fusion::ReciprocalRanks, ..self }),
        ]
    }
}
