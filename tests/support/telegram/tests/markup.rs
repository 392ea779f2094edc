//! What is made of HTML, of long texts and of buttons.

use proptest::prelude::*;
use serde_json::json;

use super::super::text::Rich;
use super::super::{Button, html};
use super::{call, refusal, result, with_anna};

/// What a chat shows for HTML, or why it is refused.
#[track_caller]
fn check(source: &str, shown: &str) {
    let seen = html::parse(source).map_or_else(|problem| format!("! {problem}"), |rich| rich.html());
    assert_eq!(seen, shown, "{source}");
}

#[test]
fn html_that_the_platform_takes() {
    check("<b>bold</b> <strong>x</strong> <i>i</i><em>e</em>", "<b>bold</b> <b>x</b> <i>i</i><i>e</i>");
    check("<u>u</u><ins>n</ins><s>s</s><del>d</del><strike>t</strike>", "<u>u</u><u>n</u><s>s</s><s>d</s><s>t</s>");
    check("<b>a <i>b</i></b>", "<b>a <i>b</i></b>");
    check("<B>a</B >", "<b>a</b>");
    check("1 &lt; 2 &amp;&amp; 3 &gt; 2 &quot;x&quot;", "1 &lt; 2 &amp;&amp; 3 &gt; 2 &quot;x&quot;");
    check("caff&#232; &#xE8; &nbsp; R&D", "caffè è &amp;nbsp; R&amp;D");
    check("<a href=\"https://x.it/?a=1&amp;b=2\">t</a>", "<a href=\"https://x.it/?a=1&amp;b=2\">t</a>");
    check("<a href='tg://user?id=1001'>Anna</a>", "<a href=\"tg://user?id=1001\">Anna</a>");
    check("<pre><code class=\"language-rust\">fn</code></pre>", "<pre><code class=\"language-rust\">fn</code></pre>");
    check("<pre>a\n  b</pre>", "<pre>a\n  b</pre>");
    check("<blockquote expandable>q</blockquote>", "<blockquote expandable>q</blockquote>");
    check("<span class=\"tg-spoiler\">s</span>", "<tg-spoiler>s</tg-spoiler>");
    check("  <b> a</b>\n\n", "<b>a</b>");
    check("<b>a</>", "<b>a</b>");
}

#[test]
fn what_excludes_each_other_is_resolved() {
    check("<b>a <code>b</code> c</b>", "<b>a </b><code>b</code><b> c</b>");
    check("<code>a <b>b</b></code>", "<code>a b</code>");
    check("<a href=\"https://x.it\">a <code>b</code></a>", "<a href=\"https://x.it/\">a b</a>");
    check("<blockquote>a <blockquote>b</blockquote></blockquote>", "<blockquote>a b</blockquote>");
    check("<blockquote>a <code>b</code></blockquote>", "<blockquote>a <code>b</code></blockquote>");
    check("<a href=\"javascript:x\">t</a>", "t");
    check("<a href=\"mailto:a@x.it\">t</a> <a href=\"wiki\">t</a>", "t t");
    check(
        "<a href=\"x.it/a\">t</a> <a>https://y.it/b</a>",
        "<a href=\"http://x.it/a\">t</a> <a href=\"https://y.it/b\">https://y.it/b</a>",
    );
    check("<b></b>a", "a");
}

#[test]
fn html_that_the_platform_refuses() {
    check("<b>a", "! Can't find end tag corresponding to start tag \"b\"");
    check("a</b>", "! Unexpected end tag at byte offset 1");
    check("<b><i>a</b></i>", "! Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\"");
    check("è <script>", "! Unsupported start tag \"script\" at byte offset 3");
    check("<p>a</p>", "! Unsupported start tag \"p\" at byte offset 0");
    check("a<br/>b", "! Unsupported start tag \"br/\" at byte offset 1");
    check("1 < 2", "! Unsupported start tag \"\" at byte offset 2");
    check("a <- b", "! Unsupported start tag \"-\" at byte offset 2");
    check("1 <", "! Unclosed start tag at byte offset 2");
    check("<b", "! Unclosed start tag at byte offset 0");
    check("<b>a</b", "! Unclosed end tag at byte offset 4");
    check("<a href=\"x>t</a>", "! Unclosed start tag at byte offset 0");
    check("<a href=x_y>t</a>", "! Unexpected end of name token at byte offset 0");
    let equal = "! Expected equal sign in declaration of an attribute of the tag \"a\" at byte offset 0";
    check("<a href>t</a>", equal);
    check("<a =x>t</a>", "! Empty attribute name in the tag \"a\" at byte offset 0");
    check("<span>t</span>", "! Tag \"span\" must have class \"tg-spoiler\" at byte offset 0");
}

/// HTML whose tags are closed in order: parts in pairs open and close, an empty part closes what is open.
fn closed(parts: &[(&str, &str)]) -> String {
    let mut html = String::new();
    let mut open = Vec::new();
    for (part, end) in parts {
        if part.is_empty() {
            html.push_str(open.pop().unwrap_or_default());
        }
        html.push_str(part);
        if !end.is_empty() {
            open.push(*end);
        }
    }
    html.extend(open.into_iter().rev());
    html
}

