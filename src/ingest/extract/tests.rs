//! Extraction as the index run sees it: dispatch, limits, broken files; DOCX and PDF files are built here.

use std::io::{Cursor, Write};

use ::zip::write::{SimpleFileOptions, ZipWriter};
use proptest::proptest;

use super::*;
use crate::ingest::document::BlockKind;

pub(super) fn here(name: &str, bytes: &[u8]) -> Result<Document, String> {
    let path = Path::new(name);
    extract_here(Format::of(path).unwrap(), path, bytes).map_err(|error| error.to_string())
}

pub(super) fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const STYLES: &str = r#"<w:styles xmlns:w="w">
<w:style w:type="paragraph" w:styleId="Titolo1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Titolo"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="MioTitolo"><w:name w:val="Capitolo"/><w:basedOn w:val="Titolo1"/></w:style>
<w:style w:type="paragraph" w:styleId="Sotto"><w:name w:val="Sezione"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Elenco"><w:name w:val="List Bullet"/></w:style>
<w:style w:type="paragraph" w:styleId="Cod"><w:name w:val="Codice"/></w:style>
</w:styles>"#;

const BODY: &str = r#"<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="w" xmlns:mc="mc"><w:body>
<w:p><w:pPr><w:pStyle w:val="Titolo"/></w:pPr><w:r><w:t>Regolamento trasferte</w:t></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="MioTitolo"/></w:pPr><w:bookmarkStart w:id="0" w:name="_Toc1"/><w:r><w:t>Rimborsi &amp; spese</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Il rimborso </w:t></w:r><w:del><w:r><w:delText>mai </w:delText></w:r></w:del><w:ins><w:r><w:t xml:space="preserve">sempre </w:t></w:r></w:ins><w:hyperlink><w:r><w:t>si chiede</w:t></w:r></w:hyperlink><w:r><w:tab/><w:t>entro</w:t><w:br/><w:t>30 giorni&#46;</w:t></w:r><w:r><w:instrText>PAGEREF _Toc1</w:instrText></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="Sotto"/></w:pPr><w:r><w:t>Massimali</w:t></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="Elenco"/></w:pPr><w:r><w:t>Pasti: 40 €</w:t></w:r></w:p>
<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>Albergo: 120 €</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Paese</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Diaria</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Italia</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>46,48 €</w:t></w:r></w:p><w:p><w:r><w:t>esenti</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:p><w:pPr><w:pStyle w:val="Cod"/></w:pPr><w:r><w:t>uno</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val="Cod"/></w:pPr><w:r><w:t>due</w:t></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="Heading3"/></w:pPr><w:r><w:t>Senza stile dichiarato</w:t></w:r></w:p>
<w:p><w:r><mc:AlternateContent><mc:Choice><w:t>Riquadro.</w:t></mc:Choice><mc:Fallback><w:t>Riquadro.</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p>
</w:body></w:document>"#;

fn docx() -> Vec<u8> {
    archive(&[("word/document.xml", BODY.as_bytes()), ("word/styles.xml", STYLES.as_bytes())])
}

/// A PDF of one page that shows each `(size, x, y, text)`.
fn pdf(texts: &[(u32, u32, u32, &str)]) -> Vec<u8> {
    let content: String =
        texts.iter().map(|(size, x, y, text)| format!("BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET\n")).collect();
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}endstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", at + 1).into_bytes());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    places.iter().for_each(|place| bytes.extend(format!("{place:010} 00000 n \n").into_bytes()));
    bytes.extend(
        format!("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).into_bytes(),
    );
    bytes
}

#[test]
fn a_word_document() {
    insta::assert_snapshot!(outline(&here("regolamento.docx", &docx()).unwrap()));
}

#[test]
fn a_pdf_with_text() {
    let bytes = pdf(&[
        (20, 60, 780, "Guida alla rete"),
        (11, 60, 740, "La rete aziendale serve a tutti gli uffi-"),
        (11, 60, 726, "ci della sede e anche ai magazzini fuori"),
        (11, 60, 712, "citta, di giorno e di notte."),
        (15, 60, 680, "Accesso"),
        (11, 60, 660, "Chiedere la password alla reception."),
        (11, 60, 630, "Rete"),
        (11, 260, 630, "Password"),
        (11, 60, 616, "Ospiti"),
        (11, 260, 616, "al banco"),
    ]);
    insta::assert_snapshot!(outline(&here("rete.pdf", &bytes).unwrap()));
}

