//! PPTX (Office Open XML) to blocks: each visible slide under its title, with its text, its tables and the speaker's
//! notes below. Runs in the child process.

use quick_xml::events::BytesStart;

use super::ExtractError;
use super::archive::Archive;
use super::source::Source;
use super::xml::{Token, attribute, date_of, element_text, prefixed_attribute, relations, walk};
use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

const PRESENTATION: &str = "ppt/presentation.xml";

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let presentation = archive.required_xml(PRESENTATION)?;
    let slides = relations(&mut archive, PRESENTATION)?;
    let mut blocks = Vec::new();
    let mut title = None;
    for (number, relation) in slide_order(&presentation, source)?.iter().enumerate() {
        let Some(slide) = slides.get(relation).filter(|relation| relation.kind == "slide") else { continue };
        let Some(xml) = archive.xml(&slide.path)? else { continue };
        let Some(read) = SlideReader::default().read(&xml, source)? else { continue };
        let notes = relations(&mut archive, &slide.path)?.into_values().find(|relation| relation.kind == "notesSlide");
        let notes = match notes {
            Some(notes) => archive.xml(&notes.path)?.unwrap_or_default(),
            None => String::new(),
        };
        let notes = SlideReader { only_body: true, ..SlideReader::default() }.read(&notes, source)?;
        let notes = notes.map(|notes| notes.blocks).unwrap_or_default();
        if read.title.is_empty() && read.blocks.is_empty() && notes.is_empty() {
            continue;
        }
        let label = if read.title.is_empty() { format!("Slide {}", number + 1) } else { read.title.join(" ") };
        title = title.or_else(|| (!read.title.is_empty()).then(|| label.clone()));
        blocks.push(Block::new(BlockKind::Heading { level: 1, label: label.clone() }, label));
        blocks.extend(read.blocks);
        blocks.extend(notes);
    }
    let core = archive.xml("docProps/core.xml")?.unwrap_or_default();
    let title = title.or_else(|| element_text(&core, "title", source)).unwrap_or_else(|| title_from_path(source.path));
    Ok(Document::new(title, None, blocks).dated(date_of(&core, source)))
}

/// The relations of the slides as they are shown; the names of their parts say nothing.
fn slide_order(xml: &str, source: Source<'_>) -> Result<Vec<String>, ExtractError> {
    let mut order = Vec::new();
    walk(xml, source, |token| {
        if let Token::Open(tag) = token
            && tag.local_name().as_ref() == "sldId"
        {
            order.extend(prefixed_attribute(tag, "id"));
        }
        Ok(())
    })?;
    Ok(order)
}

/// What a shape is for: its placeholder says so.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    /// A text box of the slide's own.
    #[default]
    Free,
    Title,
    Subtitle,
    /// Its paragraphs are items of a list unless they say otherwise.
    Body,
    /// Number, date and footer of every slide.
    Frame,
}

#[derive(Default)]
struct SlideReader {
    /// Of a page of notes only the notes are read, not its picture of the slide.
    only_body: bool,
    hidden: bool,
    title: Vec<String>,
    blocks: Vec<Block>,
    role: Role,
    text: String,
    bullet: Option<bool>,
    /// Depth inside `<a:t>` and inside renderings for older programs.
    shown: usize,
    unseen: usize,
    table: Table,
}

#[derive(Default)]
struct Table {
    depth: usize,
    has_header: bool,
    rows: usize,
    cells: Vec<String>,
}

