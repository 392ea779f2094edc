//! Where sentences begin and end, in Italian and English prose and in Markdown source.
//! Unicode's sentence bounds (UAX #29) come first; what they get wrong on abbreviations, citation marks, emphasis
//! and list structure is mended here. No language model is involved.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Abbreviations after which a sentence goes on whatever follows.
const GOES_ON: &[&str] = &[
    "es", "ess", "cfr", "art", "artt", "pag", "pagg", "pp", "cap", "capp", "fig", "figg", "tab", "tabb", "sez", "par",
    "all", "lett", "vol", "ed", "rif", "prot", "dott", "dr", "dr.ssa", "dott.ssa", "prof", "prof.ssa", "ing", "avv",
    "arch", "geom", "rag", "sig", "sig.ra", "sig.na", "sigg", "on", "sen", "gent", "egr", "spett", "mr", "mrs", "ms",
    "messrs", "st", "vs", "viz", "ca", "circ", "tel", "cell", "int", "min", "max", "approx", "dept", "ext", "ref",
    "sec", "ch", "eq", "e.g", "i.e", "p.es", "p.e", "c.d", "eg", "ie", "n.b", "p.s", "jr", "incl", "excl", "temp",
];

/// Abbreviations that are words or ends of sentences too: the sentence goes on only when a number follows.
const GOES_ON_BEFORE_NUMBERS: &[&str] =
    &["no", "nos", "n", "nr", "nn", "num", "p", "v", "vv", "h", "c", "s", "t", "rev"];

/// Words after which a single capital is a label ("il piano B.") and not the initial of a name ("di G. Rossi").
const BEFORE_LABELS: &[&str] = &[
    "piano", "tasto", "punto", "opzione", "lettera", "gruppo", "livello", "classe", "tipo", "fase", "parte",
    "allegato", "sezione", "colonna", "riga", "unità", "voce", "caso", "vitamina", "plan", "key", "option", "letter",
    "group", "level", "class", "type", "step", "part", "appendix", "section", "column", "drive", "case", "vitamin",
    "grade",
];

/// Byte ranges of the sentences of `text`, in order and without white space around them. A blank line, a list marker,
/// a heading, a table row and a line of fenced code end a sentence; a single line break inside a paragraph does not.
/// Lines that hold only markup (fences, rules, the line under a table's header) belong to no sentence.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for run in runs(text) {
        if run.whole {
            push_trimmed(text, run.range, &mut found);
        } else {
            split_prose(text, run.range, &mut found);
        }
    }
    found
}

/// Consecutive lines in which sentences may run on.
struct Run {
    range: Range<usize>,
    /// One sentence whatever stands in it: headings, table rows, lines of code.
    whole: bool,
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut fence: Option<&str> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        let bare = line.trim();
        let mark = fence_mark(bare);
        let kind = match (fence, mark) {
            (Some(opened), Some(mark)) if mark.starts_with(opened) => {
                fence = None;
                Line::Markup
            }
            (Some(_), _) => Line::Whole,
            (None, Some(mark)) => {
                fence = Some(mark);
                Line::Markup
            }
            (None, None) => classify(bare),
        };
        match kind {
            Line::Continues => match &mut open {
                Some(open) => open.end = range.end,
                None => open = Some(range),
            },
            Line::Begins => {
                runs.extend(open.replace(range).map(|range| Run { range, whole: false }));
            }
            Line::Whole | Line::Markup => {
                runs.extend(open.take().map(|range| Run { range, whole: false }));
                if kind == Line::Whole {
                    runs.push(Run { range, whole: true });
                }
            }
        }
    }
    runs.extend(open.map(|range| Run { range, whole: false }));
    runs
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    /// Belongs to the paragraph of the line before.
    Continues,
    /// First line of a list item.
    Begins,
    Whole,
    Markup,
}

fn fence_mark(line: &str) -> Option<&str> {
    ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark)).filter(|mark| !line[3..].contains(&mark[..1]))
}

fn classify(line: &str) -> Line {
    let rest = line.trim_start_matches(['>', ' ', '\t']);
    if !rest.chars().any(|c| c.is_alphanumeric()) && rest.chars().all(|c| "-=*_|:+~# \t".contains(c)) {
        Line::Markup
    } else if rest.starts_with('|') || line.contains('\t') || is_heading(rest) {
        Line::Whole
    } else if list_marker(rest) > 0 {
        Line::Begins
    } else {
        Line::Continues
    }
}

fn is_heading(line: &str) -> bool {
    let text = line.trim_start_matches('#');
    text.len() < line.len() && line.len() - text.len() <= 6 && text.starts_with(' ')
}

