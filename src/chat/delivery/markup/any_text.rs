//! What holds for any text, whatever is in it and wherever it is cut.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Renderings that have to hold for any text.
fn holds(markdown: &str) -> Result<(), TestCaseError> {
    let html = telegram_html(markdown);
    prop_assert_eq!(check::telegram_html(&html), Ok(()), "{}", html);
    let markdown_block = slack_markdown(markdown);
    prop_assert_eq!(check::slack_markdown(&markdown_block), Ok(()), "{}", markdown_block);
    for text in [slack_mrkdwn(markdown), slack_plain(markdown)] {
        prop_assert_eq!(check::slack_text(&text), Ok(()), "{}", text);
    }
    Ok(())
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn splits(markdown: &str, characters_max: usize) -> Result<(), TestCaseError> {
    let parts = split(markdown, characters_max);
    let mut together = String::new();
    for part in &parts {
        prop_assert!(part.chars().count() <= characters_max, "too long: {}", part);
        // Narrower ones may not take the rendering of a single character.
        if characters_max >= 60 {
            let limit = characters_max * 12 / 11;
            prop_assert!(visible_characters(&telegram_html(part)) <= limit, "too long for Telegram: {}", part);
            prop_assert!(plain(part).encode_utf16().count() <= limit, "too long as plain text: {}", part);
            prop_assert!(slack_markdown(part).chars().count() <= limit, "too long for Slack: {}", part);
        }
        prop_assert!(!plain(part).trim().is_empty(), "empty: {:?}", part);
        holds(part)?;
        together.push_str(&letters(&plain(part)));
    }
    let wanted = letters(&plain(markdown));
    if markdown.contains('|') {
        // Heads of tables are repeated, and cells stand in another order where a row has no room.
        for letter in wanted.chars() {
            let count = |text: &str| text.chars().filter(|other| *other == letter).count();
            prop_assert!(count(&together) >= count(&wanted), "lost {}: {:?}", letter, parts);
        }
    } else {
        prop_assert_eq!(together, wanted, "{:?}", parts);
    }
    Ok(())
}

/// Pieces that mean something in Markdown, HTML or Slack, and some words.
fn fragment() -> impl Strategy<Value = String> {
    let signs = prop::sample::select(vec![
        "&#1;",
        "*",
        "**",
        "_",
        "~~",
        "`",
        "```",
        "~~~",
        "\n",
        "\n\n",
        "    ",
        "> ",
        "- ",
        "1. ",
        "7) ",
        "# ",
        "###",
        "[",
        "]",
        "(",
        ")",
        "](",
        "](https://e.example)",
        "![",
        "<",
        ">",
        "<b>",
        "</b>",
        "<br>",
        "<!--",
        "-->",
        "<!channel>",
        "@here",
        "&",
        "&lt;",
        "&#42;",
        "&#10;",
        "|",
        "|---|",
        "\n|---|---|\n",
        "| a | b |\n|---|---|\n| c | d |\n",
        "\\",
        "\\\n",
        "---",
        "===",
        "[1]",
        "[2, 3]",
        ": ",
        "\"",
        "'",
        "\t",
        "\u{a0}",
        "\0",
        "\r",
        "<https://e.example>",
        "http://e.example",
        "- a\n  - b\n",
        "> a\n> - b\n",
        "```rust\nfn a() {}\n```\n",
        "😀",
        "👨‍👩‍👧",
        "e\u{301}",
        "!",
        "+",
        "=",
        "\u{FDD0}",
    ]);
    prop_oneof![
        4 => signs.prop_map(str::to_owned),
        2 => "[a-zàèìòù]{1,9}[ .,]?",
        1 => "\\PC{0,6}",
    ]
}

fn markdown_like() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_rendered_validly(markdown in "(.|\\n){0,200}") {
        holds(&markdown)?;
    }

    #[test]
    fn any_markdown_is_rendered_validly(markdown in markdown_like()) {
        holds(&markdown)?;
    }

    #[test]
    fn any_markdown_is_split_without_loss(markdown in markdown_like(), characters_max in 1..120usize) {
        splits(&markdown, characters_max)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn long_markdown_is_split_for_telegram(pieces in prop::collection::vec(markdown_like(), 30..60)) {
        splits(&pieces.join("\n\n"), 3500)?;
    }
}

#[test]
fn deep_and_odd_input_takes_neither_the_stack_nor_the_time() {
    let deep = [
        ">".repeat(10_000) + " fondo",
        "[".repeat(10_000) + "fondo",
        "[".repeat(10_000) + "fondo" + &"](x)".repeat(10_000),
        "![".repeat(10_000) + "fondo" + &"](x)".repeat(10_000),
        "- ".repeat(10_000) + "fondo",
        "1. ".repeat(10_000) + "fondo",
        "*a ".repeat(10_000) + "fondo",
        "**a _b ".repeat(10_000) + "fondo",
        "*".repeat(20_000) + "fondo" + &"*".repeat(20_000),
        "`".repeat(20_000) + "fondo",
        (1..200).map(|run| "`".repeat(run) + " ").collect::<String>() + "fondo",
        "<".repeat(20_000) + "fondo",
        "<!--".repeat(10_000) + "fondo",
        "&".repeat(20_000) + "fondo",
        "> - ".repeat(5_000) + "fondo",
        "|".repeat(10_000) + "\n" + &"|-".repeat(10_000) + "|\nfondo",
        "]:".repeat(10_000) + "fondo",
        "@channel".repeat(5_000) + "fondo",
        " ".repeat(20_000) + "fondo",
        "a".repeat(20_000) + "fondo",
        "> \n\n".repeat(5_000) + "fondo",
        "e".to_owned() + &"\u{301}".repeat(20_000) + "fondo",
    ];
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || {
            for markdown in deep {
                let begin = Instant::now();
                let head: String = markdown.chars().take(8).collect();
                assert!(telegram_html(&markdown).contains("fondo"), "{head}");
                holds(&markdown).unwrap();
                let rendered = begin.elapsed();
                let parts = split(&markdown, 3500);
                let shown: String = parts.iter().map(|part| letters(&plain(part))).collect();
                assert!(shown.contains("fondo"), "{head}");
                assert!(parts.iter().all(|part| part.chars().count() <= 3500), "{head}");
                assert!(rendered < Duration::from_secs(5), "{head}: rendered in {rendered:?}");
                assert!(begin.elapsed() < Duration::from_secs(20), "{head}: {:?}", begin.elapsed());
            }
        })
        .unwrap()
        .join()
        .unwrap();
}
