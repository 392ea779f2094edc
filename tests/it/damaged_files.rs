//! A folder full of damaged and hostile files: the run ends, what is good is in the index, each of the others is
//! in it or has a reason, and nothing outside of the folder is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::index::{holds, index};
use crate::support::{cervella, json, models};

/// What lies outside of the folder.
const SECRET: &str = "Quarzoverde";

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        // Stored: damage then reaches the readers of the parts, and not only the unpacking.
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn docx(body: &str) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
         <w:body>{body}</w:body></w:document>"
    );
    archive(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", document.as_bytes())])
}

fn xlsx(sheet: &str) -> Vec<u8> {
    let workbook =
        "<workbook xmlns:r=\"r\"><sheets><sheet name=\"A\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>";
    let relations = "<Relationships><Relationship Id=\"rId1\" Type=\"t/worksheet\" \
                     Target=\"worksheets/sheet1.xml\"/></Relationships>";
    archive(&[
        ("xl/workbook.xml", workbook.as_bytes()),
        ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
        ("xl/worksheets/sheet1.xml", format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>").as_bytes()),
    ])
}

fn epub(chapter: &str, target: &str) -> Vec<u8> {
    let container = "<container><rootfiles><rootfile full-path=\"a.opf\"/></rootfiles></container>";
    let package = format!(
        "<package><manifest><item id=\"c\" href=\"{target}\" media-type=\"application/xhtml+xml\"/></manifest>\
         <spine><itemref idref=\"c\"/></spine></package>"
    );
    archive(&[
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.as_bytes()),
        ("a.opf", package.as_bytes()),
        ("c.xhtml", chapter.as_bytes()),
    ])
}

