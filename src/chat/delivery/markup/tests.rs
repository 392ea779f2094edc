//! What people see of an answer on each platform, and that nothing an answer may hold gets around it.

use super::*;

const ITALIAN: &str = include_str!("samples/italian.md");
const ENGLISH: &str = include_str!("samples/english.md");

fn all_renderings(markdown: &str) -> String {
    format!(
        "=== telegram\n{}\n\n=== slack markdown\n{}\n\n=== slack mrkdwn\n{}\n\n=== plain\n{}",
        telegram_html(markdown),
        slack_markdown(markdown),
        slack_mrkdwn(markdown),
        plain(markdown)
    )
    .replace('\u{2060}', "{joiner}")
    .replace('\u{200B}', "{word end}")
}

#[test]
fn an_italian_answer_reads_well_everywhere() {
    insta::assert_snapshot!(all_renderings(ITALIAN));
}

#[test]
fn an_english_answer_reads_well_everywhere() {
    insta::assert_snapshot!(all_renderings(ENGLISH));
}

#[test]
fn an_answer_in_several_messages_reads_well() {
    insta::assert_snapshot!(split(ITALIAN, 420).join("\n\n=== next message\n"));
}

#[track_caller]
fn telegram(markdown: &str, expected: &str) {
    assert_eq!(telegram_html(markdown), expected, "{markdown:?}");
    assert_eq!(check::telegram_html(expected), Ok(()));
}

#[test]
fn telegram_gets_its_own_html() {
    telegram("# Orario\nAperto **oggi** [1].", "<b>Orario</b>\n\nAperto <b>oggi</b> [1].");
    telegram("## Il comando `x` qui", "<b>Il comando </b><code>x</code><b> qui</b>");
    telegram("a < b & \"c\"", "a &lt; b &amp; &quot;c&quot;");
    telegram("a&#1;b &#27; `&#1;`", "ab  <code>&amp;#1;</code>");
    telegram("*uno **due `tre`***", "<i>uno </i><b><i>due </i></b><code>tre</code>");
    telegram("~~via~~ <b>no</b>", "<s>via</s> &lt;b&gt;no&lt;/b&gt;");
    telegram("- a\n  - b\n    1. c\n- d", "• a\n   ◦ b\n      1. c\n• d");
    telegram("3. tre\n4. quattro", "3. tre\n4. quattro");
    telegram("> a\n> > b\n\nc", "<blockquote>a\n\nb</blockquote>\n\nc");
    telegram("> a\n>\n> ```\n> x\n> ```", "<blockquote>a\n</blockquote>\n<pre>x</pre>");
    telegram("```rust ignore\na <b>\n```", "<pre><code class=\"language-rust\">a &lt;b&gt;</code></pre>");
    telegram("```\"><a href=x>\ny\n```", "<pre>y</pre>");
    telegram("uno\ndue\\\ntre<br>quattro", "uno\ndue\ntre\nquattro");
    telegram("- \n- b", "•\n• b");
    telegram("- ```\n  x\n  ```", "•\n<pre>x</pre>");
}

#[test]
fn links_become_their_words() {
    telegram("[qui](https://evil.example) e <https://a.example>", "qui e https://a.example");
    telegram("[](https://evil.example) resto", "resto");
    telegram("![una foto](https://evil.example/x.png)", "una foto");
    telegram("[1](https://evil.example) [2, 3](x)", "[1] [2, 3]");
    telegram("testo [1]\n\n[1]: https://evil.example", "testo [1]\n\n[1]: https://evil.example");
    telegram("[](https://evil.example)", "");
    assert_eq!(slack_markdown("[**qui**](https://evil.example) [1](x) ![foto](y) [](z)."), "**qui** [1] foto .");
    assert_eq!(slack_markdown("[![foto](a)](b)"), "foto");
    assert_eq!(slack_markdown("[x](https://e.example \"y"), "[x]\u{2060}(https://e.example \"y");
    assert_eq!(slack_markdown("[1]: https://e.example"), "[1]\u{2060}: https://e.example");
    assert_eq!(slack_markdown("&#91;x&#93;(https://e.example)"), "\\[x\\]\u{2060}(https://e.example)");
}

