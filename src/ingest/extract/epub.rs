//! EPUB to blocks: the chapters in reading order, each read as the page that it is; title and language as the package
//! declares them. Runs in the child process.

use std::collections::HashMap;

use jiff::civil::Date;
use percent_encoding::percent_decode_str;

use super::archive::{Archive, resolve};
use super::source::Source;
use super::xml::{Token, attribute, date_of, element_text, walk};
use super::{ExtractError, date, encoding, html};
use crate::ingest::document::{Block, BlockKind, Document, language_from_tag, title_from_path};

const CONTAINER: &str = "META-INF/container.xml";

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let container = archive.required_xml(CONTAINER)?;
    let package_path = package_path(&container, source)?;
    let package = archive.required_xml(&package_path)?;
    let title = element_text(&package, "title", source).unwrap_or_else(|| title_from_path(source.path));
    let language_hint = element_text(&package, "language", source).as_deref().and_then(language_from_tag);
    let locked = archive.xml("META-INF/encryption.xml")?.unwrap_or_default();
    let mut blocks = Vec::new();
    let mut failure = None;
    for path in chapters(&package, &package_path, source)? {
        // A chapter that cannot be read does not cost the others.
        match chapter(&mut archive, &path, &title) {
            Ok(mut chapter) => blocks.append(&mut chapter),
            Err(error @ ExtractError::UnpacksTooLarge { .. }) => return Err(error),
            // Fonts are locked in free books too; the name of a chapter means that its text is.
            Err(_) if locked.contains(&path) => failure = Some(source.encrypted()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(failure) if blocks.is_empty() => Err(failure),
        failure => {
            let unread = failure.map(|failure| failure.to_string());
            Ok(Document { unread, ..Document::new(title, language_hint, blocks).dated(changed_on(&package, source)) })
        }
    }
}

/// Where the package's own description stands.
fn package_path(container: &str, source: Source<'_>) -> Result<String, ExtractError> {
    let mut path = None;
    walk(container, source, |token| {
        if let Token::Open(tag) = token
            && tag.local_name().as_ref() == "rootfile"
            && path.is_none()
        {
            path = attribute(tag, "full-path");
        }
        Ok(())
    })?;
    path.ok_or_else(|| source.damaged(format!("`{CONTAINER}` names no package")))
}

/// The day of the last change, which EPUB 3 writes as a property, or else that of the appearance.
fn changed_on(package: &str, source: Source<'_>) -> Option<Date> {
    let (mut inside, mut text) = (false, String::new());
    // Damaged metadata is worth no book.
    let _ = walk(package, source, |token| {
        match token {
            Token::Open(tag) => inside = attribute(tag, "property").is_some_and(|name| name == "dcterms:modified"),
            Token::Close(_) => inside = false,
            Token::Text(more) if inside => text.push_str(more),
            Token::Text(_) => {}
        }
        Ok(())
    });
    date::iso(&text).or_else(|| date_of(package, source))
}

/// The paths of the chapters, in reading order, without the table of contents.
fn chapters(package: &str, package_path: &str, source: Source<'_>) -> Result<Vec<String>, ExtractError> {
    let mut pages: HashMap<String, String> = HashMap::new();
    let mut order = Vec::new();
    walk(package, source, |token| {
        let Token::Open(tag) = token else { return Ok(()) };
        match tag.local_name().as_ref() {
            "item" => {
                let kind = attribute(tag, "media-type").unwrap_or_default();
                let contents = attribute(tag, "properties").is_some_and(|all| all.split(' ').any(|one| one == "nav"));
                if let (Some(id), Some(href)) = (attribute(tag, "id"), attribute(tag, "href"))
                    && matches!(kind.as_str(), "application/xhtml+xml" | "text/html")
                    && !contents
                {
                    let href = percent_decode_str(&href).decode_utf8_lossy().into_owned();
                    pages.extend(resolve(package_path, &href).map(|path| (id, path)));
                }
            }
            // Each page once, however often it is named.
            "itemref" => order.extend(attribute(tag, "idref").and_then(|id| pages.remove(&id))),
            _ => {}
        }
        Ok(())
    })?;
    Ok(order)
}

fn chapter(archive: &mut Archive<'_>, path: &str, book: &str) -> Result<Vec<Block>, ExtractError> {
    let source = archive.source;
    let bytes = archive.bytes(path)?.ok_or_else(|| source.damaged(format!("it holds no `{path}`")))?;
    let page = encoding::decode_html(&bytes).ok_or_else(|| source.damaged(format!("`{path}` is not a page")))?;
    let page = with_closed_elements(&page);
    if html::is_hostile(&page) {
        return Err(source.damaged(format!("`{path}` is nested too deep")));
    }
    // A page without any title is not named after its file.
    let page = html::extract(&page, "".as_ref());
    let mut blocks = page.blocks;
    let named = blocks.iter().any(|block| block.label().is_some());
    if !named && !blocks.is_empty() && !page.title.is_empty() && page.title != book {
        let heading = BlockKind::Heading { level: 1, label: page.title.clone() };
        blocks.insert(0, Block::new(heading, page.title));
    }
    // An anchor leads into one file of the book, not into the book.
    blocks.iter_mut().for_each(|block| block.anchor = None);
    Ok(blocks)
}

/// XHTML closes elements in their own tag (`<title/>`), which a reader of HTML takes for their beginning.
fn with_closed_elements(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + page.len() / 16);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if let Some(comment) = rest.strip_prefix("<!--") {
            comment.find("-->").map(|end| end + 7)
        } else {
            tag_end(rest)
        };
        let Some(end) = end else { break };
        let tag = &rest[..end];
        let name = &tag[1..];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        match tag.strip_suffix("/>").filter(|_| !name.is_empty() && !is_void(name)) {
            Some(open) => text.extend([open, "></", name, ">"]),
            None => text.push_str(tag),
        }
        rest = &rest[end..];
    }
    text.push_str(rest);
    text
}