#[test]
fn pages_that_are_scans_are_read_or_reported() {
    let fixture = |name: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents").join(name)).unwrap()
    };
    assert!(here("vuoto.pdf", &pdf(&[])).unwrap_err().contains("holds no text"));
    let (mixed, scan) =
        (here("scansione.pdf", &fixture("scansione.pdf")).unwrap(), here("fax.pdf", &fixture("fax.pdf")));
    let text = outline(&mixed);
    assert!(text.contains("copie dei fogli firmati dalla direzione."), "{text}");
    if !scans_are_read() {
        assert!(std::env::var_os("CERVELLA_TESTS_SKIP_NOTHING").is_none(), "tesseract is missing");
        let unread = mixed.unread.unwrap();
        assert!(
            unread.starts_with("2 pages from 2 to 3 are scans without a text layer: install tesseract"),
            "{unread}"
        );
        assert!(scan.unwrap_err().contains("is a scan without a text layer: install tesseract"));
        return;
    }
    assert_eq!((&mixed.unread, mixed.title.as_str()), (&None, "Regole della sede"));
    let block = |part: &str| mixed.blocks.iter().find(|block| block.text.contains(part)).expect(part);
    assert!(matches!(block("Badge e accessi").kind, BlockKind::Heading { .. }), "{text}");
    let paragraph = block("con un documento di identità valido. Chi lo perde lo segnala entro 24 ore");
    assert_eq!((&paragraph.kind, paragraph.anchor.as_deref()), (&BlockKind::Paragraph, Some("page=2")));
    assert!(matches!(block("Bari\tsecondo piano").kind, BlockKind::TableRow { .. }), "{text}");
    assert_eq!(block("valid for one day only.").anchor.as_deref(), Some("page=3"));
    assert!(outline(&scan.unwrap()).contains("closes at 21:30."));
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let bomb = archive(&[("word/document.xml", &vec![b' '; 200 << 20])]);
    assert!(bomb.len() < 1 << 20);
    assert!(here("bomba.docx", &bomb).unwrap_err().contains("unpacks to more than the limit"));
}

