//! Slack's message text, with its `<…>` references and entities, as plain text; and who is mentioned in it.

/// A message as plain text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) text: String,
    pub(super) mentions_bot: bool,
    /// A person, a group or everybody.
    pub(super) mentions_others: bool,
}

/// `<@U1>`, `<#C1|name>`, `<!here>`, `<https://…|label>` are replaced, the bot's own mention taken out.
pub(super) fn plain(raw: &str, bot: &str) -> Plain {
    read(raw, bot, Names::Shown)
}

/// The same, with people and channels by their ids.
pub(super) fn plain_with_ids(raw: &str, bot: &str) -> String {
    read(raw, bot, Names::Ids).text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Shown,
    Ids,
}

fn read(raw: &str, bot: &str, names: Names) -> Plain {
    let mut plain = Plain::default();
    let mut rest = raw;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start], &mut plain.text);
        let inside = &rest[start + 1..];
        let Some(end) = inside.find('>') else {
            rest = &rest[start..];
            break;
        };
        reference(&inside[..end], bot, names, &mut plain);
        rest = &inside[end + 1..];
    }
    entities(rest, &mut plain.text);
    let text = plain.text.trim();
    // What stood behind the mention that a message begins with: "@Cervella, what …".
    let text = if plain.mentions_bot { text.trim_start_matches([',', ':', ';']).trim_start() } else { text };
    plain.text = text.to_owned();
    plain
}

fn reference(inside: &str, bot: &str, names: Names, plain: &mut Plain) {
    let (target, label) = match inside.split_once('|') {
        Some((target, _)) if names == Names::Ids && target.starts_with(['@', '#']) => (target, ""),
        Some((target, label)) => (target, label.trim()),
        None => (inside, ""),
    };
    if let Some(user) = target.strip_prefix('@') {
        if user == bot && !bot.is_empty() {
            plain.mentions_bot = true;
            // One of the two blanks around the mention goes with it.
            if plain.text.ends_with(' ') {
                plain.text.pop();
            }
            return;
        }
        plain.mentions_others = true;
        plain.text.push('@');
        entities(if label.is_empty() { user } else { label.trim_start_matches('@') }, &mut plain.text);
    } else if let Some(channel) = target.strip_prefix('#') {
        plain.text.push('#');
        entities(if label.is_empty() { channel } else { label }, &mut plain.text);
    } else if let Some(special) = target.strip_prefix('!') {
        special_reference(special, label, plain);
    } else {
        let address = target.strip_prefix("mailto:").or_else(|| target.strip_prefix("tel:")).unwrap_or(target);
        entities(if label.is_empty() { address } else { label }, &mut plain.text);
    }
}

fn special_reference(special: &str, label: &str, plain: &mut Plain) {
    let word = special.split('^').next().unwrap_or_default();
    match word {
        "here" | "channel" | "everyone" | "group" | "subteam" => {
            plain.mentions_others = true;
            plain.text.push('@');
            let id = special.split('^').nth(1).unwrap_or(word);
            entities(if label.is_empty() { id } else { label.trim_start_matches('@') }, &mut plain.text);
        }
        _ => entities(if label.is_empty() { word } else { label }, &mut plain.text),
    }
}

/// The three entities that Slack writes. One pass: `&amp;lt;` is the text `&lt;`.
fn entities(raw: &str, text: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')];
        match known.into_iter().find(|(entity, _)| rest.starts_with(entity)) {
            Some((entity, letter)) => {
                text.push(letter);
                rest = &rest[entity.len()..];
            }
            None => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expect: &str, mentions_bot: bool, mentions_others: bool) {
        let expect = Plain { text: expect.to_owned(), mentions_bot, mentions_others };
        assert_eq!(plain(raw, "UBOT"), expect, "{raw}");
    }

    #[test]
    fn the_mention_of_the_bot_is_taken_out() {
        check("<@UBOT> where is the wifi password?", "where is the wifi password?", true, false);
        check("<@UBOT>, dove sono le ferie?", "dove sono le ferie?", true, false);
        check("hey <@UBOT|cervella> what about parking?", "hey what about parking?", true, false);
        check("what about parking? <@UBOT>", "what about parking?", true, false);
        check("<@UBOT>", "", true, false);
    }

    #[test]
    fn others_stay_as_names() {
        check("<@U2|anna> do you know?", "@anna do you know?", false, true);
        check("<@U2> do you know?", "@U2 do you know?", false, true);
        check("<@UBOT> ask <@U2>", "ask @U2", true, true);
        check("<!here> who knows?", "@here who knows?", false, true);
        check("<!subteam^S1|@office> who knows?", "@office who knows?", false, true);
        check("<!subteam^S1> who knows?", "@S1 who knows?", false, true);
    }

    #[test]
    fn references_read_as_people_see_them() {
        check("in <#C1|general> at <!date^1392734382^{date}|18 Feb>", "in #general at 18 Feb", false, false);
        check("see <https://example.com/a?b=1&amp;c=2>", "see https://example.com/a?b=1&c=2", false, false);
        check("see <https://example.com|the page>", "see the page", false, false);
        check("write <mailto:hr@example.com|hr@example.com>", "write hr@example.com", false, false);
    }

    #[test]
    fn entities_are_decoded_once() {
        check("a &lt;b&gt; &amp;amp; c & d", "a <b> &amp; c & d", false, false);
        check("an open < stays", "an open < stays", false, false);
    }
}
