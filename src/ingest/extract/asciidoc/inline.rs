//! Inline markup of AsciiDoc, removed: emphasis, code, links, references, footnotes, keys.

/// What is longer is no phrase.
const PHRASE_BYTES_MAX: usize = 1_000;
/// Marks inside of marks.
const DEPTH_MAX: usize = 3;
/// `name:target[text]`: of these the text is shown, or else the target.
const MACROS: [&str; 11] =
    ["link:", "xref:", "mailto:", "https://", "http://", "kbd:", "btn:", "menu:", "pass:", "footnote:", "image:"];

/// The text as it is shown.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    write_plain(text, &mut shown, DEPTH_MAX);
    shown.trim().to_owned()
}

fn write_plain(text: &str, shown: &mut String, depth: usize) {
    let mut at = 0;
    // Whether a letter stands before the current place.
    let mut after_letter = false;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let found = if after_letter { None } else { mark(rest) };
        match found {
            Some((Shown::Text(inside), length)) if depth > 0 => {
                write_plain(inside, shown, depth - 1);
                at += length;
            }
            Some((Shown::Text(inside) | Shown::Code(inside), length)) => {
                shown.push_str(inside);
                at += length;
            }
            None => {
                shown.push(c);
                at += c.len_utf8();
                after_letter = c.is_alphanumeric();
            }
        }
    }
}

enum Shown<'a> {
    /// May hold marks of its own.
    Text(&'a str),
    Code(&'a str),
}

/// What the mark that `text` begins with shows, and its length.
fn mark(text: &str) -> Option<(Shown<'_>, usize)> {
    match text.as_bytes()[0] {
        b'`' => enclosed(text, "``").or_else(|| enclosed(text, "`")).map(|(inside, length)| {
            // `+literal+` inside of code.
            let literal = inside.strip_prefix('+').and_then(|inside| inside.strip_suffix('+'));
            (Shown::Code(literal.unwrap_or(inside)), length)
        }),
        b'+' => enclosed(text, "+").map(|(inside, length)| (Shown::Code(inside), length)),
        mark @ (b'*' | b'_' | b'#') => {
            let double = [mark, mark];
            let double = str::from_utf8(&double).ok()?;
            let found = enclosed(text, double).or_else(|| enclosed(text, &double[1..]))?;
            Some((Shown::Text(found.0), found.1))
        }
        b'<' => {
            let from = near(text.strip_prefix("<<")?);
            let end = from.find(">>")?;
            let (id, label) = from[..end].split_once(',').unwrap_or((&from[..end], ""));
            let label = if label.trim().is_empty() { id.trim_start_matches('#') } else { label.trim() };
            Some((Shown::Text(label), end + 4))
        }
        b'[' => {
            let from = near(text);
            let end = from.strip_prefix("[[").and_then(|id| id.find("]]")).map(|end| end + 4);
            // `[.role]#text#`: what the text looks like.
            let role = || from.find("]#").filter(|end| !from[..*end].contains(' ')).map(|end| end + 1);
            Some((Shown::Code(""), end.or_else(role)?))
        }
        _ => MACROS.iter().find(|name| text.starts_with(**name)).and_then(|name| macro_of(text, name)),
    }
}

fn macro_of<'a>(text: &'a str, name: &str) -> Option<(Shown<'a>, usize)> {
    let near = near(text);
    let open = near.find('[')?;
    let close = open + near[open..].find(']')?;
    let target = &text[name.len()..open];
    if target.contains(char::is_whitespace) {
        return None;
    }
    let inside = text[open + 1..close].trim();
    let label = inside.split(',').next().unwrap_or_default().trim_end_matches('^').trim_matches('"');
    let shown = match name {
        "image:" => "",
        "footnote:" | "pass:" | "kbd:" | "btn:" | "menu:" => inside,
        _ if !label.is_empty() => label,
        "https://" | "http://" => &text[..open],
        _ => target,
    };
    Some((Shown::Text(shown), close + 1))
}

/// Where the end of a mark is looked for: a text of marks that never end costs no more than its length.
fn near(text: &str) -> &str {
    let mut end = text.len().min(PHRASE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What stands between two equal marks, and the length of all. A single mark does not stand beside letters.
fn enclosed<'a>(text: &'a str, mark: &str) -> Option<(&'a str, usize)> {
    let from = near(text.strip_prefix(mark)?);
    if from.starts_with(char::is_whitespace) {
        return None;
    }
    let end = from.match_indices(mark).map(|(at, _)| at).take(20).find(|&at| {
        let after = from[at + mark.len()..].chars().next();
        let ends_word = mark.len() == 2 || after.is_none_or(|c| !c.is_alphanumeric() && !mark.starts_with(c));
        at > 0 && ends_word && !from[..at].ends_with(char::is_whitespace)
    })?;
    Some((&from[..end], end + 2 * mark.len()))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn marks_are_removed() {
        for (text, shown) in [
            ("Il *badge* si _ritira_ con `--id` e **su**bito.", "Il badge si ritira con --id e subito."),
            ("*_insieme_* e `+{x}+` e #qui#", "insieme e {x} e qui"),
            ("Vedi <<resa,la resa>>, <<resa>> e xref:altro.adoc[l'altra].", "Vedi la resa, resa e l'altra."),
            (
                "https://acme.example[Sito^] o https://acme.example/a o link:a.pdf[]",
                "Sito o https://acme.example/a o a.pdf",
            ),
            ("Premi kbd:[Ctrl+C] footnote:[Due volte.]", "Premi Ctrl+C Due volte."),
            ("2 * 3 * 4, nome_di_file, a*b*c", "2 * 3 * 4, nome_di_file, a*b*c"),
            ("[[qui]]Testo [.rosso]#rosso# [sic]", "Testo rosso [sic]"),
            ("image:a.png[Foto] fine **aperto", "fine **aperto"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}