#[test]
fn tables_fit_a_telephone() {
    telegram(
        "| Giorno | Orario |\n|---|---|\n| Lunedì | 9–18 |\n| Sabato | **chiuso** |",
        "<pre>Giorno  Orario\n──────  ──────\nLunedì  9–18\nSabato  chiuso</pre>",
    );
    telegram(
        "| Voce | Spiegazione |\n|---|---|\n| Ferie | ventisei giorni lavorativi all'anno [1] |",
        "<b>Voce – Spiegazione</b>\n• Ferie: ventisei giorni lavorativi all'anno [1]",
    );
    telegram(
        "| Sede | Via | Note |\n|---|---|---|\n| Milano | via Torino 12, secondo piano | |\n\
         | Roma | via Po 3 | *nuova* |",
        "<b>Sede:</b> Milano\n<b>Via:</b> via Torino 12, secondo piano\n\n\
         <b>Sede:</b> Roma\n<b>Via:</b> via Po 3\n<b>Note:</b> <i>nuova</i>",
    );
    assert_eq!(plain("| a | b |\n|---|---|\n| c | d |"), "a – b\n• c: d");
}

#[track_caller]
fn calls_nobody(markdown: &str, shown: &str) {
    assert_eq!(slack_markdown(markdown).replace('\u{2060}', "+"), shown, "{markdown:?}");
    assert_eq!(check::slack_markdown(&slack_markdown(markdown)), Ok(()), "{markdown:?}");
    for text in [slack_mrkdwn(markdown), slack_plain(markdown)] {
        assert_eq!(check::slack_text(&text), Ok(()), "{text:?}");
    }
}

#[test]
fn nobody_is_called_on_slack() {
    calls_nobody("<!channel> <!here> <!everyone>", "&lt;!channel&gt; &lt;!here&gt; &lt;!everyone&gt;");
    calls_nobody("<@U012> <#C012|x> <!subteam^S1>", "&lt;@U012&gt; &lt;#C012|x&gt; &lt;!subteam^S1&gt;");
    calls_nobody("<http://e.example|banca>", "http://e.example|banca");
    calls_nobody("@channel, @Here @EVERYONE @è", "@+channel, @+Here @+EVERYONE @è");
    calls_nobody("\\@channel &#64;here &lt;!here&gt;", "\\@+channel \\@+here &lt;!here&gt;");
    calls_nobody("`<!channel>` `@here`", "`&lt;!channel&gt;` `@+here`");
    calls_nobody("```\n<@U1> & [x](http://e.example)\n```", "```\n&lt;@U1&gt; &amp; [x]+(http://e.example)\n```");
    calls_nobody("    <!here>", "    &lt;!here&gt;");
    calls_nobody("\\<!here\\> \\\\<!here> \\&lt;", "&lt;!here&gt; \\\\&lt;!here&gt; &amp;lt;");
    calls_nobody("&lt;@U1&gt; &amp;lt;", "&lt;@U1&gt; &amp;lt;");
    calls_nobody("> <!here>\n> > due", "> &lt;!here&gt;\n> > due");
    calls_nobody("| <@U1> |\n|---|\n| @here<br>x |", "| &lt;@U1&gt; |\n|---|\n| @+here x |");
    calls_nobody("```<!here>\nx", "```&lt;!here&gt;\nx");
    calls_nobody("<div>\n<!channel>\n</div>", "&lt;div&gt;\n&lt;!channel&gt;\n&lt;/div&gt;");
    calls_nobody("<!-- <!channel> @here", "&lt;!-- &lt;!channel&gt; @+here");
    calls_nobody("[<!here>](x) [@channel](y)", "&lt;!here&gt; @+channel");
    calls_nobody("arr[0](x) `a[0](b)`", "arr[0] `a[0](b)`");
}

#[track_caller]
fn mrkdwn(markdown: &str, expected: &str) {
    assert_eq!(slack_mrkdwn(markdown).replace('\u{200B}', "|"), expected, "{markdown:?}");
}

