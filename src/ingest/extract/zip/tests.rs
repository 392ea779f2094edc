//! Archives as their readers see them, and archives that were built to hurt.

use std::io::{Cursor, Write};

use zip::write::{SimpleFileOptions, ZipWriter};

use super::shown;
use crate::ingest::document::Document;
use crate::ingest::extract::outline;
use crate::ingest::extract::tests::{archive, here};

const MAIL: &[u8] = b"Subject: Orari\nFrom: hr@acme.example\n\nSi apre alle otto.\n";
const SHEET: &[u8] = b"Nome,Interno\nAda,204\n";

fn read(parts: &[(&str, &[u8])]) -> Result<Document, String> {
    here("documenti-2026.zip", &archive(parts))
}

#[test]
fn every_file_is_a_section() {
    let inner = archive(&[(
        "word/document.xml",
        b"<w:document><w:body><w:p><w:r><w:t>Testo</w:t></w:r></w:p></w:body></w:document>",
    )]);
    let document = read(&[
        ("hr/orari.eml", MAIL),
        ("hr/interni.csv", SHEET),
        ("hr/", b""),
        ("guide/a.md", b"# Guida {#g}\n\n###### In fondo\n\nTesto.\n"),
        ("guide/foto.png", b"\x89PNG"),
        ("guide/b.docx", &inner),
        ("altro.zip", &archive(&[("segreto.md", b"# Segreto")])),
        ("__MACOSX/guide/._a.md", b"# Mac"),
        ("guide/.nascosto.md", b"# Nascosto"),
        ("guide/~$b.docx", b"x"),
    ]);
    assert_eq!(
        outline(&document.unwrap()),
        "[documenti 2026]\nH1 guide/a.md\nH2 # Guida {#g}\nH6 ###### In fondo\nP Testo.\nH1 guide/b.docx\nP Testo\n\
         H1 hr/interni.csv\nTH Nome ⇥ Interno\nTR Ada ⇥ 204\nH1 hr/orari.eml\nH2 Orari\nP From: hr@acme.example\n\
         P Si apre alle otto.\n"
    );
}

#[test]
fn a_damaged_file_does_not_cost_the_others() {
    let deep = "<div>".repeat(10_000);
    let broken: &[(&str, &[u8])] = &[("a.docx", b"no"), ("b.md", b"\x00\x01\x02"), ("c.html", deep.as_bytes())];
    let document = read(&[broken, &[("d.md", b"# Si legge")]].concat()).unwrap();
    assert_eq!(outline(&document), "[documenti 2026]\nH1 d.md\nH2 # Si legge\n");
    assert!(document.unread.unwrap().contains("documenti-2026.zip/a.docx"));
    let error = read(broken).unwrap_err();
    assert!(error.contains("documenti-2026.zip/a.docx` is damaged or no DOCX"), "{error}");
}

#[test]
fn a_file_that_does_not_unpack_does_not_cost_the_others() {
    let mut bytes = archive(&[("a.txt", b"questo testo si rompe"), ("b.txt", b"questo si legge")]);
    let at = bytes.windows(5).position(|at| at == b"a.txt").unwrap() + 8;
    bytes[at..at + 8].fill(0xff);
    let document = here("documenti-2026.zip", &bytes).unwrap();
    assert_eq!(outline(&document), "[documenti 2026]\nH1 b.txt\nP questo si legge\n");
}

#[test]
fn an_archive_of_nothing_that_is_read_says_so() {
    let inner = archive(&[("a.md", b"# Dentro")]);
    for parts in [&[("foto.png", &b"x"[..])][..], &[("dentro.zip", &inner)], &[]] {
        assert!(read(parts).unwrap_err().contains("documenti-2026.zip` holds no text"));
    }
    assert!(here("a.zip", b"PK").unwrap_err().contains("damaged or no ZIP"));
}

#[test]
fn an_encrypted_file_is_refused_with_a_reason() {
    let mut bytes = archive(&[("a.txt", b"segreto")]);
    // The first bit of the flags, in the entry and in the directory.
    bytes[6] |= 1;
    let directory = bytes.windows(4).position(|at| at == b"PK\x01\x02").unwrap();
    bytes[directory + 8] |= 1;
    let error = here("a.zip", &bytes).unwrap_err();
    assert!(error.contains("a.zip/a.txt` is encrypted"), "{error}");
}

#[test]
fn what_unpacks_to_too_much_is_refused_as_a_whole() {
    let much = vec![b' '; 50 << 20];
    let error = read(&[("a.txt", &much), ("b.txt", &much), ("c.txt", &much), ("d.txt", b"testo")]).unwrap_err();
    assert!(error.contains("documenti-2026.zip` unpacks to more than the limit"), "{error}");
    // The budget is that of the archives inside, too.
    let body = [b"<a>".as_slice(), &much, b"</a>"].concat();
    let inner = archive(&[("word/document.xml", &body)]);
    let error = read(&[("a.docx", &inner), ("b.docx", &inner), ("c.docx", &inner), ("d.docx", &inner)]).unwrap_err();
    assert!(error.contains("documenti-2026.zip` unpacks to more than the limit"), "{error}");
}

#[test]
fn too_many_files_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..5_001 {
        zip.start_file(format!("{number}.txt"), SimpleFileOptions::default()).unwrap();
        zip.write_all(b"testo").unwrap();
    }
    let error = here("tanti.zip", &zip.finish().unwrap().into_inner()).unwrap_err();
    assert!(error.contains("tanti.zip` holds 5001 files, more than the limit of 5000"), "{error}");
}

#[test]
fn paths_are_only_shown() {
    for (name, path) in [
        ("../../etc/a.md", "etc/a.md"),
        ("/etc/a.md", "etc/a.md"),
        ("C:\\doc\\a.md", "C:/doc/a.md"),
        ("a\n\u{1b}[31m.md", "a[31m.md"),
    ] {
        assert_eq!(shown(name), path);
    }
    assert!(shown(&"x/".repeat(70_000)).len() <= 200);
    let document = read(&[("../../../tmp/fuori.md", b"# Fuori"), ("/tmp/assoluto.md", b"# Assoluto")]).unwrap();
    assert_eq!(
        outline(&document),
        "[documenti 2026]\nH1 tmp/assoluto.md\nH2 # Assoluto\nH1 tmp/fuori.md\nH2 # Fuori\n"
    );
}
