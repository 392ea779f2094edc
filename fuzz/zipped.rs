//! Formats that are ZIP archives of XML: the fuzzer writes the XML, since it would never get past a checksum.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// An archive of these files, stored as they are.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        writer.start_file(*name, options).expect("a file in memory");
        writer.write_all(bytes).expect("written to memory");
    }
    writer.finish().expect("written to memory").into_inner()
}

pub(crate) fn docx(document: &[u8]) -> Vec<u8> {
    archive(&[("word/document.xml", document), ("word/styles.xml", document), ("word/numbering.xml", document)])
}

pub(crate) fn pptx(slide: &[u8]) -> Vec<u8> {
    const LIST: &[u8] = br#"<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst><p:sldId id="256" r:id="a"/></p:sldIdLst></p:presentation>"#;
    const LINKS: &[u8] =
        br#"<Relationships><Relationship Id="a" Type="x/slide" Target="slides/slide1.xml"/></Relationships>"#;
    archive(&[
        ("ppt/presentation.xml", LIST),
        ("ppt/_rels/presentation.xml.rels", LINKS),
        ("ppt/slides/slide1.xml", slide),
    ])
}

pub(crate) fn xlsx(sheet: &[u8]) -> Vec<u8> {
    const LIST: &[u8] = br#"<workbook xmlns:r="r"><sheets><sheet name="A" sheetId="1" r:id="a"/></sheets></workbook>"#;
    const LINKS: &[u8] =
        br#"<Relationships><Relationship Id="a" Type="x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    const STRINGS: &[u8] = br"<sst><si><t>one</t></si><si><r><t>t</t></r><r><t>wo</t></r></si></sst>";
    const STYLES: &[u8] = br#"<styleSheet><numFmts><numFmt numFmtId="170" formatCode="0.00%"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/></cellXfs></styleSheet>"#;
    archive(&[
        ("xl/workbook.xml", LIST),
        ("xl/_rels/workbook.xml.rels", LINKS),
        ("xl/sharedStrings.xml", STRINGS),
        ("xl/styles.xml", STYLES),
        ("xl/worksheets/sheet1.xml", sheet),
    ])
}

pub(crate) fn opendocument(content: &[u8]) -> Vec<u8> {
    archive(&[("content.xml", content), ("meta.xml", content)])
}

pub(crate) fn epub(chapter: &[u8]) -> Vec<u8> {
    const CONTAINER: &[u8] = br#"<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>"#;
    const BOOK: &[u8] = br#"<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>"#;
    archive(&[("META-INF/container.xml", CONTAINER), ("book.opf", BOOK), ("a.xhtml", chapter)])
}
