//! Hits in the order of a cross-encoder. The one of the fixture counts repeated tokens (scripts/make_reranker.py).

use std::path::Path;

use crate::support::{cervella, handbook, json, models, root, run};

const TOKENIZER_FILES: [&str; 4] =
    ["tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];
const QUESTION: &str = "Which VPN is used outside the office?";

/// A folder with the fixture's weights and the embedding model's tokenizer.
fn reranker() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let embedding = models().expect("the handbook has models").join("multilingual-e5-small");
    for name in TOKENIZER_FILES {
        std::fs::copy(embedding.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::copy(root().join("tests/fixtures/reranker.onnx"), folder.path().join("model.onnx")).unwrap();
    folder
}

fn hits(data: &Path, reranker: &Path, depth: usize, top: usize) -> Vec<serde_json::Value> {
    let mut command = cervella(data);
    command.env("CERVELLA__MODELS__RERANKER", reranker).env("CERVELLA__RETRIEVAL__RERANK", depth.to_string());
    let found = json(command.args(["search", QUESTION, "--explain", "--json", "--top", &top.to_string()]));
    assert_eq!(found["timings_ms"].get("rerank").is_some(), !reranker.as_os_str().is_empty());
    found["hits"].as_array().unwrap().clone()
}

fn column(hits: &[serde_json::Value], of: impl Fn(&serde_json::Value) -> Option<f64>) -> Vec<f64> {
    hits.iter().filter_map(of).collect()
}

fn ids(hits: &[serde_json::Value]) -> Vec<&str> {
    hits.iter().map(|hit| hit["passage_id"].as_str().unwrap()).collect()
}

#[test]
fn a_cross_encoder_puts_the_first_hits_in_its_order() {
    let Some(data) = handbook() else { return };
    let folder = reranker();
    let (ours, theirs) = (hits(data, Path::new(""), 8, 8), hits(data, folder.path(), 8, 8));
    let said = |hit: &serde_json::Value| hit["explanation"]["cross_encoder"].as_f64();
    assert!(column(&ours, said).is_empty());
    let said = column(&theirs, said);
    assert_eq!(said.len(), 8);
    assert!(said.is_sorted_by(|a, b| a >= b) && said[0] > said[7], "{said:?}");
    assert_ne!(ids(&ours), ids(&theirs));
    // The same hits, and places keep their scores.
    let sorted = |hits| {
        let mut ids = ids(hits);
        ids.sort_unstable();
        ids.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sorted(&ours), sorted(&theirs));
    let score = |hit: &serde_json::Value| hit["score"].as_f64();
    assert_eq!(column(&ours, score), column(&theirs, score));
    // What it puts first comes from as deep as it looks.
    assert_eq!(ids(&hits(data, folder.path(), 8, 1)), ids(&theirs)[..1]);
    let two = hits(data, folder.path(), 2, 8);
    assert_eq!(two.iter().filter(|hit| hit["explanation"]["cross_encoder"].is_number()).count(), 2);
    assert_eq!(ids(&two)[2..], ids(&ours)[2..]);
}

#[test]
fn a_model_that_is_no_cross_encoder_is_refused() {
    let Some(data) = handbook() else { return };
    let embedding = models().unwrap().join("multilingual-e5-small");
    for (folder, said) in [(embedding.as_path(), "logits"), (Path::new("/nowhere/at/all"), "reranking model")] {
        let refused = run(cervella(data).env("CERVELLA__MODELS__RERANKER", folder).args(["search", QUESTION]));
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}