#[test]
fn broken_files_have_a_reason() {
    let whole = docx();
    let garbage: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let text = pdf(&[(11, 60, 700, "Un testo che si legge bene")]);
    for (name, bytes, reason) in [
        ("vuoto.md", &b""[..], "holds no text"),
        ("vuoto.html", b"", "holds no text"),
        ("vuoto.txt", b" \n \n", "holds no text"),
        ("vuoto.pdf", b"", "damaged or no PDF"),
        ("vuoto.docx", b"", "damaged or no DOCX"),
        ("binario.md", &garbage, "binary, not text"),
        ("binario.html", &garbage, "binary, not text"),
        ("binario.txt", &garbage, "binary, not text"),
        ("binario.pdf", &garbage, "damaged or no PDF"),
        ("binario.docx", &garbage, "damaged or no DOCX"),
        ("mozzo.docx", &whole[..whole.len() / 2], "damaged or no DOCX"),
        ("altro.docx", &archive(&[("altro.xml", b"<a/>")]), "word/document.xml"),
        ("storto.docx", &archive(&[("word/document.xml", b"<w:p><w:r></w:p>")]), "damaged or no DOCX"),
        ("mozzo.pdf", &text[..60], "damaged or no PDF"),
    ] {
        let error = here(name, bytes).unwrap_err();
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn italian_in_latin_1_is_read() {
    let page = b"<html><head><meta charset=\"iso-8859-1\"><title>Citt\xe0</title></head><body><p>Perch\xe9 no?</p></body></html>";
    let document = here("citta.html", page).unwrap();
    assert_eq!((document.title.as_str(), document.blocks[0].text.as_str()), ("Città", "Perché no?"));
    let memo = b"Le attivit\xe0 del luned\xec sono gi\xe0 pi\xf9 di una, cio\xe8 due.";
    assert_eq!(here("a.txt", memo).unwrap().blocks[0].text, "Le attività del lunedì sono già più di una, cioè due.");
}

#[test]
fn formats_by_extension() {
    for (path, format) in [
        ("a.md", Some(Format::Markdown)),
        ("a.b.HTM", Some(Format::Html)),
        ("a.Docx", Some(Format::Docx)),
        ("a.TSV", Some(Format::Csv)),
        ("a.xlsx", Some(Format::Xlsx)),
        ("a.odp", Some(Format::Odp)),
        ("a.mbox", Some(Format::Mailbox)),
        ("a.zip", Some(Format::Zip)),
        ("a.png", None),
        ("md", None),
    ] {
        assert_eq!(Format::of(Path::new(path)), format);
    }
    let code = ["py".to_owned(), "md".to_owned()];
    assert_eq!(Format::with_code(Path::new("a.PY"), &code), Some(Format::SourceCode));
    assert_eq!(Format::with_code(Path::new("a.md"), &code), Some(Format::Markdown));
    assert_eq!(Format::with_code(Path::new("a.rs"), &code), None);
    assert!(Format::EXTENSIONS.iter().all(|extension| Format::of(Path::new(&format!("a.{extension}"))).is_some()));
}

#[test]
fn a_file_over_the_limit_and_one_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grande.md");
    std::fs::write(&path, "x".repeat(101)).unwrap();
    let limits = ExtractLimits { source_bytes_max: 100, ..ExtractLimits::default() };
    let extractor = Extractor::new("/nonexistent", limits, CancellationToken::new());
    assert!(extractor.extract(&path, Format::of(&path).unwrap()).unwrap_err().to_string().contains("limit of 100"));
    assert!(matches!(
        extractor.extract(&folder.path().join("mai.md"), Format::Markdown),
        Err(ExtractError::Read { .. })
    ));
    std::fs::create_dir(folder.path().join("cartella.md")).unwrap();
    assert!(matches!(
        extractor.extract(&folder.path().join("cartella.md"), Format::Markdown),
        Err(ExtractError::Read { .. })
    ));
}

#[test]
fn a_hostile_page_goes_to_the_child() {
    let extractor = Extractor::new("/nonexistent", ExtractLimits::default(), CancellationToken::new());
    let page = format!("{}testo", "<div>".repeat(10_000));
    let folder = tempfile::tempdir().unwrap();
    let hostile = folder.path().join("hostile.html");
    std::fs::write(&hostile, page).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents/wiki.html");
    assert!(matches!(extractor.extract(&hostile, Format::Html), Err(ExtractError::NoReader { .. })));
    assert!(extractor.extract(&path, Format::Html).is_ok());
}

/// Bytes that were flipped or cut end in a document or an error, never in a panic. (PDF is read in a child because its
/// readers do panic.)
#[test]
fn damaged_bytes_do_not_panic() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents");
    let read = |name: &str| std::fs::read(fixtures.join(name)).unwrap();
    for (name, bytes) in [
        ("a.md", read("guida.md")),
        ("a.txt", read("promemoria.txt")),
        ("a.html", read("wiki.html")),
        ("b.html", read("aiuto.html")),
        ("a.docx", docx()),
        ("a.csv", b"Voce;Prezzo\n\"Caff\xc3\xa8; macinato\";1,20\n\nNota;\n".to_vec()),
        ("a.rst", RST.as_bytes().to_vec()),
        ("a.adoc", ASCIIDOC.as_bytes().to_vec()),
    ] {
        for seed in 0..200_usize {
            let mut damaged = bytes.clone();
            for step in 0..4 {
                let at = (seed * 7_919 + step * 104_729) % damaged.len();
                damaged[at] ^= 1 << (seed % 8);
            }
            damaged.truncate(damaged.len() - seed % 50);
            let _ = here(name, &damaged);
        }
    }
}

const RST: &str = "Guida\n=====\n\n- **uno**\n\n  1. `due <a>`_\n\n.. note::\n   :name: x\n\n   Testo::\n\n     code\n\n\
    ==  ==\na   b\n==  ==\nc   d\n==  ==\n\n+---+---+\n| a | b |\n+===+===+\n| c | d |\n+---+---+\n\n:campo: valore\n";
const ASCIIDOC: &str = "= Guida\n:nome: valore\n\n== {nome}\n\n* *uno*\n+\ndue\n\n[cols=2*]\n|===\n|a |b\n\n|c\n|d\n|===\n\n\
    termine:: https://acme.example[sito]\n\n----\ncode\n----\n\n____\n<<x,y>>\n____\n";