/// The length of the tag that `text` begins with; a `>` in a quoted value does not end it.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn is_void(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
    )
}

#[cfg(test)]
mod tests {
    use super::with_closed_elements;
    use crate::ingest::extract::outline;
    use crate::ingest::extract::tests::{archive, here};

    const CONTAINER: &[u8] =
        b"<container><rootfiles><rootfile full-path=\"OEBPS/content.opf\"/></rootfiles></container>";
    const PACKAGE: &[u8] = br#"<package><metadata><dc:title>Manuale di bordo</dc:title><dc:language>it</dc:language></metadata>
        <manifest><item id="due" href="testo/capitolo%202.xhtml" media-type="application/xhtml+xml"/>
        <item id="uno" href="testo/uno.xhtml" media-type="application/xhtml+xml"/>
        <item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>
        <item id="fuori" href="../../../fuori.xhtml" media-type="application/xhtml+xml"/>
        <item id="foto" href="a.png" media-type="image/png"/></manifest>
        <spine><itemref idref="nav"/><itemref idref="uno"/><itemref idref="due"/><itemref idref="uno"/><itemref idref="foto"/>
        <itemref idref="fuori"/></spine></package>"#;
    const ONE: &[u8] =
        "<html><head><title/><script src=\"x>y\"/></head><body><h1 id=\"a\">Partenza</h1><p>Si parte<a id=\"p1\"/> \
        alle <b>otto</b>.<br/>Puntuali.</p></body></html>"
            .as_bytes();
    const TWO: &[u8] = b"<html><head><title>Arrivo</title></head><body><p>Si arriva la sera.</p></body></html>";

    fn book<'a>(one: &'a [u8], more: &[(&'a str, &'a [u8])]) -> Vec<u8> {
        let mut parts = vec![
            ("mimetype", &b"application/epub+zip"[..]),
            ("META-INF/container.xml", CONTAINER),
            ("OEBPS/content.opf", PACKAGE),
            ("OEBPS/nav.xhtml", b"<html><body><p>Indice generale</p></body></html>"),
            ("OEBPS/testo/uno.xhtml", one),
        ];
        parts.extend(more);
        archive(&parts)
    }

    #[test]
    fn chapters_are_read_in_order() {
        let document = here("bordo.epub", &book(ONE, &[("OEBPS/testo/capitolo 2.xhtml", TWO)])).unwrap();
        assert_eq!(
            outline(&document),
            "[Manuale di bordo] it\nH1 Partenza\nP Si parte alle otto.⏎Puntuali.\nH1 Arrivo\nP Si arriva la sera.\n"
        );
    }

    #[test]
    fn a_book_of_a_real_library() {
        let bytes = include_bytes!("../../../tests/fixtures/documents/sicurezza.epub");
        assert_eq!(
            outline(&here("sicurezza.epub", bytes).unwrap()),
            "[Sicurezza in ufficio] it 2026-11-25\nH1 Incendio\nP Uscire dalle scale, mai con l'ascensore.\nH1 Terremoto\nLI Sotto un tavolo\n\
             LI Lontano dai vetri\n"
        );
    }

    #[test]
    fn a_damaged_chapter_does_not_cost_the_others() {
        // The second chapter is missing.
        let book_without_it = here("a.epub", &book(ONE, &[])).unwrap();
        assert_eq!(book_without_it.blocks.len(), 2);
        assert!(book_without_it.unread.is_some_and(|unread| unread.contains("capitolo 2.xhtml")));
        let deep = "<div>".repeat(10_000);
        let second = [("OEBPS/testo/capitolo 2.xhtml", TWO)];
        assert_eq!(here("a.epub", &book(deep.as_bytes(), &second)).unwrap().blocks.len(), 2);
        let error = here("a.epub", &book(deep.as_bytes(), &[])).unwrap_err();
        assert!(error.contains("uno.xhtml` is nested too deep"), "{error}");
    }

    #[test]
    fn a_locked_book_says_so() {
        let locks = br#"<encryption><CipherReference URI="OEBPS/testo/uno.xhtml"/></encryption>"#;
        let error = here("a.epub", &book(b"\x00\x01\x02", &[("META-INF/encryption.xml", locks)])).unwrap_err();
        assert!(error.contains("a.epub` is encrypted"), "{error}");
        let fonts = br#"<encryption><CipherReference URI="OEBPS/font.otf"/></encryption>"#;
        assert!(here("a.epub", &book(ONE, &[("META-INF/encryption.xml", fonts)])).is_ok());
    }

    #[test]
    fn what_is_not_a_book_says_so() {
        assert!(here("a.epub", &archive(&[("a", b"b")])).unwrap_err().contains("META-INF/container.xml"));
        assert!(here("a.epub", b"no").unwrap_err().contains("damaged or no EPUB"));
    }

    #[test]
    fn elements_are_closed_as_html_knows_it() {
        for (xhtml, expect) in [
            ("<a id=\"1\"/>x<br/>y", "<a id=\"1\"></a>x<br/>y"),
            ("<i title='a>b/>'/>z", "<i title='a>b/>'></i>z"),
            ("<!-- <a/> --><p>1 < 2</p>", "<!-- <a/> --><p>1 < 2</p>"),
            ("<p>a</p><b", "<p>a</p><b"),
        ] {
            assert_eq!(with_closed_elements(xhtml), expect);
        }
    }
}
