//! The model's text on its way to the reader: cut into sentences as it arrives, freed of the marks the model made.

use crate::domain::sentences;

/// Collects the model's text and hands out whole sentences.
#[derive(Default)]
pub(super) struct Draft {
    pending: String,
}

/// A sentence of the model, with the white space and list marker around it kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DraftSentence {
    /// Line breaks and list marker before the sentence.
    pub lead: String,
    /// Without citation marks.
    pub text: String,
}

impl Draft {
    /// Takes in a piece of text; returns the sentences that it completes.
    pub(super) fn push(&mut self, piece: &str) -> Vec<DraftSentence> {
        self.pending.push_str(piece);
        let bounds = sentences(&self.pending);
        // The last one may go on, and so may one whose end is only just written (`3.` of `3.5`, the mark after it).
        let complete = bounds.len().saturating_sub(1);
        let Some(last) = bounds[..complete].last() else { return Vec::new() };
        // The white space before the next sentence is part of its lead.
        let rest = self.pending.split_off(last.end);
        let done = std::mem::replace(&mut self.pending, rest);
        split(&done)
    }

    /// The sentences that are left when the model has ended; `whole` tells whether it ended by itself.
    pub(super) fn finish(self, whole: bool) -> Vec<DraftSentence> {
        let mut left = split(&self.pending);
        if !whole && !self.pending.trim_end().ends_with(['.', '!', '?', ']']) {
            left.pop();
        }
        left
    }
}

/// Whether the model said that it does not know, as its rules ask it to.
pub(super) fn does_not_know(text: &str) -> bool {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    matches!(text.as_str(), "non lo so" | "i do not know" | "i don't know")
}

fn split(text: &str) -> Vec<DraftSentence> {
    let mut drafts = Vec::new();
    let mut gap_start = 0;
    for range in sentences(text) {
        let raw = &text[range.clone()];
        let body = raw.trim_start();
        let marker = list_marker(body);
        let lead = format!("{}{}", &text[gap_start..range.end - body.len()], &body[..marker]);
        let sentence = without_yes_or_no(&without_marks(&body[marker..]));
        if is_statement(&sentence) {
            drafts.push(DraftSentence { lead, text: sentence });
        }
        gap_start = range.end;
    }
    drafts
}

/// A sentence without the yes or no before it: whether that is so depends on the question, which no passage knows.
fn without_yes_or_no(sentence: &str) -> String {
    let rest = ["sì", "si", "no", "yes"].iter().find_map(|word| {
        let (begin, rest) = (sentence.get(..word.len())?, sentence.get(word.len()..)?);
        rest.strip_prefix([',', ':', ';', '.']).filter(|_| begin.to_lowercase() == *word)
    });
    let Some(rest) = rest.map(str::trim_start).filter(|rest| !rest.is_empty()) else { return sentence.to_owned() };
    let mut letters = rest.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Headings, lines that announce a list and table rules state nothing.
fn is_statement(sentence: &str) -> bool {
    let heading = sentence.starts_with('#') || sentence.ends_with(':');
    !heading && sentence.chars().any(char::is_alphanumeric)
}

/// Length of `- `, `* ` or `1. ` at the start.
fn list_marker(text: &str) -> usize {
    if text.starts_with("- ") || text.starts_with("* ") {
        return 2;
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let marked = (1..=2).contains(&digits) && (text[digits..].starts_with(". ") || text[digits..].starts_with(") "));
    if marked { digits + 2 } else { 0 }
}

/// Removes `[1]`, `[1, 2]` and the space before them; of a link only its words stay: its target is relative to a document
/// that the reader does not have open.
fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let close = rest[open..].find(']').map(|at| open + at);
        let is_mark = close.is_some_and(|close| {
            let inside = &rest[open + 1..close];
            inside.contains(|c: char| c.is_ascii_digit())
                && inside.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | ' '))
        });
        match close {
            Some(close) if is_mark => {
                out.push_str(rest[..open].trim_end());
                rest = &rest[close + 1..];
            }
            Some(close) if rest[close..].starts_with("](") && rest[close..].contains(')') => {
                out.push_str(&rest[..open]);
                out.push_str(&rest[open + 1..close]);
                rest = &rest[close + rest[close..].find(')').map_or(1, |end| end + 1)..];
            }
            _ => {
                out.push_str(&rest[..=open]);
                rest = &rest[open + 1..];
            }
        }
    }
    out.push_str(rest);
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_or_no_is_not_the_passages() {
        for (sentence, expect) in [
            ("Sì, le ferie si pagano.", "Le ferie si pagano."),
            ("No. Leave cannot be paid out.", "Leave cannot be paid out."),
            ("Sicuro.", "Sicuro."),
            ("Non si può.", "Non si può."),
            ("Yes.", "Yes."),
            ("è sì", "è sì"),
        ] {
            assert_eq!(without_yes_or_no(sentence), expect);
        }
    }

    fn texts(sentences: &[DraftSentence]) -> Vec<&str> {
        sentences.iter().map(|sentence| sentence.text.as_str()).collect()
    }

    #[test]
    fn sentences_come_out_as_soon_as_the_next_one_begins() {
        let mut draft = Draft::default();
        assert!(draft.push("Leave is 26 days").is_empty());
        assert!(draft.push(" a year [1].").is_empty());
        assert_eq!(texts(&draft.push(" Ask your")), ["Leave is 26 days a year."]);
        assert_eq!(texts(&draft.finish(true)), ["Ask your"]);
    }

    #[test]
    fn a_sentence_that_was_cut_off_is_dropped() {
        let mut draft = Draft::default();
        let mut sentences = draft.push("It is open. It clo");
        sentences.extend(draft.finish(false));
        assert_eq!(texts(&sentences), ["It is open."]);
    }

    #[test]
    fn marks_of_the_model_are_removed_and_other_brackets_kept() {
        assert_eq!(without_marks("Use array[i] here [1][2, 3]."), "Use array[i] here.");
        assert_eq!(without_marks("[draft] and [ ] stay"), "[draft] and [ ] stay");
        assert_eq!(without_marks("See [Leave](../leave.md) first [1]."), "See Leave first.");
        assert_eq!(without_marks("an open [label](target"), "an open [label](target");
    }

    #[test]
    fn list_markers_are_kept_before_their_sentence() {
        let mut draft = Draft::default();
        let mut sentences = draft.push("Steps:\n1. Open the ticket.\n2. Wait.\n");
        sentences.extend(draft.finish(true));
        assert_eq!(texts(&sentences), ["Open the ticket.", "Wait."]);
        assert!(sentences[0].lead.ends_with("1. "));
    }

    #[test]
    fn a_list_that_arrives_late_still_begins_on_its_own_line() {
        let mut draft = Draft::default();
        let mut sentences = draft.push("Call extension 215.\n\n1. Do it");
        sentences.extend(draft.push(" within an hour.\n2. Wait.\n"));
        sentences.extend(draft.finish(true));
        let leads: Vec<&str> = sentences.iter().map(|sentence| sentence.lead.as_str()).collect();
        assert_eq!(leads, ["", "\n\n1. ", "\n2. "]);
    }

    #[test]
    fn not_knowing_is_recognised() {
        assert!(does_not_know(" NON LO SO. "));
        assert!(does_not_know("I do not know"));
        assert!(!does_not_know("I do not know of any exception to this rule."));
    }
}