#[test]
fn slack_gets_its_own_markup() {
    mrkdwn("# Orario\n**oggi** *forse* ~~mai~~ `x`", "*Orario*\n\n*oggi* _forse_ ~mai~ `x`");
    mrkdwn("> a\n> **b**", "> a\n> *b*");
    mrkdwn("mezzo**grasso**mezzo **fine**.", "mezzo|*grasso*|mezzo *fine*.");
    mrkdwn("```js\na < b\n```", "```\na &lt; b\n```");
    mrkdwn("**due\nrighe**", "*due*\n*righe*");
}

#[test]
fn what_is_still_growing_is_valid() {
    telegram("Ecco **imp", "Ecco **imp");
    telegram("```rust\nfn a() {", "<pre><code class=\"language-rust\">fn a() {</code></pre>");
    telegram("#", "#");
    telegram("```", "```");
    telegram(">", "&gt;");
    telegram("-", "•");
    telegram("[banca](https://ev", "[banca](https://ev");
    for markdown in [ITALIAN, ENGLISH] {
        let mut before = String::new();
        let mut kept = 0;
        let mut steps = 0;
        for (end, _) in markdown.char_indices() {
            let text = &markdown[..end];
            assert_eq!(check::telegram_html(&telegram_html(text)), Ok(()), "{text}");
            assert!(text.trim().is_empty() || !telegram_html(text).trim().is_empty(), "{text}");
            let slack = slack_markdown(text);
            assert_eq!(check::slack_markdown(&slack), Ok(()), "{text}");
            kept += usize::from(slack.starts_with(&before));
            steps += 1;
            before = slack;
        }
        // A stream can be appended to nearly always.
        assert!(kept * 100 >= steps * 97, "{kept} of {steps}");
    }
}

#[test]
fn lengths_are_telegrams() {
    for (html, expected) in [
        ("", 0),
        ("<b>è</b>", 1),
        ("&lt;&amp;&quot;&gt;", 4),
        ("😀", 2),
        ("👨‍👩‍👧", 8),
        ("&#128512;&#x41;", 3),
        ("<pre><code class=\"language-a\">x</code></pre>", 1),
        ("&nosuch; & a", 12),
    ] {
        assert_eq!(visible_characters(html), expected, "{html}");
    }
}

#[test]
fn the_checks_find_what_is_wrong() {
    for html in [
        "<a href=\"x\">y</a>",
        "<b>",
        "</b>",
        "<b><i></b></i>",
        "<pre><b>x</b></pre>",
        "a > b",
        "a & b",
        "&nbsp;",
        "<blockquote><blockquote>x</blockquote></blockquote>",
        "<code class=\"language-x\">y</code>",
        "<b",
        "<B>x</B>",
        "<b><code>x</code></b>",
        "\"",
    ] {
        assert!(check::telegram_html(html).is_err(), "{html}");
    }
    for text in ["<!here>", "a > b", "a & b", "@channel", "x@HERE", "&copy;", "[a](https://x)", "[a]: <https://x>"] {
        assert!(check::slack_markdown(text).is_err(), "{text}");
    }
}

#[track_caller]
fn parts(markdown: &str, characters_max: usize, expected: &[&str]) {
    assert_eq!(split(markdown, characters_max), expected, "{markdown:?}");
}

#[test]
fn cuts_are_where_people_would_make_them() {
    // Paragraphs, and a heading with what it is the heading of.
    parts("uno due\n\ntre quattro", 12, &["uno due", "tre quattro"]);
    parts("uno\n\n# Due\n\ntre quattro", 18, &["uno", "# Due\n\ntre quattro"]);
    // What fits stays as it is.
    parts("a  *b* \n", 12, &["a  *b* \n"]);
    // Sentences before words, words before letters, and letters before what people take for one.
    parts("Uno due tre. Quattro cinque.", 20, &["Uno due tre.", "Quattro cinque."]);
    parts("uno due tre quattro", 12, &["uno due tre", "quattro"]);
    parts("precipitevolissimevolmente", 10, &["precipitev", "olissimevo", "lmente"]);
    parts("e\u{301}e\u{301}e\u{301}", 3, &["e\u{301}", "e\u{301}", "e\u{301}"]);
    // Citation marks stay whole and with their word.
    parts("una frase lunga [2, 3] e poi", 18, &["una frase", "lunga [2, 3] e poi"]);
    // Styles go on.
    parts("**uno due tre quattro**", 16, &["**uno due tre**", "**quattro**"]);
    // Items keep their numbers, and what goes on with an item has none.
    parts("1. uno due\n2. tre quattro", 14, &["1. uno due", "2. tre quattro"]);
    parts("1. uno due tre\n2. quattro", 12, &["1. uno due", "tre", "2. quattro"]);
    parts("- a\n  - bb bb\n  - cc cc\n- d", 12, &["- a", "- bb bb", "- cc cc", "- d"]);
}