proptest! {
    /// Texts of nothing but markup end in a document or an error, never in a panic.
    #[test]
    fn texts_of_markup_do_not_panic(text in r#"[-=*_`|:.,;+#~<>{}\[\]()"'^/\\ \n\t1axàè]{0,300}"#) {
        for name in ["a.rst", "a.adoc", "a.csv", "a.tsv", "a.eml"] {
            let _ = here(name, text.as_bytes());
        }
    }
}

/// One small file of each format that is an archive, a mailbox or a message.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents");
    let read = |name: &str| std::fs::read(fixtures.join(name)).unwrap();
    let mail = b"Subject: =?utf-8?q?Ciao?=\nFrom: a@acme.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
        Content-Type: text/html\n\n<p>Testo</p>\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n--b--\n";
    let mailbox =
        [b"From a Tue Mar 31 14:30:05 2026\n", &mail[..], b"\nFrom b Tue Mar 31 14:30:05 2026\n", mail].concat();
    let mixed =
        archive(&[("a.xlsx", &read("trasferte.xlsx")), ("b.eml", mail), ("c.md", b"# Titolo"), ("d.csv", b"a;b\n1;2")]);
    vec![
        ("a.docx", docx()),
        ("a.xlsx", read("trasferte.xlsx")),
        ("a.pptx", read("accoglienza.pptx")),
        ("a.odt", read("smart-working.odt")),
        ("a.ods", read("presenze.ods")),
        ("a.epub", read("sicurezza.epub")),
        ("a.eml", mail.to_vec()),
        ("a.mbox", mailbox),
        ("a.zip", mixed),
    ]
}

/// What a damaged file leads to: a document no larger than small files make, or an error that names the file.
fn check_damaged(name: &str, bytes: &[u8]) {
    match here(name, bytes) {
        Ok(document) => {
            let text: usize = document.blocks.iter().map(|block| block.text.len()).sum();
            assert!(text < 8 << 20, "{name}: {text} bytes of text");
        }
        Err(error) => assert!(error.contains(name), "{name}: {error}"),
    }
}

/// Numbers that look like chance and are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed.wrapping_mul(2).wrapping_add(1)), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|state| (state >> 33) as usize)
}

#[test]
fn files_cut_at_any_length_do_not_panic() {
    for (name, bytes) in samples() {
        assert!(here(name, &bytes).is_ok(), "{name}");
        let step = (bytes.len() / 300).max(1);
        (0..bytes.len()).step_by(step).for_each(|end| check_damaged(name, &bytes[..end]));
    }
}

#[test]
fn files_with_flipped_bits_do_not_panic() {
    for (name, bytes) in samples() {
        for seed in 0..300 {
            let mut damaged = bytes.clone();
            let mut numbers = numbers(seed);
            for (at, bit) in numbers.by_ref().take(2 * (1 + seed as usize % 8)).zip(0..) {
                let at = at % damaged.len();
                damaged[at] ^= 1 << (bit % 8);
            }
            check_damaged(name, &damaged);
        }
    }
}

/// Most flips inside of an archive fail its checksums: here the parts are damaged before they are packed, so that the
/// readers of the formats see them.
#[test]
fn archives_of_damaged_parts_do_not_panic() {
    for (name, bytes) in samples() {
        let Ok(mut whole) = ::zip::ZipArchive::new(Cursor::new(&bytes[..])) else { continue };
        let parts: Vec<(String, Vec<u8>)> = (0..whole.len())
            .map(|index| {
                let mut file = whole.by_index(index).unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                (file.name().unwrap().into_owned(), bytes)
            })
            .collect();
        for seed in 0..100 {
            let mut numbers = numbers(seed + 1_000);
            let mut next = || numbers.next().unwrap_or(0);
            let mut damaged = parts.clone();
            for (_, bytes) in damaged.iter_mut().filter(|(_, bytes)| !bytes.is_empty()) {
                match next() % 4 {
                    0 => bytes.truncate(next() % bytes.len()),
                    1 => {
                        // An element twice, or half of it.
                        let (from, to) = (next() % bytes.len(), next() % bytes.len());
                        let piece = bytes[from.min(to)..from.max(to)].to_vec();
                        let at = next() % bytes.len();
                        bytes.splice(at..at, piece);
                    }
                    2 => {
                        let at = next() % bytes.len();
                        bytes[at] = b"<>&\"/0="[next() % 7];
                    }
                    _ => {}
                }
            }
            let damaged: Vec<(&str, &[u8])> = damaged.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
            check_damaged(name, &archive(&damaged));
        }
    }
}
