//! Answers that people confirmed, given again to whoever asks the same: see `docs/decisions/0020-confirmed-answers.md`.

use super::citing::found_passage;
use crate::domain::{Citation, GivenAnswer, Language, PassageId, QuestionKey};
use crate::retrieval::Hit;

/// Words without which a question asks the same: articles that cannot be anything else, greetings, thanks.
const LEFT_OUT: &[&str] =
    &["il", "the", "ciao", "salve", "buongiorno", "buonasera", "grazie", "hi", "hello", "hey", "please", "thanks"];
/// Signs around a word that say nothing; others, as in "C#" or "> 100 €", count.
const AROUND: &str = ".,;:!?…()\"“”«»";

/// Where answers that people confirmed are kept; `app` connects it.
pub trait ConfirmedAnswers: Send + Sync {
    /// Those to questions with this key ([`asked_key`]), each with the message that asked first. None when they cannot be
    /// read.
    fn to(&self, asked: &str) -> Vec<(QuestionKey, GivenAnswer)>;
}

/// The same for questions of the same words, in the same order; `None`: there are none.
pub(super) fn asked_key(question: &str) -> Option<String> {
    let words = words(question);
    (!words.is_empty()).then(|| blake3::hash(words.join("\n").as_bytes()).to_hex().to_string())
}

fn words(question: &str) -> Vec<String> {
    let lower = question.to_lowercase().replace('’', "'");
    let words = lower.split_whitespace().map(|word| word.trim_matches(|c| AROUND.contains(c)));
    words.filter(|word| !word.is_empty() && !LEFT_OUT.contains(word)).map(str::to_owned).collect()
}

/// Whether an answer that was given when `given.found` had been found is right for somebody who finds `hits`: the same
/// passages with the same one in front. Another version, a new document, or a reader who may see less, finds others.
pub(super) fn stands(given: &GivenAnswer, language: Option<Language>, hits: &[Hit]) -> bool {
    let ids = |hits: &[Hit]| hits.iter().flat_map(Hit::joined).map(|hit| hit.passage.id).collect::<Vec<PassageId>>();
    let found = ids(hits);
    let same = found.first() == given.found.first()
        && found.len() == given.found.len()
        && found.iter().all(|id| given.found.contains(id));
    // The text may say which of them is newer.
    let cited = |citation: &Citation| {
        found_passage(hits, citation.passage_id).is_some_and(|passage| passage.date == citation.date)
    };
    same && language.is_none_or(|language| language == given.language)
        && !given.citations.is_empty()
        && given.citations.iter().all(cited)
}

/// The citations with titles and addresses as they are now.
pub(super) fn renewed(citations: Vec<Citation>, hits: &[Hit]) -> Vec<Citation> {
    let renew = |citation: Citation| match found_passage(hits, citation.passage_id) {
        Some(passage) => Citation {
            path: passage.path.clone(),
            link: passage.link.clone(),
            title: passage.title.clone(),
            heading: passage.heading(),
            ..citation
        },
        None => citation,
    };
    citations.into_iter().map(renew).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, same: bool) {
        assert_eq!(asked_key(a) == asked_key(b), same, "{a} / {b}");
    }

    #[test]
    fn a_question_stays_the_same_without_greeting_and_marks() {
        check("Quanti giorni di ferie ho all'anno?", "ciao, quanti giorni di ferie ho all’anno", true);
        check("Where is the first aid kit?", "Hi! where is first aid kit, please", true);
        assert_eq!(asked_key("ciao!"), None);
    }

    #[test]
    fn another_question_is_another_one() {
        for (a, b) in [
            ("Quanti giorni di ferie ho all'anno?", "quanti giorni di ferie ho al mese?"),
            ("posso lavorare da casa?", "non posso lavorare da casa?"),
            ("come installo la VPN?", "come disinstallo la VPN?"),
            ("ferie con preavviso", "ferie senza preavviso"),
            ("chi approva le trasferte?", "quando si approvano le trasferte?"),
            ("passo da A1 a B2", "passo da B2 a A1"),
            ("errore FAT-030", "errore FAT-031"),
            ("Where is building A?", "Where is building D?"),
            ("Dove si trova l'edificio A?", "Dove si trova l'edificio E?"),
            ("Which C# version do we use?", "Which C++ version do we use?"),
            ("spese > 100 €", "spese < 100 €"),
            ("chi paga le trasferte ai clienti?", "chi paga le trasferte dei clienti?"),
            ("Is the office closed on Monday?", "Was the office closed on Monday?"),
            ("dov'è la posta?", "dov'è il posto?"),
            ("chi approva?", "chi lo approva?"),
            ("quanto spetta?", "quanto gli spetta?"),
            ("how do I reset my password?", "how do I change my password?"),
        ] {
            check(a, b, false);
        }
    }

    fn given(found: &[u8], cited: u8) -> GivenAnswer {
        let id = |n: u8| PassageId([n; 16]);
        let citation = Citation {
            n: 1,
            path: "old.md".into(),
            link: None,
            title: "Old".into(),
            heading: String::new(),
            date: None,
            quote: "26 days".into(),
            passage_id: id(cited),
            language: Language::English,
        };
        GivenAnswer {
            asked: String::new(),
            text: "26 days [1]".into(),
            language: Language::English,
            citations: vec![citation],
            found: found.iter().copied().map(id).collect(),
        }
    }

    fn hits(ids: &[u8]) -> Vec<Hit> {
        let hit = |n: &u8| {
            let mut hit = Hit::of("new.md", "26 days");
            hit.passage.id = PassageId([*n; 16]);
            hit.passage.title = "New".into();
            hit
        };
        ids.iter().map(hit).collect()
    }

    #[test]
    fn an_answer_stands_while_the_same_passages_are_found() {
        let english = Some(Language::English);
        let answer = given(&[1, 2, 3], 2);
        assert!(stands(&answer, english, &hits(&[1, 2, 3])) && stands(&answer, None, &hits(&[1, 3, 2])));
        // Another one is best, one is new, one is gone or closed, another language.
        assert!(!stands(&answer, english, &hits(&[2, 1, 3])));
        assert!(!stands(&answer, english, &hits(&[1, 2, 4])));
        assert!(!stands(&answer, english, &hits(&[1, 2])));
        assert!(!stands(&answer, Some(Language::Italian), &hits(&[1, 2, 3])));
        assert!(!stands(&given(&[1, 2], 9), english, &hits(&[1, 2])));
        assert!(!stands(&GivenAnswer { citations: Vec::new(), ..answer.clone() }, english, &hits(&[1, 2, 3])));
        let mut dated = hits(&[1, 2, 3]);
        dated[1].passage.date = Some("2026-06-01".parse().unwrap());
        assert!(!stands(&answer, english, &dated));
        let renewed = renewed(answer.citations, &hits(&[1, 2, 3]));
        assert_eq!((renewed[0].title.as_str(), renewed[0].path.as_str(), renewed[0].n), ("New", "new.md", 1));
    }
}