fn pdf(text: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 72 700 Td ({text}) Tj ET");
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>".to_owned(),
        format!("<</Length {}>>stream\n{content}\nendstream", content.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
    ];
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", at + 1).bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    offsets.iter().for_each(|offset| bytes.extend(format!("{offset:010} 00000 n \n").bytes()));
    bytes.extend(format!("trailer<</Size {}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).bytes());
    bytes
}

/// One good file of each kind; `code` is in its text.
fn good(kind: &str, code: &str) -> Vec<u8> {
    let sentence = format!("Il badge {code} si ritira in portineria.");
    match kind {
        "docx" => docx(&format!("<w:p><w:r><w:t>{sentence}</w:t></w:r></w:p>")),
        "xlsx" => xlsx(&format!(
            "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Badge</t></is></c></row>\
             <row r=\"2\"><c r=\"A2\" t=\"inlineStr\"><is><t>{sentence}</t></is></c></row>"
        )),
        "epub" => epub(&format!("<html><body><p>{sentence}</p></body></html>"), "c.xhtml"),
        "pdf" => pdf(&sentence),
        "html" => format!("<html><body><main><h1>Badge</h1><p>{sentence}</p></main></body></html>").into_bytes(),
        _ => archive(&[("badge.md", format!("# Badge\n\n{sentence}\n").as_bytes())]),
    }
}

const KINDS: [&str; 6] = ["pdf", "docx", "xlsx", "epub", "html", "zip"];
/// Of each kind, flipped, cut and repeated; with `CERVELLA_TEST_LOAD=full`, more than 500 in all.
fn damaged_of_a_kind() -> usize {
    if std::env::var("CERVELLA_TEST_LOAD").is_ok_and(|load| load == "full") { 90 } else { 15 }
}

fn damaged(kind: &str, seed: usize) -> Vec<u8> {
    let mut bytes = good(kind, "BX-DAMAGED");
    let mut state = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    match seed % 3 {
        0 => bytes.truncate(next() % bytes.len()),
        1 => {
            for _ in 0..1 + next() % 12 {
                let at = next() % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }
        }
        _ => {
            // A stretch of it once more, somewhere else.
            let (from, to) = (next() % bytes.len(), next() % bytes.len());
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            let at = next() % bytes.len();
            bytes.splice(at..at, piece);
        }
    }
    bytes
}

/// Files that are whole and meant badly. `outside`: a file that must not be read.
fn hostile(outside: &Path) -> Vec<(String, Vec<u8>)> {
    let path = outside.display().to_string();
    let up = format!("../../../../../../../..{path}");
    let entity = format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file://{path}\">]>");
    let laughs: String = (1..30).map(|n| format!("<!ENTITY l{n} \"&l{};&l{};\">", n - 1, n - 1)).collect();
    let laughs = format!("<!DOCTYPE x [<!ENTITY l0 \"ha\">{laughs}]>");
    let bomb = {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let zeros = vec![b'a'; 1 << 20];
        zip.start_file("bomb.txt", SimpleFileOptions::default()).unwrap();
        (0..600).for_each(|_| zip.write_all(&zeros).unwrap());
        zip.finish().unwrap().into_inner()
    };
    let mut nested = archive(&[("deep.md", b"# Deep")]);
    for _ in 0..40 {
        nested = archive(&[("deeper.zip", &nested)]);
    }
    let deep = "<div>".repeat(200_000);
    let deep_docx = "<w:p>".repeat(100_000);
    let array = format!("%PDF-1.4\n1 0 obj\n{}", "[".repeat(300_000));
    vec![
        ("entity.docx".into(), archive(&[("word/document.xml", format!("{entity}<w:document><w:body><w:p><w:r><w:t>&e;</w:t></w:r></w:p></w:body></w:document>").as_bytes())])),
        ("entity.epub".into(), epub(&format!("{entity}<html><body><p>&e;</p></body></html>"), "c.xhtml")),
        ("laughs.docx".into(), archive(&[("word/document.xml", format!("{laughs}<w:document><w:body><w:p><w:r><w:t>&l29;</w:t></w:r></w:p></w:body></w:document>").as_bytes())])),
        ("up.epub".into(), epub("<html><body><p>Niente.</p></body></html>", &up)),
        ("absolute.epub".into(), epub("<html><body><p>Niente.</p></body></html>", &format!("file://{path}"))),
        ("up.zip".into(), archive(&[(&up, b"# Su"), ("a.md", b"# Dentro")])),
        ("frame.html".into(), format!("<html><body><iframe src=\"file://{path}\"></iframe><object data=\"{path}\"></object><p>Una cornice vuota.</p></body></html>").into_bytes()),
        ("include.adoc".into(), format!("= Includi\n\ninclude::{path}[]\n\nFine.\n").into_bytes()),
        ("include.rst".into(), format!("Includi\n=======\n\n.. include:: {path}\n\nFine.\n").into_bytes()),
        ("bomb.zip".into(), bomb),
        ("nested.zip".into(), nested),
        ("deep.html".into(), format!("<html><body>{deep}testo").into_bytes()),
        ("deep.docx".into(), docx(&deep_docx)),
        ("deep.pdf".into(), array.into_bytes()),
        ("empty.pdf".into(), Vec::new()),
        ("text.docx".into(), b"Non sono un documento.".to_vec()),
    ]
}

#[test]
fn damaged_and_hostile_files_harm_nobody() {
    if models().is_none() {
        return;
    }
    let (data, knowledge, outside) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret.md");
    fs::write(&secret, format!("# {SECRET}\n\nNessuno fuori legge {SECRET}.\n")).unwrap();
    let mut bad = BTreeSet::new();
    let mut write = |name: String, bytes: &[u8]| {
        fs::write(knowledge.path().join(&name), bytes).unwrap();
        bad.insert(name);
    };
    for kind in KINDS {
        (0..damaged_of_a_kind()).for_each(|seed| write(format!("damaged-{seed:02}.{kind}"), &damaged(kind, seed)));
    }
    hostile(&secret).iter().for_each(|(name, bytes)| write(name.clone(), bytes));
    std::os::unix::fs::symlink(&secret, knowledge.path().join("link.md")).unwrap();
    std::os::unix::fs::symlink(outside.path(), knowledge.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("loop.md", knowledge.path().join("loop.md")).unwrap();
    assert_eq!(bad.len(), KINDS.len() * damaged_of_a_kind() + hostile(&secret).len());
    for (number, kind) in KINDS.iter().enumerate() {
        fs::write(knowledge.path().join(format!("good.{kind}")), good(kind, &format!("BX-GOOD-{number}"))).unwrap();
    }

    let report = index(data.path(), knowledge.path());
    let status = json(cervella(data.path()).args(["index", "status", "--json"]));
    let files: Vec<&Value> = status["files"].as_array().unwrap().iter().collect();
    let text = |file: &Value, key: &str| file[key].as_str().unwrap_or_default().to_owned();
    let indexed: BTreeSet<String> =
        files.iter().filter(|file| file["skipped"].is_null()).map(|file| text(file, "path")).collect();
    for kind in KINDS {
        assert!(indexed.contains(&format!("good.{kind}")), "good.{kind}: {report}");
    }
    let skipped: Vec<(String, String)> = files
        .iter()
        .filter(|file| !file["skipped"].is_null())
        .map(|file| (text(file, "path"), text(file, "skipped")))
        .collect();
    for (path, reason) in &skipped {
        assert!(reason.len() > 10, "{path}: {reason:?}");
        // The bomb may be stopped by any of its limits; nothing else comes near the one of time.
        assert!(path.starts_with("bomb") || !reason.contains("took longer"), "{path}: {reason}");
    }
    let told: BTreeSet<String> = indexed.into_iter().chain(skipped.into_iter().map(|(path, _)| path)).collect();
    assert!(
        bad.is_subset(&told),
        "{:?} are neither in the index nor skipped",
        bad.difference(&told).collect::<Vec<_>>()
    );

    for number in 0..KINDS.len() {
        let code = format!("BX-GOOD-{number}");
        let found = json(cervella(data.path()).args(["search", &code, "--top", "3", "--json"]));
        let found = found["hits"].as_array().unwrap().iter().any(|hit| hit["text"].as_str().unwrap().contains(&code));
        assert!(found, "{code} is not found");
    }
    assert!(!holds(data.path(), SECRET.as_bytes()), "something outside of the folder was read");
    eprintln!(
        "{} damaged or hostile files, {} skipped with a reason",
        bad.len(),
        report["skipped"].as_array().unwrap().len()
    );
}