const PARTS: &[(&str, &str)] = &[
    ("", ""),
    ("", ""),
    ("<b>", "</b>"),
    ("<i>", "</i>"),
    ("<code>", "</code>"),
    ("<pre>", "</pre>"),
    ("<code class=\"language-c\">", "</code>"),
    ("<a href=\"https://x.it/\">", "</a>"),
    ("<blockquote>", "</blockquote>"),
    ("a", ""),
    (" ", ""),
    ("\n", ""),
    ("è😀", ""),
    ("&lt;&amp;", ""),
    ("@anna", ""),
    ("/ask", ""),
    ("https://y.it/z", ""),
];

proptest! {
    /// What a chat shows is itself valid and means the same.
    #[test]
    fn what_is_shown_can_be_sent_again(parts in proptest::collection::vec(0..PARTS.len(), 0..24)) {
        let source = closed(&parts.into_iter().map(|part| PARTS[part]).collect::<Vec<_>>());
        let rich = html::parse(&source).map_err(TestCaseError::fail)?;
        let again = html::parse(&rich.html()).map_err(TestCaseError::fail)?;
        prop_assert_eq!(again.html(), rich.html(), "{}", source);
        prop_assert_eq!(again.text, rich.text);
    }

    #[test]
    fn nothing_that_is_sent_breaks_the_reader(source in "[<>/&;#x0-9a-e=\" 'é\n-]{0,40}") {
        if let Ok(rich) = html::parse(&source) {
            prop_assert!(rich.entities_json(|_| json!(null)).len() >= rich.entities.len());
        }
    }
}

#[test]
fn entities_are_counted_in_utf16() {
    let rich = html::parse("😀 <b>è</b> @cervella_bot").expect("it is valid");
    let entities = rich.entities_json(|_| json!(null));
    let bold = json!({ "type": "bold", "offset": 3, "length": 1 });
    assert_eq!(entities, [bold, json!({ "type": "mention", "offset": 5, "length": 13 })]);
    assert_eq!(rich.units(), 18);
}

/// What is found in a text, in order.
#[track_caller]
fn check_found(text: &str, found: &[&str]) {
    let rich = Rich::typed(text);
    let seen: Vec<&str> = rich.entities.iter().map(|entity| &rich.text[entity.range.clone()]).collect();
    assert_eq!(seen, found, "{text}");
}

#[test]
fn mentions_commands_and_addresses_are_found() {
    check_found("/ask@cervella_bot ciao", &["/ask@cervella_bot"]);
    check_found("prova /help, grazie", &["/help"]);
    check_found("ciao @cervella_bot!", &["@cervella_bot"]);
    check_found("vedi (https://intra.example/a_b?c=d).", &["https://intra.example/a_b?c=d"]);
    check_found("anna@example.com e/o /usr/bin 3/4 @ab", &[]);
}

#[tokio::test]
async fn texts_and_buttons_have_their_limits() {
    let (fake, anna) = with_anna().await;
    let send = async |more: serde_json::Value| {
        let mut parameters = json!({ "chat_id": anna.0, "text": "x" });
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(&fake, "sendMessage", parameters).await
    };
    let text = "😀".repeat(2048);
    result(send(json!({ "text": format!("<b>{text}</b>"), "parse_mode": "HTML" })).await);
    assert_eq!(refusal(send(json!({ "text": format!("{text}a") })).await), "400 Bad Request: message is too long");
    assert_eq!(refusal(send(json!({ "text": " \n" })).await), "400 Bad Request: message text is empty");
    assert_eq!(
        refusal(send(json!({ "text": "<b>", "parse_mode": "HTML" })).await),
        "400 Bad Request: can't parse entities: Can't find end tag corresponding to start tag \"b\""
    );
    let button = |button: serde_json::Value| json!({ "reply_markup": { "inline_keyboard": [[button]] } });
    let long = button(json!({ "text": "x", "callback_data": "x".repeat(65) }));
    assert_eq!(refusal(send(long).await), "400 Bad Request: BUTTON_DATA_INVALID");
    let bare = button(json!({ "text": "x" }));
    assert!(refusal(send(bare).await).ends_with("Text buttons are unallowed in the inline keyboard"));
    let local = button(json!({ "text": "x", "url": "file:///etc/passwd" }));
    assert!(refusal(send(local).await).ends_with("is invalid: Wrong HTTP URL"));
    result(send(button(json!({ "text": "x", "callback_data": "x".repeat(64) }))).await);
    let entities = json!([{ "type": "bold", "offset": 0, "length": 2 }]);
    result(send(json!({ "text": "😀 a", "entities": entities })).await);
    let shown = fake.answers(anna);
    assert_eq!(shown.last().unwrap().html, "<b>😀</b> a");
    let button: &Button = shown[1].button("x").expect("it is shown");
    assert_eq!(button.data, Some("x".repeat(64)));
}

#[tokio::test]
async fn a_page_preview_is_seen_unless_it_is_off() {
    let (fake, anna) = with_anna().await;
    let text = "https://example.com/a";
    let off = json!({ "chat_id": anna.0, "text": text, "link_preview_options": { "is_disabled": true } });
    result(call(&fake, "sendMessage", off).await);
    result(call(&fake, "sendMessage", json!({ "chat_id": anna.0, "text": text })).await);
    let previews: Vec<bool> = fake.answers(anna).iter().map(|message| message.preview).collect();
    assert_eq!(previews, [false, true]);
}
