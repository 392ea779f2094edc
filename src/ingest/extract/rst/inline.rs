//! Inline markup of reStructuredText, removed: emphasis, code, links, roles, substitutions, footnote marks.

/// What is longer is no phrase.
const PHRASE_BYTES_MAX: usize = 1_000;

/// The text as it is shown.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '`', '*', '|', '[', ':']) {
        let (before, from) = rest.split_at(at);
        shown.push_str(before);
        let place = text.len() - from.len();
        let opens = text[..place].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        rest = match mark(from, opens) {
            Some((inside, after)) => {
                shown.push_str(inside);
                after
            }
            None => {
                let first = from.chars().next().map_or(0, char::len_utf8);
                shown.push_str(&from[..first]);
                &from[first..]
            }
        };
    }
    shown.push_str(rest);
    // A reference of one word: `name_`.
    let words = shown.split(' ').map(|word| match word.trim_end_matches(['.', ',', ';', ')']).strip_suffix('_') {
        Some(name) if name.chars().all(char::is_alphanumeric) && !name.is_empty() => word.replacen('_', "", 1),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// What the mark that `text` begins with shows, and what comes after it. `opens`: no letter stands before it.
fn mark(text: &str, opens: bool) -> Option<(&str, &str)> {
    if let Some(escaped) = text.strip_prefix('\\') {
        // An escaped space separates without being shown.
        let first = escaped.chars().next()?;
        let after = &escaped[first.len_utf8()..];
        return Some((if first.is_whitespace() { "" } else { &escaped[..first.len_utf8()] }, after));
    }
    if !opens {
        return None;
    }
    if text.starts_with("``") {
        return enclosed(text, "``", "``");
    }
    if let Some(role) = text.strip_prefix(':') {
        let (name, _) = near(role).split_once(":`")?;
        let from = &role[name.len() + 2..];
        let is_role = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_:+.".contains(c));
        let (inside, _) = near(from).split_once('`').filter(|_| is_role)?;
        let after = &from[inside.len() + 1..];
        return Some((label(inside).trim_start_matches(['~', '!']), after));
    }
    if text.starts_with('`') {
        let (inside, after) = enclosed(text, "`", "`")?;
        let after = after.strip_prefix("__").or_else(|| after.strip_prefix('_')).unwrap_or(after);
        return Some((label(inside), after));
    }
    if text.starts_with('[') {
        // A footnote's mark says nothing where it stands.
        let (inside, after) = enclosed(text, "[", "]_")?;
        return (!inside.contains(char::is_whitespace)).then_some(("", after));
    }
    let (inside, after) = enclosed(text, "**", "**")
        .or_else(|| enclosed(text, "*", "*"))
        .or_else(|| enclosed(text, "|", "|").filter(|(inside, _)| !inside.contains(' ')))?;
    Some((inside, after.strip_prefix('_').filter(|_| text.starts_with('|')).unwrap_or(after)))
}

/// Where the end of a mark is looked for: a text of marks that never end costs no more than its length.
fn near(text: &str) -> &str {
    let mut end = text.len().min(PHRASE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What stands between the marks, if they enclose a phrase: no space at its ends.
fn enclosed<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    let from = text.strip_prefix(open)?;
    let (inside, after) = from.split_at(near(from).find(close)?);
    let is_phrase =
        !inside.is_empty() && !inside.starts_with(char::is_whitespace) && !inside.ends_with(char::is_whitespace);
    is_phrase.then(|| (inside, &after[close.len()..]))
}

/// `text <target>` shows the text.
fn label(inside: &str) -> &str {
    match inside.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((label, target)) if label.trim().is_empty() => target,
        Some((label, _)) => label.trim_end(),
        None => inside,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn marks_are_removed() {
        for (text, shown) in [
            ("Il **badge** si *ritira* con ``--id``.", "Il badge si ritira con --id."),
            ("Vedi :ref:`la guida <guida>` e :doc:`/a/b`.", "Vedi la guida e /a/b."),
            ("Il `sito <https://acme.example>`_ e `altro`__, poi nome_.", "Il sito e altro, poi nome."),
            ("La |versione| nuova [#nota]_ è 2 * 3 * 4.", "La versione nuova  è 2 * 3 * 4."),
            (r"re\ *Structured*\ Text \*no\*", "reStructuredText *no*"),
            ("alle 8:30, [sic] **aperto", "alle 8:30, [sic] **aperto"),
            ("nome_file e _x", "nome_file e _x"),
            ("* *", "* *"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}