#[test]
fn quotes_code_and_tables_go_on_in_the_next_message() {
    parts("> uno due\n>\n> tre quattro", 14, &["> uno due", "> tre quattro"]);
    parts("> uno due tre quattro", 14, &["> uno due tre", "> quattro"]);
    parts("```rust\na();\nb();\n```", 23, &["```rust\na();\nb();\n```"]);
    parts("```rust\na();\nb();\n```", 18, &["```rust\na();\n```", "```rust\nb();\n```"]);
    parts("testo\n\n```\na\nb\n```", 14, &["testo", "```\na\nb\n```"]);
    parts("````\n```\na\n````\n\nx", 15, &["````\n```\na\n````", "x"]);
    parts(
        "| a | b |\n|---|---|\n| c | d |\n| e | f |",
        32,
        &["| a | b |\n|---|---|\n| c | d |", "| a | b |\n|---|---|\n| e | f |"],
    );
    // A fence that is still open.
    parts("```js\na();\nb();\n", 14, &["```js\na();\n```", "```js\nb();\n```"]);
    parts("", 10, &[]);
    parts(" \n", 10, &[]);
    parts("[](https://e.example)", 100, &[]);
    parts("#", 10, &["#"]);
}

#[test]
fn a_cut_leaves_no_fence_open() {
    let code: String = (0..400).map(|line| format!("let value_{line} = {line};\n")).collect();
    let answer = format!("{ITALIAN}\n\n```rust\n{code}```\n\n> Nota\n>\n> ```\n> x\n> ```\n\n{ENGLISH}");
    for characters_max in [200, 500, 1200, 3500] {
        let parts = split(&answer, characters_max);
        for part in &parts {
            let fences = part.lines().filter(|line| line.trim_start_matches(['>', ' ']).starts_with("```")).count();
            assert_eq!(fences % 2, 0, "{part}");
        }
        let lines: Vec<&str> =
            parts.iter().flat_map(|part| part.lines()).filter(|line| line.starts_with("let")).collect();
        assert_eq!(lines.join("\n"), code.trim_end());
    }
}

#[test]
fn the_first_messages_stay_while_an_answer_grows() {
    let answer = format!("{ITALIAN}\n\n{ENGLISH}");
    let finished = split(&answer, 600);
    let mut stayed = 0;
    let mut seen = 0;
    for (end, _) in answer.char_indices() {
        let parts = split(&answer[..end], 600);
        for (part, last) in parts.iter().zip(&finished).take(parts.len().saturating_sub(1)) {
            seen += 1;
            stayed += usize::from(part == last);
        }
    }
    assert!(stayed * 100 >= seen * 95, "{stayed} of {seen}");
}

#[test]
fn what_shows_nothing_keeps_a_list_apart_from_what_follows() {
    let rest = "Il resto della risposta, che sta in un altro messaggio.";
    for (between, behind, wanted) in [
        (">", "5. quinta", "5. quinta"),
        ("```\n```", "5. quinta", "5. quinta"),
        ("\n<br>", "5. quinta", "5. quinta"),
        ("\n[](https://e.example)", "5. quinta", "5. quinta"),
        (">", "     a<br>b", "a<br>b"),
    ] {
        let parts = split(&format!("1. prima\n2. seconda\n{between}\n\n{behind}\n\n{rest}"), 60);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert!(plain(&parts[0]).ends_with(wanted), "{parts:?}");
    }
}

#[test]
fn what_shows_nothing_is_no_message_of_its_own() {
    assert_eq!(split("abc\n\n\u{a0}&#1;\n\ndef", 5), ["abc", "def"]);
}