/// Bytes of the list marker that `line` begins with, 0 if there is none.
fn list_marker(line: &str) -> usize {
    let mut chars = line.chars();
    match chars.next() {
        Some(bullet) if "-*+•▪◦‣·".contains(bullet) && chars.next() == Some(' ') => bullet.len_utf8() + 1,
        Some(first) if first.is_ascii_alphanumeric() => {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let (label, closers) = if digits == 0 { (1, ")") } else { (digits, ".)") };
            let rest = &line[label..];
            let marked = label <= 3 && rest.starts_with(|c| closers.contains(c)) && rest[1..].starts_with(' ');
            if marked { label + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = start + slice.trim().len();
    if start < end {
        found.push(start..end);
    }
}

fn split_prose(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let slice = &text[range.clone()];
    let masked = mask(slice);
    let marker = list_marker(slice.trim_start_matches(['>', ' ', '\t']));
    let code = code_spans(slice);
    let mut start = 0;
    for (at, _) in masked.split_sentence_bound_indices().skip(1) {
        let after_marker = marker > 0 && slice[..at].trim_start_matches(['>', ' ', '\t']).len() <= marker;
        let before = &slice[start..at];
        let rest = &slice[at..];
        let inside_code = code.iter().any(|span| span.contains(&at));
        if !after_marker && !inside_code && ends(before, rest) {
            push_trimmed(text, range.start + start..range.start + at, found);
            start = at;
        }
    }
    push_trimmed(text, range.start + start..range.end, found);
}

/// A copy of `slice` of the same length in which Unicode's rules see what a reader sees: line breaks as spaces, and
/// emphasis marks and citation marks that follow a full stop as closing quotes.
fn mask(slice: &str) -> String {
    let mut bytes = slice.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' | b'\r' | b'\t' => bytes[at] = b' ',
            b'.' | b'!' | b'?' => {
                let mut next = at + 1;
                loop {
                    let cited = citation_mark(&bytes[next..]);
                    if cited > 0 {
                        bytes[next..next + cited].fill(b'"');
                        next += cited;
                    } else if next < bytes.len() && matches!(bytes[next], b'*' | b'_' | b'`') {
                        bytes[next] = b'"';
                        next += 1;
                    } else {
                        break;
                    }
                }
                at = next;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    // Only ASCII was replaced, by ASCII.
    String::from_utf8(bytes).unwrap_or_else(|_| slice.to_owned())
}

/// Length of a mark such as ` [2]` or `[12]` at the beginning of `bytes`.
fn citation_mark(bytes: &[u8]) -> usize {
    let spaces = bytes.iter().take_while(|&&b| b == b' ').count();
    let Some(rest) = bytes[spaces..].strip_prefix(b"[") else { return 0 };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if spaces <= 1 && (1..=3).contains(&digits) && rest.get(digits) == Some(&b']') { spaces + digits + 2 } else { 0 }
}

/// Ranges between pairs of backticks.
fn code_spans(slice: &str) -> Vec<Range<usize>> {
    let ticks: Vec<usize> = slice.bytes().enumerate().filter(|&(_, b)| b == b'`').map(|(at, _)| at).collect();
    ticks.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Whether the bound between `before` (the sentence so far) and `rest` is a real one.
fn ends(before: &str, rest: &str) -> bool {
    let sentence = before.trim_end();
    if !sentence.chars().any(char::is_alphanumeric) || !rest.chars().any(char::is_alphanumeric) {
        return false;
    }
    // Nothing between: `.NET`, `?A=1`; ideographic full stops need no space.
    if sentence.len() == before.len() && !before.ends_with(['。', '！', '？']) {
        return false;
    }
    let bare = sentence.trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '*', '_', '`']);
    let closed = bare.len() < sentence.len();
    let next = rest.trim_start_matches(|c: char| !c.is_alphanumeric()).chars().next().unwrap_or(' ');
    // "Really?" she asked.
    if closed && next.is_lowercase() && !sentence.ends_with(']') {
        return false;
    }
    match bare.strip_suffix('.') {
        Some(stem) if !closed => !abbreviated(stem, next),
        _ => true,
    }
}

/// Whether `stem` (a sentence so far, without its last full stop) ends in an abbreviation that goes on with `next`.
fn abbreviated(stem: &str, next: char) -> bool {
    let mut words = stem.rsplit(|c: char| c.is_whitespace() || "([{«“\"'’/*_".contains(c));
    let last = words.next().unwrap_or("");
    let lower = last.to_lowercase();
    if GOES_ON.contains(&lower.as_str()) {
        return true;
    }
    if GOES_ON_BEFORE_NUMBERS.contains(&lower.as_str()) && next.is_ascii_digit() {
        return true;
    }
    let mut chars = last.chars();
    let initial = matches!((chars.next(), chars.next()), (Some(c), None) if c.is_uppercase());
    if !initial || !next.is_uppercase() {
        return false;
    }
    !words.find(|word| !word.is_empty()).is_some_and(|word| BEFORE_LABELS.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `marked` is a text in which `¦` stands wherever a sentence should end.
    fn check(marked: &str) {
        let expected: Vec<&str> = marked.split('¦').map(str::trim).collect();
        let text = marked.replace('¦', "");
        let found: Vec<&str> = sentences(&text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "in {text:?}");
    }

    #[test]
    fn prose_in_both_languages() {
        for marked in [
            "Le ferie si chiedono sul portale.¦ Poi si aspetta l'approvazione.",
            "Is it working?¦ No!¦ Try again.",
            "Vedi l'art. 5 e l'art. IV del contratto, pag. 12.¦ Poi firma.",
            "Serve un documento, es. Carta d'identità, ecc.¦ Poi si firma.",
            "Il dott. Rossi e la sig.ra Bianchi arrivano.¦ Il prof. Verdi no.",
            "Use a tool, e.g. Ansible, i.e. Something simple.¦ Then run it.",
            "Dr. Smith met Mr. J. R. Jones of Acme Inc. in May.¦ They left.",
            "Vedi n. 5 e No. 7.¦ No.¦ Non ci riesce.",
            "La versione 1.2.3 costa 3.50 euro.¦ La 2.0 di più.",
            "Open config.toml or README.Debian now.¦ Then http://a.example/b?C=1 loads.",
            "Aspetta... poi riprova.¦ Fatto.",
            "Scegli Modifica... per continuare.¦ Chiudi.",
            "Disse «Va bene.»¦ Poi uscì.",
            "\"Really?\" she asked.¦ He nodded.",
            "(Vedi sopra.)¦ Poi continua.",
            "Use .NET today.¦ Use Node.js tomorrow.",
            "Scegli il piano B.¦ Poi chiama G. Rossi.",
            "**Nota.**¦ Il *testo.*¦ Fine.",
            "Esegui `a. B` due volte.¦ Poi basta.",
            "vpn not working?¦ how do i fix it",
            "La VPN è attiva [1].¦ Il resto no. [2]¦ E poi. [1][3]¦ Fine.",
            "Alle ore 9.30 si apre.¦ Alle 18 si chiude.",
            "Una riga che\ncontinua qui.¦ E un'altra\nancora.",
            "Perché?!¦ Mah.",
        ] {
            check(marked);
        }
    }

    #[test]
    fn structure_of_markdown() {
        for marked in [
            "# Titolo¦\nTesto senza punto¦\n\nAltro paragrafo",
            "- primo punto¦\n- secondo punto. ¦Con seguito\n  su due righe¦\n- terzo",
            "1. Apri la porta.¦\n2. Chiudi.¦\n10) Esci.¦\na) Rientra.",
            "| a | b. C |¦\n|---|---|\n| 1. D | 2 |",
            "Nome\tValore. Due¦\nUno\tDue",
            "Prima:¦\n```sh\nmake. Now¦\nls -l¦\n```\nDopo.",
            "> Citazione che\n> continua.¦ E finisce.",
            "Prima.¦\n\n---\n\nDopo.",
        ] {
            let found = sentences(&marked.replace('¦', ""));
            assert_eq!(found.len(), marked.split('¦').count(), "in {marked:?}: {found:?}");
        }
        check("- uno. Due".replace(". ", ".¦ ").as_str());
        check("1. Apri la porta.¦\n2. Chiudi.");
    }

    #[test]
    fn nothing_in_nothing() {
        for text in ["", " \n\t ", "---", "***\n\n* * *"] {
            assert!(sentences(text).is_empty(), "{text:?}");
        }
        assert_eq!(sentences("...").len(), 1);
    }

    proptest! {
        #[test]
        fn ranges_are_ordered_trimmed_and_lose_no_word(text in "(?s)[a-zA-Zàè0-9.!?…«»\"'`*_\\[\\] \n]{0,200}") {
            let found = sentences(&text);
            let mut at = 0;
            for range in &found {
                prop_assert!(range.start >= at && range.end > range.start);
                prop_assert!(!text[at..range.start].chars().any(char::is_alphanumeric) || text.contains("```"));
                prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
                at = range.end;
            }
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            for range in sentences(&text) {
                prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
            }
        }
    }
}
