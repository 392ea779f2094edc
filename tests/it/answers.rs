//! Answers of the built program: what is cited stands in the documents, what is not there is not said.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{cervella, handbook, json, models, root, stdout};

fn questions() -> Vec<Value> {
    let text = fs::read_to_string(root().join("tests/fixtures/handbook_questions.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file's own text where it is text; PDF and DOCX as the index holds them.
fn document_text(path: &str) -> Option<String> {
    let file = root().join("knowledge").join(path);
    let is_plain = [".md", ".txt"].iter().any(|extension| path.ends_with(extension));
    is_plain.then(|| words(&fs::read_to_string(file).unwrap()))
}

#[test]
fn every_citation_quotes_its_document_word_for_word() {
    let Some(data) = handbook() else { return };
    let mut checked = 0;
    for question in questions().iter().step_by(5) {
        let answer = json(cervella(data).args(["ask", question["question"].as_str().unwrap(), "--json", "--top", "2"]));
        let text = answer["answer"].as_str().unwrap();
        for citation in answer["citations"].as_array().unwrap() {
            assert!(text.contains(&format!("[{}]", citation["n"])), "{citation} is not marked in {text}");
            let quote = words(citation["quote"].as_str().unwrap());
            assert!(!quote.is_empty());
            if let Some(document) = document_text(citation["path"].as_str().unwrap()) {
                assert!(document.contains(&quote), "{quote:?} does not stand in {}", citation["path"]);
                checked += 1;
            }
        }
    }
    assert!(checked >= 8, "only {checked} quotes could be compared with their files");
}

#[test]
fn an_unanswerable_question_is_answered_by_saying_so_in_its_language() {
    let Some(data) = handbook() else { return };
    for (question, expect) in [
        ("Posso portare il mio cane in ufficio?", "I documenti non lo dicono."),
        ("What is the boiling point of tungsten?", "The documents do not say."),
    ] {
        let answer = json(cervella(data).args(["ask", question, "--json"]));
        assert_eq!(answer["verdict"], "abstained", "{answer}");
        assert!(answer["answer"].as_str().unwrap().starts_with(expect), "{answer}");
        let contact = "people@example.com";
        let answer = json(cervella(data).env("CERVELLA__ANSWER__CONTACT", contact).args(["ask", question, "--json"]));
        assert!(answer["answer"].as_str().unwrap().ends_with(contact), "{answer}");
    }
}

#[test]
fn passages_that_may_not_answer_are_quoted_and_said_to_be_so() {
    let Some(data) = handbook() else { return };
    for (question, remark) in [
        ("Quanti giorni di ferie ho all'anno?", "Non so se i documenti rispondano."),
        ("How many days of annual leave do I have?", "I am not sure that the documents answer this."),
    ] {
        let answer = json(cervella(data).env("CERVELLA__ANSWER__EVIDENCE_SURE", "1").args(["ask", question, "--json"]));
        let text = answer["answer"].as_str().unwrap();
        assert!(text.starts_with(remark) && text.contains("26"), "{answer}");
        assert_eq!(answer["tokens"]["generated"], 0, "{answer}");
    }
}

#[test]
fn documents_that_disagree_are_both_shown_and_the_newer_is_named() {
    if models().is_none() {
        return;
    }
    let (data, knowledge) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let documents = [
        (
            "manuale.md",
            "---\naggiornato: 2026-03-01\n---\n# Manuale del personale\n\nChi lavora a tempo pieno ha 26 giorni di ferie all'anno. \
             Le ferie si chiedono sul portale e le approva il responsabile, di norma entro due giorni.\n",
        ),
        (
            "regolamento.md",
            "---\naggiornato: 2024-05-10\n---\n# Regolamento interno\n\nChi lavora a tempo pieno ha 24 giorni di ferie all'anno. \
             In officina si entra con le scarpe antinfortunistiche; il magazzino chiude alle 17.\n",
        ),
        ("mensa.md", "# Mensa\n\nIl pranzo si prenota entro le 10. Chi lavora a tempo pieno ha un buono al giorno.\n"),
    ];
    for (name, text) in documents {
        fs::write(knowledge.path().join(name), text).unwrap();
    }
    stdout(cervella(data.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).arg("index"));
    let question = "Quanti giorni di ferie all'anno ha chi lavora a tempo pieno?";
    let answer = json(cervella(data.path()).args(["ask", question, "--json"]));
    let text = answer["answer"].as_str().unwrap();
    assert!(text.contains("non concordano."), "{answer}");
    assert!(text.contains("26 giorni") && text.contains("24 giorni"), "{answer}");
    let citations = answer["citations"].as_array().unwrap();
    assert_eq!(citations[0]["path"], "manuale.md", "{answer}");
    let newer = citations.iter().find(|citation| citation["path"] == "manuale.md").unwrap();
    assert_eq!(newer["date"], "2026-03-01");
    assert!(text.contains(&format!("Il più recente è [{}], del 2026-03-01.", newer["n"])), "{answer}");
    let older = citations.iter().find(|citation| citation["path"] == "regolamento.md").unwrap();
    assert!(text.contains(&format!("[{}]", older["n"])), "{answer}");
}

#[test]
fn a_follow_up_is_answered_about_what_it_follows() {
    let Some(data) = handbook() else { return };
    let ask = |question: &str, after: &str| json(cervella(data).args(["ask", question, "--after", after, "--json"]));
    let answer = ask("e come le chiedo?", "quanti giorni di ferie ho all'anno?");
    assert_eq!(answer["question"], "quanti giorni di ferie ho all'anno?\ne come le chiedo?");
    let cited: Vec<&str> = answer["citations"].as_array().unwrap().iter().filter_map(|c| c["path"].as_str()).collect();
    assert!(cited.contains(&"it/persone/ferie-e-permessi.md"), "{answer}");
    let answer = ask("How do I get a VPN account?", "quanti giorni di ferie ho all'anno?");
    assert!(answer["question"].is_null(), "{answer}");
    assert_eq!(answer["language"], "en");
}

#[test]
fn several_questions_of_a_message_are_answered_one_by_one() {
    let Some(data) = handbook() else { return };
    let ask = |question: &str| json(cervella(data).args(["ask", question, "--json"]));
    let answer = ask("Quanti giorni di ferie ho all'anno? Posso portare il mio cane in ufficio domani mattina? \
         E come chiedo un account VPN?");
    let text = answer["answer"].as_str().unwrap();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text}"));
    assert!(at("**a)**") < at("26") && at("**b)**") < at("I documenti non lo dicono.") && at("**b)**") < at("**c)**"));
    assert_eq!((answer["verdict"].as_str(), answer["language"].as_str()), (Some("answered"), Some("it")));
    // Every citation has a number of its own, and stands in the part that it belongs to.
    let numbers: Vec<u64> = answer["citations"].as_array().unwrap().iter().filter_map(|c| c["n"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    numbers.iter().for_each(|n| assert!(text.contains(&format!("[{n}]")), "[{n}] is not in {text}"));
    let cited = |path: &str| {
        let citations = answer["citations"].as_array().unwrap().iter();
        let of_path = citations.filter(|citation| citation["path"].as_str().unwrap().contains(path));
        of_path.map(|citation| at(&format!("[{}]", citation["n"]))).min()
    };
    assert!(cited("ferie").is_some_and(|place| place < at("**b)**")), "{answer}");
    assert!(cited("vpn").is_some_and(|place| place > at("**c)**")), "{answer}");
    let four = "How many days of annual leave do I have? Who approves trips abroad? Where is the first aid kit? \
                And which VPN do we use?";
    let answer = ask(four)["answer"].as_str().unwrap().to_owned();
    assert!(answer.contains("**c)**") && !answer.contains("**d)**"), "{answer}");
    assert!(answer.ends_with("send me the others in a new message."), "{answer}");
}

#[test]
fn ask_prints_what_scripts_rely_on() {
    let Some(data) = handbook() else { return };
    let answer = json(cervella(data).args(["ask", "How many days of annual leave do I have?", "--json"]));
    assert_eq!(answer["language"], "en");
    assert_eq!(answer["verdict"], "answered");
    for key in ["retrieve", "first_text", "total"] {
        assert!(answer["timings_ms"][key].as_f64().unwrap() > 0.0, "{key} in {answer}");
    }
    for key in ["prompt", "cached", "generated"] {
        assert!(answer["tokens"][key].is_u64(), "{key} in {answer}");
    }
}

#[test]
fn the_terminal_shows_the_quote_the_answer_and_its_sources() {
    let Some(data) = handbook() else { return };
    let shown = stdout(cervella(data).args(["ask", "Quanti giorni di ferie ho all'anno?"]));
    assert!(shown.contains("  │ "), "{shown}");
    assert!(shown.contains("Fonti:\n  ["), "{shown}");
}

#[test]
fn ctrl_c_during_an_answer_ends_within_two_seconds_and_well() {
    let Some(data) = handbook() else { return };
    let mut command = cervella(data);
    command.args(["chat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    std::io::Write::write_all(&mut input, b"Describe every step of the deploy procedure in detail.\n").unwrap();
    // The quote has been shown: the model is at work.
    let mut first = [0; 4];
    std::io::Read::read_exact(&mut output, &mut first).unwrap();
    let interrupted = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(interrupted.elapsed() < Duration::from_secs(2), "it took {:?}", interrupted.elapsed());
    assert_eq!(status.code(), Some(0));
}
