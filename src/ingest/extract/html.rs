//! HTML pages to blocks: parsing, the page's title and language, and the choice of what on the page is its content.
//! What is dropped is told in `boilerplate`, how elements become blocks in `blocks`.

mod blocks;
mod boilerplate;

use std::path::Path;

use jiff::civil::Date;
use scraper::{ElementRef, Html, Node};

use super::date;
use crate::domain::Language;
use crate::ingest::document::{Block, Document, language_from_tag, title_from_path};
use blocks::{Extracted, Placed, Walk};
use boilerplate::Keep;

/// Words below which a page is taken to be a table of contents, which is then its content.
const WORDS_MIN: usize = 40;
/// Share of the page's text that `<main>` must hold to be taken for the whole content.
const MAIN_SHARE_MIN: f64 = 0.5;
/// Words of a label over links to other pages, and of the text above it that makes it an appendix.
const LABEL_WORDS_MAX: usize = 4;
const LABELLED_WORDS_MIN: usize = 15;
/// Markup nested deeper than this, or with more unclosed formatting, costs a parser more than a page is worth.
const NESTING_MAX: usize = 2_000;
const UNCLOSED_MAX: usize = 500;
/// What metadata are called that tell a page's date, the last change first.
const DATE_NAMES: [&str; 8] = [
    "article:modified_time",
    "dateModified",
    "dcterms.modified",
    "article:published_time",
    "datePublished",
    "dcterms.date",
    "dc.date",
    "date",
];

pub(super) fn extract(source: &str, path: &Path) -> Document {
    let page = Html::parse_document(source);
    let mut extracted = Walk::new(&page, Keep::Content).run();
    if extracted.left_contents && extracted.words() < WORDS_MIN {
        extracted = Walk::new(&page, Keep::Contents).run();
    }
    if extracted.words() == 0 {
        extracted = Walk::new(&page, Keep::Everything).run();
    }
    let blocks = content(extracted);
    let title = title(&page, &blocks).unwrap_or_else(|| title_from_path(path));
    Document::new(title, language(&page), blocks).dated(changed_on(&page))
}

/// Whether a parser should read the page under limits only: a tree builder is quadratic in open elements.
pub(super) fn is_hostile(source: &str) -> bool {
    let (mut depth, mut unclosed) = (0_isize, 0_isize);
    let mut rest = source;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let closing = rest.starts_with('/');
        let name = &rest[usize::from(closing)..];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        let step = if closing { -1 } else { 1 };
        match name.to_ascii_lowercase().as_str() {
            // Void, or closed by what follows.
            "" | "br" | "hr" | "img" | "input" | "meta" | "link" | "col" | "area" | "base" | "wbr" | "source"
            | "track" | "embed" | "param" | "p" | "li" | "dt" | "dd" | "tr" | "td" | "th" | "option" | "tbody"
            | "thead" | "rt" | "rp" => {}
            "a" | "b" | "big" | "code" | "em" | "font" | "i" | "nobr" | "s" | "small" | "strike" | "strong" | "tt"
            | "u" => unclosed += step,
            _ => depth += step,
        }
        if depth > NESTING_MAX as isize || unclosed > UNCLOSED_MAX as isize {
            return true;
        }
    }
    false
}

/// The blocks of `<main>` or the only `<article>` when they hold most of the text, else all; without the list of links
/// to other pages at the end.
fn content(extracted: Extracted) -> Vec<Block> {
    let length = |main: bool| -> usize {
        extracted.blocks.iter().filter(|placed| placed.in_main || !main).map(|placed| placed.block.text.len()).sum()
    };
    let only_main = length(true) as f64 > MAIN_SHARE_MIN * length(false) as f64;
    let mut placed = extracted.blocks;
    placed.retain(|placed| placed.in_main || !only_main);
    let end = before_related_links(&placed);
    placed.truncate(end);
    placed.into_iter().map(|placed| placed.block).collect()
}

/// The number of blocks before a label ("See also") and nothing but links at the end of the page. A page that is little
/// more than links keeps them.
fn before_related_links(placed: &[Placed]) -> usize {
    let links = placed.iter().rev().take_while(|placed| placed.is_link && placed.block.label().is_none()).count();
    let Some(label) = (placed.len() - links).checked_sub(1).filter(|_| links > 0) else { return placed.len() };
    let text = &placed[label].block.text;
    let is_label = text.split_whitespace().count() <= LABEL_WORDS_MAX && !text.ends_with(['.', '?', '!', ';']);
    let words: usize = placed[..label].iter().map(|placed| placed.block.text.split_whitespace().count()).sum();
    if is_label && words >= LABELLED_WORDS_MIN { label } else { placed.len() }
}

