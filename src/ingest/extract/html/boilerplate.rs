//! What on a page is not its content: navigation, page furniture, controls, banners, hidden text.

use scraper::ElementRef;
use scraper::node::Element;

/// How much of the page is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    Content,
    /// Also tables of contents.
    Contents,
    /// Everything that a browser could show, but for the page's frame.
    Everything,
}

/// Never text.
const UNREADABLE: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "canvas", "audio", "video", "head",
    "title", "map", "noframes",
];

const CONTROLS: &[&str] =
    &["button", "select", "textarea", "input", "datalist", "nav", "footer", "menu", "dialog", "progress"];

/// Around the content of a page, whatever that is.
const FRAME: &[&str] = &["header", "footer", "aside", "button", "input"];

const ROLES: &[&str] = &[
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "menu",
    "menubar",
    "toolbar",
    "dialog",
    "alertdialog",
    "tooltip",
];

/// Classes and ids of page furniture, wherever it stands.
const FURNITURE: &[&str] = &[
    "navheader",
    "navfooter",
    "navbar",
    "navigation",
    "nav-links",
    "breadcrumb",
    "breadcrumbs",
    "breadcrumb-section",
    "headerlink",
    "anchor-link",
    "anchorjs-link",
    "header-anchor",
    "hash-link",
    "skip-link",
    "skiplink",
    "mw-editsection",
    "mw-jump-link",
    "printfooter",
    "catlinks",
    "pagination",
    "pager",
    "page-metadata",
    "edit-this-page",
    "share-buttons",
    "social-share",
    "longdesc-link",
    "relatedtopics",
    "related-topics",
    "site-footer",
    "page-footer",
    "footer-body",
    "site-header",
    "sphinxsidebar",
    "cookie",
    "cookies",
    "cookie-banner",
    "cookie-consent",
    "cookieconsent",
    "cookie-notice",
    "cookie-bar",
    "cookiebar",
    "cookie-popup",
    "cookie-law-info-bar",
    "cc-window",
    "gdpr",
    "gdpr-banner",
    "consent-banner",
    "onetrust-consent-sdk",
    "cybotcookiebotdialog",
    "iubenda-cs-banner",
];

/// Furniture outside of the page's main part; inside it the same words name content.
const OUTER_FURNITURE: &[&str] = &["footer", "sidebar", "side-bar", "masthead", "topnav", "topbar", "menu", "toolbar"];

const CONTENTS: &[&str] =
    &["toc", "table-of-contents", "list-of-tables", "list-of-figures", "list-of-examples", "toctree-wrapper"];

/// Containers of remarks: their headings head no section.
const REMARKS: &[&str] = &["note", "tip", "warning", "caution", "important", "admonition", "callout", "hint", "danger"];

/// Verdict on an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    /// A table of contents that was left out.
    DropContents,
}

/// `in_main`: the element stands inside the page's main part or an article.
pub(super) fn fate(node: ElementRef<'_>, keep: Keep, in_main: bool) -> Fate {
    let element = node.value();
    let name = element.name();
    if UNREADABLE.contains(&name) {
        return Fate::Drop;
    }
    if matches!(name, "html" | "body" | "main") {
        return Fate::Keep;
    }
    if keep == Keep::Everything {
        return if FRAME.contains(&name) { Fate::Drop } else { Fate::Keep };
    }
    if keep < Keep::Contents && named(element, CONTENTS) {
        return Fate::DropContents;
    }
    let furniture = CONTROLS.contains(&name)
        || element.attr("role").is_some_and(|role| ROLES.contains(&role))
        || (name == "header" && !in_main)
        || (name == "aside" && !is_remark(element) && !named(element, &["footnote", "footnotes", "topic"]))
        || named(element, FURNITURE)
        || (!in_main && named(element, OUTER_FURNITURE))
        || (name != "a" && element.attr("aria-label").is_some_and(|label| label.eq_ignore_ascii_case("breadcrumb")));
    if furniture || (is_hidden(element) && !is_default_of_switch(node)) { Fate::Drop } else { Fate::Keep }
}

/// A note, a tip, a warning: an aside of the author's.
pub(super) fn is_remark(element: &Element) -> bool {
    named(element, REMARKS)
}

fn named(element: &Element, words: &[&str]) -> bool {
    let is_one = |word: &str| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    element.attr("class").is_some_and(|classes| classes.split_ascii_whitespace().any(is_one))
        || element.attr("id").is_some_and(is_one)
}