impl SlideReader {
    /// `None` for a slide that is not shown.
    fn read(mut self, xml: &str, source: Source<'_>) -> Result<Option<SlideReader>, ExtractError> {
        walk(xml, source, |token| {
            match token {
                Token::Open(tag) => self.open(tag),
                Token::Close(name) => self.close(name),
                Token::Text(text) if self.shown > 0 && self.unseen == 0 => self.text.push_str(text),
                Token::Text(_) => {}
            }
            Ok(())
        })?;
        Ok((!self.hidden).then_some(self))
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "sld" => self.hidden = attribute(tag, "show").is_some_and(|show| show == "0" || show == "false"),
            "sp" | "graphicFrame" => self.role = Role::Free,
            "ph" => {
                self.role = match attribute(tag, "type").as_deref() {
                    Some("title" | "ctrTitle") => Role::Title,
                    Some("subTitle") => Role::Subtitle,
                    Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Role::Frame,
                    _ => Role::Body,
                }
            }
            "Fallback" => self.unseen += 1,
            "t" => self.shown += 1,
            "p" => {
                self.text.clear();
                self.bullet = None;
            }
            "buChar" | "buAutoNum" | "buBlip" => self.bullet = Some(true),
            "buNone" => self.bullet = Some(false),
            "br" => self.text.push('\n'),
            "tbl" => {
                self.table.depth += 1;
                self.table.rows = 0;
                self.table.has_header = true;
            }
            // Without a word on it the first row looks like the others.
            "tblPr" => self.table.has_header = attribute(tag, "firstRow").is_some_and(|v| v == "1" || v == "true"),
            "tr" => self.table.cells.clear(),
            "tc" => self.table.cells.push(String::new()),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "Fallback" => self.unseen = self.unseen.saturating_sub(1),
            "t" => self.shown = self.shown.saturating_sub(1),
            "p" => self.end_paragraph(),
            "tr" => self.end_row(),
            "tbl" => self.table.depth = self.table.depth.saturating_sub(1),
            "sp" => self.role = Role::Free,
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() || self.role == Role::Frame || (self.only_body && self.role != Role::Body) {
            return;
        }
        if self.table.depth > 0 {
            if let Some(cell) = self.table.cells.last_mut() {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&lines.join(" "));
            }
            return;
        }
        if self.role == Role::Title {
            self.title.extend(lines);
            return;
        }
        let bullet = self.bullet.unwrap_or(self.role == Role::Body && !self.only_body);
        let kind = if bullet { BlockKind::ListItem } else { BlockKind::Paragraph };
        self.blocks.push(Block::new(kind, lines.join("\n")));
    }

    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.table.cells);
        let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
        self.table.rows += 1;
        if filled > 0 {
            let header = self.table.rows == 1 && self.table.has_header;
            let kind = if filled == 1 { BlockKind::Paragraph } else { BlockKind::TableRow { header } };
            self.blocks.push(Block::new(kind, cells.join("\t").trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ingest::extract::outline;
    use crate::ingest::extract::tests::{archive, here};

    const RELATIONS: &str = r#"<Relationships>
    <Relationship Id="rId1" Type="http://x/slide" Target="slides/slide1.xml"/>
    <Relationship Id="rId2" Type="http://x/slide" Target="slides/slide2.xml"/>
    <Relationship Id="rId3" Type="http://x/slide" Target="slides/slide3.xml"/></Relationships>"#;

    fn deck(first: &str, second: &str) -> Vec<u8> {
        archive(&[
            (
                "ppt/presentation.xml",
                br#"<p:presentation xmlns:r="r"><p:sldIdLst><p:sldId id="257" r:id="rId2"/><p:sldId id="256" r:id="rId1"/>
                <p:sldId id="258" r:id="rId3"/><p:sldId id="259" r:id="rId9"/></p:sldIdLst></p:presentation>"#,
            ),
            ("ppt/_rels/presentation.xml.rels", RELATIONS.as_bytes()),
            ("ppt/slides/slide1.xml", first.as_bytes()),
            ("ppt/slides/slide2.xml", second.as_bytes()),
            ("ppt/slides/slide3.xml", b"<p:sld show=\"0\"><a:p><a:r><a:t>Riserva</a:t></a:r></a:p></p:sld>"),
        ])
    }

    #[test]
    fn slides_are_read_in_the_order_of_the_show() {
        let first = "<p:sld><p:sp><p:nvPr><p:ph idx=\"1\"/></p:nvPr><a:p><a:pPr><a:buNone/></a:pPr><a:r><a:t>Senza </a:t></a:r>\
            <a:r><a:t>titolo</a:t></a:r></a:p><a:p><a:r><a:t>Uno</a:t></a:r><a:br/><a:r><a:t>e due</a:t></a:r></a:p></p:sp></p:sld>";
        let second = "<p:sld><p:sp><p:nvPr><p:ph type=\"sldNum\"/></p:nvPr><a:p><a:fld><a:t>7</a:t></a:fld></a:p></p:sp>\
            <p:sp><a:p><a:pPr><a:buChar char=\"-\"/></a:pPr><a:r><a:t>Riquadro &amp; nota</a:t></a:r></a:p></p:sp>\
            <p:sp><p:nvPr><p:ph type=\"ctrTitle\"/></p:nvPr><a:p><a:r><a:t>Avvio</a:t></a:r></a:p></p:sp></p:sld>";
        let document = here("corso.pptx", &deck(first, second)).unwrap();
        assert_eq!(
            outline(&document),
            "[Avvio]\nH1 Avvio\nLI Riquadro & nota\nH1 Slide 2\nP Senza titolo\nLI Uno⏎e due\n"
        );
    }

    #[test]
    fn a_presentation_of_a_real_program() {
        let bytes = include_bytes!("../../../tests/fixtures/documents/accoglienza.pptx");
        assert_eq!(
            outline(&here("accoglienza.pptx", bytes).unwrap()),
            "[Primo giorno]\nH1 Primo giorno\nP Guida per chi arriva\nH1 Che cosa serve\nLI Documento d'identità\n\
             LI Codice fiscale\nP Portare gli originali, non le copie.\nH1 Orari degli uffici\nTH Ufficio ⇥ Apertura\n\
             TR Badge ⇥ 8:30\nTR Informatica ⇥ 9:00\n"
        );
    }

    #[test]
    fn what_is_not_a_presentation_says_so() {
        let error = here("a.pptx", &archive(&[("word/document.xml", b"<a/>")])).unwrap_err();
        assert!(error.contains("no PPTX") && error.contains("ppt/presentation.xml"), "{error}");
        assert!(here("a.pptx", &deck("<p:sld/>", "<p:sld/>")).unwrap_err().contains("holds no text"));
        assert!(here("a.pptx", &deck("<p:sld><a></b>", "<p:sld/>")).unwrap_err().contains("damaged"));
    }
}
