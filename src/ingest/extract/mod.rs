//! Files to documents: one file per format. Archives and binary formats, and pages built to hurt a parser, are read in
//! a child process under limits (`sandbox`).

mod archive;
mod asciidoc;
mod csv;
mod date;
mod docx;
mod email;
mod encoding;
mod epub;
mod html;
mod markdown;
mod opendocument;
mod pdf;
mod pptx;
mod rst;
mod sandbox;
mod source;
mod source_code;
mod table;
mod text;
mod xlsx;
mod xml;
mod zip;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::document::Document;
use source::{Budget, Source};

pub use pdf::scans_are_read;
pub use sandbox::{ExtractLimits, extract_in_child, run_child};

/// A file format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Html,
    Text,
    ReStructuredText,
    AsciiDoc,
    Csv,
    Pdf,
    Docx,
    Xlsx,
    Pptx,
    Odt,
    Ods,
    Odp,
    Epub,
    Email,
    Mailbox,
    Zip,
    SourceCode,
}

#[derive(Debug, Error)]
pub enum ExtractError {
    #[error("`{}` has no extension that can be read ({})", .path.display(), Format::EXTENSIONS.join(", "))]
    Unsupported { path: PathBuf },
    #[error("cannot read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` has {bytes} bytes, more than the limit of {limit_bytes}: split it or raise the limit", .path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit_bytes: u64 },
    #[error("`{}` is binary, not text: check its extension", .path.display())]
    NotText { path: PathBuf },
    #[error("`{}` holds no text", .path.display())]
    NoText { path: PathBuf },
    #[error("`{}` is a scan {}", .path.display(), pdf::NOT_RECOGNIZED)]
    Scan { path: PathBuf },
    #[error("`{}` is a scan that could not be read: scan it again", .path.display())]
    Unrecognized { path: PathBuf },
    #[error("`{}` is encrypted: save it without a password", .path.display())]
    Encrypted { path: PathBuf },
    #[error("`{}` is damaged or no {format} file ({reason}): open it and save it again", .path.display())]
    Damaged { path: PathBuf, format: &'static str, reason: String },
    #[error("`{}` unpacks to more than the limit of {limit_bytes} bytes: split it", .path.display())]
    UnpacksTooLarge { path: PathBuf, limit_bytes: u64 },
    #[error("`{}` holds {entries} files, more than the limit of {limit}: split it", .path.display())]
    TooManyEntries { path: PathBuf, entries: usize, limit: usize },
    #[error("`{}` took longer than the limit of {seconds} s to read: split it", .path.display())]
    TooSlow { path: PathBuf, seconds: u64 },
    #[error("reading `{}` was stopped", .path.display())]
    Cancelled { path: PathBuf },
    #[error("`{}` ended its reader ({reason}): it is damaged or too complex, save it again", .path.display())]
    ReaderDied { path: PathBuf, reason: String },
    #[error("cannot start the reader of `{}` ({})", .path.display(), .executable.display())]
    NoReader { path: PathBuf, executable: PathBuf, source: io::Error },
    /// What the child process said; it names the file.
    #[error("{0}")]
    Reported(String),
}

impl ExtractError {
    /// Whether the same file may be read another time.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, ExtractError::NoReader { .. } | ExtractError::Read { .. })
    }
}

impl Format {
    /// All extensions that are read, in lower case and without the dot.
    pub const EXTENSIONS: [&str; 23] = [
        "md", "markdown", "html", "htm", "xhtml", "txt", "text", "rst", "adoc", "asciidoc", "csv", "tsv", "pdf",
        "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "eml", "mbox", "zip",
    ];

    /// The format by the file's extension, whatever its case; `None` if it is not one that is read.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Format::Markdown),
            "html" | "htm" | "xhtml" => Some(Format::Html),
            "txt" | "text" => Some(Format::Text),
            "rst" => Some(Format::ReStructuredText),
            "adoc" | "asciidoc" => Some(Format::AsciiDoc),
            "csv" | "tsv" => Some(Format::Csv),
            "pdf" => Some(Format::Pdf),
            "docx" => Some(Format::Docx),
            "xlsx" => Some(Format::Xlsx),
            "pptx" => Some(Format::Pptx),
            "odt" => Some(Format::Odt),
            "ods" => Some(Format::Ods),
            "odp" => Some(Format::Odp),
            "epub" => Some(Format::Epub),
            "eml" => Some(Format::Email),
            "mbox" => Some(Format::Mailbox),
            "zip" => Some(Format::Zip),
            _ => None,
        }
    }

    /// As `of`, where files with the endings of `code` are read as source code.
    pub fn with_code(path: &Path, code: &[String]) -> Option<Format> {
        let is_code = || {
            let ending = path.extension()?.to_str()?;
            code.iter().any(|of_code| of_code.eq_ignore_ascii_case(ending)).then_some(Format::SourceCode)
        };
        Format::of(path).or_else(is_code)
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Markdown => "Markdown",
            Format::Html => "HTML",
            Format::Text => "text",
            Format::ReStructuredText => "reStructuredText",
            Format::AsciiDoc => "AsciiDoc",
            Format::Csv => "CSV",
            Format::Pdf => "PDF",
            Format::Docx => "DOCX",
            Format::Xlsx => "XLSX",
            Format::Pptx => "PPTX",
            Format::Odt => "ODT",
            Format::Ods => "ODS",
            Format::Odp => "ODP",
            Format::Epub => "EPUB",
            Format::Email => "EML",
            Format::Mailbox => "mbox",
            Format::Zip => "ZIP",
            Format::SourceCode => "source code",
        }
    }

    /// Whether files of this format are always read in a child process.
    pub fn is_isolated(self) -> bool {
        !matches!(self, Format::Markdown | Format::Html | Format::Text | Format::SourceCode)
    }
}

