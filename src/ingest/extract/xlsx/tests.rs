//! Workbooks as their readers see them. The fixture is made by openpyxl (scripts/make_office_files.py).

use super::*;
use crate::ingest::extract::outline;
use crate::ingest::extract::tests::{archive, here};

const RELATIONS: &str = r#"<Relationships>
<Relationship Id="rId1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/>
<Relationship Id="rId2" Type="http://x/worksheet" Target="/xl/worksheets/sheet2.xml"/>
<Relationship Id="rId3" Type="http://x/chartsheet" Target="chartsheets/sheet1.xml"/>
<Relationship Id="rId4" Type="http://x/worksheet" Target="../../../etc/passwd"/>
</Relationships>"#;

const BOOK: &str = r#"<workbook xmlns:r="r"><sheets><sheet name="Turni &amp; orari" sheetId="1" r:id="rId1"/>
<sheet name="Prova" sheetId="2" state="hidden" r:id="rId2"/><sheet name="Grafico" sheetId="3" r:id="rId3"/>
<sheet name="Fuori" sheetId="4" r:id="rId4"/></sheets></workbook>"#;

const STYLES: &str = r#"<styleSheet><numFmts><numFmt numFmtId="164" formatCode="dd/mm/yyyy"/></numFmts>
<cellStyleXfs><xf numFmtId="9"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="10"/></cellXfs></styleSheet>"#;

const STRINGS: &str = r#"<sst><si><t>Nome</t></si><si><r><t>Dal </t></r><r><t xml:space="preserve">giorno</t></r></si>
<si><t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh></si></sst>"#;

const SHEET: &str = r#"<worksheet><sheetData>
<row r="2"><c r="B2" t="inlineStr"><is><t>Turni di aprile</t></is></c></row>
<row r="4"><c r="B4" t="s"><v>0</v></c><c r="C4" t="s"><v>1</v></c><c r="D4" t="inlineStr"><is><t>Quota</t></is></c></row>
<row r="5"><c r="B5" t="s"><v>2</v></c><c r="C5" s="1"><v>46112</v></c><c r="D5" s="2"><f>1/8</f><v>0.125</v></c></row>
<row r="6"><c r="C6" t="d"><v>2026-04-01T00:00:00</v></c><c r="D6" t="b"><v>1</v></c></row>
<row r="7"><c r="B7" t="str"><f>A1</f><v>Ada
 Rossi</v></c><c r="D7" t="e"><v>#N/A</v></c><c r="E7"/></row>
</sheetData></worksheet>"#;

fn parts<'a>(book: &'a str, sheet: &'a str) -> Vec<(&'a str, &'a [u8])> {
    vec![
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", RELATIONS.as_bytes()),
        ("xl/styles.xml", STYLES.as_bytes()),
        ("xl/sharedStrings.xml", STRINGS.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ("xl/worksheets/sheet2.xml", SHEET.as_bytes()),
    ]
}

#[test]
fn a_workbook_is_read_as_it_is_shown() {
    let document = here("turni.xlsx", &archive(&parts(BOOK, SHEET))).unwrap();
    assert_eq!(
        outline(&document),
        "[turni]\nH1 Turni & orari\nP Turni di aprile\nTH Nome ⇥ Dal giorno ⇥ Quota\nTR 東京 ⇥ 2026-03-31 ⇥ 12.50%\n\
         TR  ⇥ 2026-04-01 ⇥ TRUE\nTR Ada Rossi ⇥  ⇥ #N/A\n"
    );
}

#[test]
fn a_workbook_of_a_real_program() {
    let bytes = include_bytes!("../../../../tests/fixtures/documents/trasferte.xlsx");
    assert_eq!(
        outline(&here("trasferte.xlsx", bytes).unwrap()),
        "[Trasferte 2026] 2026-11-25\nH1 Rimborsi\nP Rimborsi per paese\nTH Paese ⇥ Diaria ⇥ In vigore dal ⇥ Quota esente\n\
         TR Italia ⇥ 46.48 € ⇥ 2026-01-01 ⇥ 100.0%\nTR Svizzera ⇥ 77.47 € ⇥ 2026-03-31 14:30 ⇥ 12.5%\nTR Totale\n\
         H1 Contatti\nTH Ufficio ⇥ Interno\nTR Risorse umane (HR) ⇥ 204\n"
    );
}

#[test]
fn days_may_be_counted_from_1904() {
    let book = BOOK.replace("<sheets>", "<workbookPr date1904=\"1\"/><sheets>");
    let sheet = r#"<sheetData><row><c s="1"><v>0</v></c><c><v>7</v></c></row></sheetData>"#;
    let document = here("a.xlsx", &archive(&parts(&book, sheet))).unwrap();
    assert_eq!(document.blocks[1].text, "1904-01-01\t7");
}

#[test]
fn little_that_stands_for_much_is_refused() {
    let long = format!("<sst><si><t>{}</t></si></sst>", "parola ".repeat(10_000));
    let cells = r#"<row><c t="s"><v>0</v></c></row>"#.repeat(2_000);
    let sheet = format!("<sheetData>{cells}</sheetData>");
    let mut parts = parts(BOOK, &sheet);
    parts[3].1 = long.as_bytes();
    let error = here("bomba.xlsx", &archive(&parts)).unwrap_err();
    assert!(error.contains("bomba.xlsx` unpacks to more than the limit"), "{error}");
}

#[test]
fn cells_far_out_cost_no_memory() {
    let sheet = r#"<sheetData><row r="18446744073709551615"><c r="XFD1"><v>1</v></c><c r="ZZZZZ1"><v>2</v></c></row>
        <row r="x"><c r="A1"><v>3</v></c><c r="C1"><v>4</v></c></row></sheetData>"#;
    let document = here("a.xlsx", &archive(&parts(BOOK, sheet))).unwrap();
    let texts: Vec<&str> = document.blocks.iter().map(|block| block.text.as_str()).collect();
    assert_eq!(texts, ["Turni & orari", "1", "3\t\t4"]);
}

#[test]
fn columns_have_letters() {
    for (place, number) in [("A1", Some(0)), ("Z9", Some(25)), ("AA10", Some(26)), ("XFD1", Some(16_383)), ("12", None)]
    {
        assert_eq!(column(place), number);
    }
}

#[test]
fn a_workbook_with_a_password_says_so() {
    let mut bytes = vec![0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    bytes.extend([0; 512]);
    assert!(here("a.xlsx", &bytes).unwrap_err().contains("damaged or no XLSX"));
    bytes.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    assert!(here("a.xlsx", &bytes).unwrap_err().contains("encrypted: save it without a password"));
}