/// `<title>`, without the site's name if the page's first heading shows where that begins.
fn title(page: &Html, blocks: &[Block]) -> Option<String> {
    let heading = blocks.iter().find_map(Block::label);
    let title = elements(page).find(|element| element.value().name() == "title").map(|title| {
        let text: String = title.text().collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    match (title.filter(|title| !title.is_empty()), heading) {
        (Some(title), Some(heading)) => {
            let site = title.strip_prefix(heading).map(str::trim_start);
            let cut =
                site.is_some_and(|site| site.starts_with(['—', '–', '-', '|', '·', '•', '«', '»', ':', '/', '(']));
            Some(if cut { heading.to_owned() } else { title })
        }
        (title, heading) => title.or_else(|| heading.map(str::to_owned)),
    }
}

fn language(page: &Html) -> Option<Language> {
    elements(page).take(4).find_map(|element| {
        let element = element.value();
        let tag = element.attr("lang").or_else(|| element.attr("xml:lang"))?;
        matches!(element.name(), "html" | "body").then(|| language_from_tag(tag)).flatten()
    })
}

/// What the page's metadata say of its last change, else of its appearance.
fn changed_on(page: &Html) -> Option<Date> {
    let mut found: Vec<(usize, Date)> = Vec::new();
    // Below the head: in the page it is about a comment or another page.
    let is_of_the_head = |element: &ElementRef<'_>| {
        let mut above = element.ancestors().filter_map(ElementRef::wrap);
        element.value().name() == "meta" && above.any(|above| above.value().name() == "head")
    };
    for element in elements(page).filter(is_of_the_head).map(|element| element.value()) {
        let name = ["property", "name", "itemprop"].iter().find_map(|key| element.attr(key)).unwrap_or_default();
        let place = DATE_NAMES.iter().position(|known| name.eq_ignore_ascii_case(known));
        found.extend(place.zip(element.attr("content").and_then(date::iso)));
    }
    found.into_iter().min_by_key(|(place, _)| *place).map(|(_, date)| date)
}

fn elements(page: &Html) -> impl Iterator<Item = ElementRef<'_>> {
    page.tree.nodes().filter(|node| matches!(node.value(), Node::Element(_))).filter_map(ElementRef::wrap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::extract::outline;

    fn extract_str(source: &str) -> Document {
        extract(source, Path::new("pagina.html"))
    }

    #[test]
    fn a_wiki_export() {
        insta::assert_snapshot!(outline(&extract_str(include_str!("../../../tests/fixtures/documents/wiki.html"))));
    }

    #[test]
    fn a_help_page_with_script_switches() {
        insta::assert_snapshot!(outline(&extract_str(include_str!("../../../tests/fixtures/documents/aiuto.html"))));
    }

    #[test]
    fn a_manual_with_navigation_tables() {
        insta::assert_snapshot!(outline(&extract_str(include_str!("../../../tests/fixtures/documents/manual.html"))));
    }

    #[test]
    fn the_last_change_counts_and_not_the_appearance() {
        let page = |metadata: &str| extract_str(&format!("<head>{metadata}</head><p>Testo.</p>")).date;
        let appeared = "<meta name=DATE content=2024-02-03><meta name=viewport content=2020-01-01>";
        let changed = "<meta property='article:modified_time' content='2026-03-31T08:00:00+01:00'>";
        assert_eq!(page(appeared), Some(jiff::civil::date(2024, 2, 3)));
        assert_eq!(page(&format!("{appeared}{changed}")), Some(jiff::civil::date(2026, 3, 31)));
        assert_eq!(page("<meta name=date content=ieri>"), None);
        let comment = "<p>Bella pagina<meta itemprop=dateModified content=2026-03-31></p>";
        assert_eq!(page(&format!("{appeared}</head>{comment}")), Some(jiff::civil::date(2024, 2, 3)));
    }

    #[test]
    fn titles() {
        for (source, title) in [
            ("<title>Ferie — Manuale Acme</title><h1>Ferie</h1>", "Ferie"),
            ("<title> Ferie\n e  permessi </title><h1>Ferie</h1>", "Ferie e permessi"),
            ("<h1>Solo <em>qui</em></h1>", "Solo qui"),
            ("<p>niente", "pagina"),
            ("<title></title><h2>Sotto</h2>", "Sotto"),
        ] {
            assert_eq!(extract_str(source).title, title, "{source}");
        }
    }

    #[test]
    fn main_is_taken_when_it_holds_most_of_the_text() {
        let text = "parola ".repeat(60);
        let page = format!("<div>Menu laterale</div><main><p>{text}</p></main><div>Pubblicità</div>");
        assert_eq!(extract_str(&page).blocks.len(), 1);
        let page = format!("<p>{text}</p><main><p>Poco</p></main>");
        assert_eq!(extract_str(&page).blocks.len(), 2);
    }

    #[test]
    fn a_page_of_contents_keeps_them() {
        let page = "<h1>Indice</h1><div class=toc><ul><li>Uno</li><li>Due</li></ul></div>";
        assert_eq!(extract_str(page).blocks.len(), 3);
        let long = format!("{page}<p>{}</p>", "parola ".repeat(60));
        assert_eq!(extract_str(&long).blocks.len(), 2);
    }

    #[test]
    fn links_to_other_pages_at_the_end_are_no_content() {
        let text = "parola ".repeat(20);
        let links = "<p><a href=a>Uno</a></p><ul><li><a href=b>Due</a></li></ul>";
        assert_eq!(extract_str(&format!("<p>{text}</p><p>Vedi anche</p>{links}")).blocks.len(), 1);
        assert_eq!(extract_str(&format!("<p>{text}</p><h3>Vedi anche:</h3>{links}")).blocks.len(), 1);
        assert_eq!(extract_str(&format!("<p>{text}</p><p>Vedi anche</p>{links}<p>Testo.</p>")).blocks.len(), 5);
        assert_eq!(extract_str(&format!("<p>{text}</p>{links}")).blocks.len(), 3);
        assert_eq!(extract_str(&format!("<p>Indice</p>{links}")).blocks.len(), 3);
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        for tag in ["div", "b", "span", "ul><li", "blockquote", "table><tr><td", "svg><g"] {
            let page = format!("{}testo in fondo", format!("<{tag}>").repeat(10_000));
            assert!(is_hostile(&page), "{tag}");
        }
        let page = format!("{}testo in fondo", "<div>".repeat(10_000));
        assert_eq!(extract_str(&page).blocks[0].text, "testo in fondo");
        assert!(!is_hostile(&"<div><p>a<br><b>c</b></div>".repeat(10_000)));
        assert!(!is_hostile(&"<p>a<li>b<td>c".repeat(10_000)));
    }
}