/// Reads files into documents, the dangerous ones in a child process.
#[derive(Clone, Debug)]
pub struct Extractor {
    /// The program itself, which knows the hidden subcommand `extract FILE`.
    executable: PathBuf,
    limits: ExtractLimits,
    /// Ends what is being read.
    cancel: CancellationToken,
}

impl Extractor {
    pub fn new(executable: impl Into<PathBuf>, limits: ExtractLimits, cancel: CancellationToken) -> Self {
        Extractor { executable: executable.into(), limits, cancel }
    }

    /// The document that the file at `path` holds.
    ///
    /// # Errors
    /// Every error names the file and says what to do with it; none of them concerns other files.
    pub fn extract(&self, path: &Path, format: Format) -> Result<Document, ExtractError> {
        let in_child = || extract_in_child(&self.executable, path, &self.limits, &self.cancel);
        if format.is_isolated() {
            return in_child();
        }
        let bytes = read(path, self.limits.source_bytes_max)?;
        let is_hostile =
            format == Format::Html && encoding::decode_html(&bytes).is_some_and(|page| html::is_hostile(&page));
        if is_hostile { in_child() } else { extract_here(format, path, &bytes) }
    }
}

/// Reads `bytes` in this process. Only the child process does this with formats that are isolated.
///
/// # Errors
/// What is wrong with the file; it names `path`.
pub fn extract_here(format: Format, path: &Path, bytes: &[u8]) -> Result<Document, ExtractError> {
    extract_within(bytes, Source { path, format, budget: &Budget::new(path) })
}

/// As `extract_here`, for what may be part of a file.
fn extract_within(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let path = source.path;
    let text = || encoding::decode_text(bytes).ok_or_else(|| ExtractError::NotText { path: path.to_owned() });
    let page = || encoding::decode_html(bytes).ok_or_else(|| ExtractError::NotText { path: path.to_owned() });
    let document = match source.format {
        Format::Markdown => markdown::extract(&text()?, path),
        Format::Text => text::extract(&text()?, path),
        Format::Html => html::extract(&page()?, path),
        Format::ReStructuredText => rst::extract(&text()?, path),
        Format::AsciiDoc => asciidoc::extract(&text()?, source)?,
        Format::Csv => csv::extract(&text()?, source)?,
        Format::Pdf => pdf::extract(bytes, source)?,
        Format::Docx => docx::extract(bytes, source)?,
        Format::Xlsx => xlsx::extract(bytes, source)?,
        Format::Pptx => pptx::extract(bytes, source)?,
        Format::Odt | Format::Ods | Format::Odp => opendocument::extract(bytes, source)?,
        Format::Epub => epub::extract(bytes, source)?,
        Format::Email => email::extract(bytes, source)?,
        Format::Mailbox => email::extract_mailbox(bytes, source)?,
        Format::Zip => zip::extract(bytes, source)?,
        Format::SourceCode => source_code::extract(&text()?, path),
    };
    if document.has_text() { Ok(document) } else { Err(ExtractError::NoText { path: path.to_owned() }) }
}

/// The bytes of the file, at most `limit_bytes` of them.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ExtractError> {
    let failed = |source| ExtractError::Read { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        // A pipe or a device would be waited for and read for ever.
        return Err(failed(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::with_capacity(meta.len().min(limit_bytes) as usize);
    // The size may grow while the file is read.
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(ExtractError::TooLarge {
            path: path.to_owned(),
            bytes: meta.len().max(limit_bytes + 1),
            limit_bytes,
        });
    }
    Ok(bytes)
}

/// A document as lines, for the snapshots of the tests.
#[cfg(test)]
fn outline(document: &Document) -> String {
    use super::document::BlockKind;
    use std::fmt::Write;

    let mut lines = format!("[{}]", document.title);
    if let Some(language) = document.language_hint {
        let _ = write!(lines, " {language}");
    }
    if let Some(date) = document.date {
        let _ = write!(lines, " {date}");
    }
    lines.push('\n');
    for block in &document.blocks {
        let kind = match &block.kind {
            BlockKind::Heading { level, .. } => format!("H{level}"),
            BlockKind::Paragraph => "P".into(),
            BlockKind::ListItem => "LI".into(),
            BlockKind::Term => "DT".into(),
            BlockKind::Quote => "Q".into(),
            BlockKind::Code => "CODE".into(),
            BlockKind::TableRow { header: true } => "TH".into(),
            BlockKind::TableRow { header: false } => "TR".into(),
        };
        let anchor = block.anchor.as_ref().map(|anchor| format!(" #{anchor}")).unwrap_or_default();
        let _ = writeln!(lines, "{kind}{anchor} {}", block.text.replace('\n', "⏎").replace('\t', " ⇥ "));
    }
    lines
}

#[cfg(test)]
mod tests;