pub(super) fn is_hidden(element: &Element) -> bool {
    element.attr("hidden").is_some_and(|value| value != "until-found")
        || element.attr("aria-hidden") == Some("true")
        || element.attr("style").is_some_and(|style| {
            let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
            style.contains("display:none") || style.contains("visibility:hidden")
        })
}

/// Some help systems write the variants of a phrase (one per platform) as hidden siblings and let a script show one.
/// The default variant is the text of the page; without a default all variants are.
fn is_default_of_switch(node: ElementRef<'_>) -> bool {
    const VARIANTS_MAX: usize = 12;
    let Some(parent) = node.parent().and_then(ElementRef::wrap).filter(|parent| parent.value().name() == "span") else {
        return false;
    };
    let only_variants = parent.children().take(2 * VARIANTS_MAX).all(|child| match child.value() {
        scraper::Node::Text(text) => text.trim().is_empty(),
        scraper::Node::Element(element) => is_hidden(element),
        _ => true,
    });
    if !only_variants {
        return false;
    }
    let is_default = |element: &Element| element.id().is_some_and(|id| id.starts_with("default"));
    let variants: Vec<ElementRef<'_>> = parent.child_elements().take(VARIANTS_MAX).collect();
    if variants.iter().any(|variant| is_default(variant.value())) {
        return is_default(node.value());
    }
    // Variants that say the same say it once.
    let text =
        |variant: ElementRef<'_>| variant.text().flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>();
    let own = text(node);
    variants.iter().take_while(|variant| variant.id() != node.id()).all(|variant| text(*variant) != own)
}

#[cfg(test)]
mod tests {
    use crate::ingest::extract::{html, outline};
    use std::path::Path;

    fn text_of(source: &str) -> String {
        outline(&html::extract(source, Path::new("p.html"))).lines().skip(1).collect::<Vec<_>>().join(" / ")
    }

    #[test]
    fn page_furniture_is_dropped() {
        for furniture in [
            "<nav>Menu</nav>",
            "<header><h1>Sito</h1></header>",
            "<footer>Piede</footer>",
            "<aside>Lato</aside>",
            "<div role=navigation>x</div>",
            "<div role=banner>x</div>",
            "<div role=contentinfo>x</div>",
            "<div class='navheader'><table><tr><th>x</th></tr></table></div>",
            "<div id=cookie-banner>Cookie?</div>",
            "<ol class='breadcrumb'><li>Home</li></ol>",
            "<p hidden>x</p>",
            "<p style='display: none'>x</p>",
            "<span aria-hidden=true>x</span>",
            "<button>Ok</button>",
            "<select><option>Uno</select>",
            "<textarea>x</textarea>",
            "<script>x()</script>",
            "<style>p{}</style>",
            "<noscript>JS!</noscript>",
            "<template><p>x</p></template>",
            "<svg><text>x</text></svg>",
            "<div id=footer>x</div>",
        ] {
            assert_eq!(text_of(&format!("{furniture}<p>Testo.</p>{furniture}")), "P Testo.", "{furniture}");
        }
    }

    #[test]
    fn content_that_only_sounds_like_furniture_stays() {
        for (source, expected) in [
            ("<article><header><h1>Ferie</h1></header><p>Testo.</p></article>", "H1 Ferie / P Testo."),
            ("<aside class='note'><p>Nota.</p></aside>", "P Nota."),
            ("<form><p>Testo.</p><input></form>", "P Testo."),
            ("<main><div class=menu>Lunedì: pasta</div></main>", "P Lunedì: pasta"),
            ("<nav>Solo menu</nav>", "P Solo menu"),
            ("<header>Sito</header><p></p><footer><p>Titolo della pagina</p></footer>", ""),
        ] {
            assert_eq!(text_of(source), expected, "{source}");
        }
    }

    #[test]
    fn of_hidden_variants_the_default_is_kept() {
        let page =
            "<p>Apri <span><span hidden id=MAC1>Preferenze</span><span hidden id=default1>Opzioni</span></span>.";
        assert_eq!(text_of(page), "P Apri Opzioni.");
        assert_eq!(text_of("<p>Apri <span><span hidden class=CALC>Dati</span></span>.</p>"), "P Apri Dati.");
        let page = "<p>Apri <span><b hidden>Dati</b><b hidden>Filtri</b><i hidden>Dati</i></span>.</p>";
        assert_eq!(text_of(page), "P Apri Dati Filtri.");
        assert_eq!(text_of("<p>Apri <span>ora <span hidden>segreto</span></span></p>"), "P Apri ora");
    }
}
