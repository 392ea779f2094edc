//! OpenDocument files as their readers see them. The fixtures are made by odfpy (scripts/make_office_files.py).

use crate::domain::Language;
use crate::ingest::extract::outline;
use crate::ingest::extract::tests::{archive, here};

fn file(body: &str) -> Vec<u8> {
    let content = format!(
        r#"<office:document-content><office:automatic-styles>
        <style:style style:name="P1" style:family="paragraph" style:parent-style-name="Title"/>
        <style:style style:name="P2" style:family="paragraph" style:parent-style-name="Preformatted_20_Text"/>
        <style:style style:name="ta2" style:family="table"><style:table-properties table:display="false"/></style:style>
        <style:style style:name="dp2"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>
        </office:automatic-styles><office:body>{body}</office:body></office:document-content>"#
    );
    let meta = "<office:document-meta><office:meta><dc:language>it-IT</dc:language><dc:title>Dai metadati</dc:title>\
        </office:meta></office:document-meta>";
    archive(&[("content.xml", content.as_bytes()), ("meta.xml", meta.as_bytes())])
}

#[track_caller]
fn check(name: &str, body: &str, expect: &str) {
    let document = here(name, &file(body)).unwrap();
    assert_eq!(document.language_hint, Some(Language::Italian));
    assert_eq!(outline(&document), expect);
}

#[test]
fn a_text() {
    check(
        "regolamento.odt",
        r#"<office:text><text:tracked-changes><text:p>Cancellato</text:p></text:tracked-changes>
        <text:p text:style-name="P1">Regolamento ferie</text:p>
        <text:table-of-content><text:p>Indice 3</text:p></text:table-of-content>
        <text:h text:outline-level="2"><text:bookmark-start text:name="chiedere"/>Come si
          chiedono</text:h>
        <text:p>Entro<text:s text:c="3"/>il <text:span>10<text:span> del</text:span></text:span> mese<text:note>
        <text:note-citation>1</text:note-citation><text:note-body><text:p>Salvo urgenze.</text:p></text:note-body></text:note>
        &amp; per iscritto.<office:annotation><text:p>da rivedere</text:p></office:annotation></text:p>
        <text:list><text:list-item><text:p>al capo</text:p><text:list><text:list-item><text:p>o al vice</text:p>
        </text:list-item></text:list></text:list-item></text:list>
        <text:p text:style-name="P2">uno<text:s text:c="2"/>due</text:p><text:p text:style-name="P2">tre</text:p>
        <text:p text:style-name="Quotations">Chi tace acconsente.</text:p>
        <text:p>Fuori<draw:frame><svg:title>Foto</svg:title><draw:text-box><text:p>Nel riquadro</text:p></draw:text-box></draw:frame></text:p>
        </office:text>"#,
        "[Regolamento ferie] it\nH1 Regolamento ferie\nH2 #chiedere Come si chiedono\nP Entro il 10 del mese & per iscritto.\n\
         P Salvo urgenze.\nLI al capo\nLI o al vice\nCODE uno  due⏎tre\nQ Chi tace acconsente.\nP Nel riquadro\nP Fuori\n",
    );
}

#[test]
fn a_table_in_a_text() {
    check(
        "a.odt",
        r#"<office:text><table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Paese</text:p></table:table-cell>
        <table:table-cell><text:p>Diaria</text:p></table:table-cell></table:table-row></table:table-header-rows>
        <table:table-row><table:table-cell><text:p>Italia</text:p><table:table><table:table-row><table:table-cell><text:p>Nord</text:p>
        </table:table-cell></table:table-row></table:table></table:table-cell><table:table-cell table:number-columns-repeated="2">
        <text:p>46</text:p></table:table-cell></table:table-row>
        <table:table-row><table:table-cell><text:p>Nota</text:p></table:table-cell><table:covered-table-cell/></table:table-row>
        </table:table></office:text>"#,
        "[Dai metadati] it\nTH Paese ⇥ Diaria\nTR Italia Nord ⇥ 46 ⇥ 46\nP Nota\n",
    );
}

#[test]
fn a_spreadsheet() {
    check(
        "costi.ods",
        r#"<office:spreadsheet><table:table table:name="Costi"><table:shapes><text:p>forma</text:p></table:shapes>
        <table:table-row><table:table-cell/><table:table-cell office:value-type="string"><text:p>Voce</text:p></table:table-cell>
        <table:table-cell office:value-type="string"><text:p>Dal</text:p></table:table-cell></table:table-row>
        <table:table-row table:number-rows-repeated="2"><table:table-cell/>
        <table:table-cell office:value-type="currency" office:value="1234.5"><text:p>1.234,50 €</text:p></table:table-cell>
        <table:table-cell office:value-type="date" office:date-value="2026-03-31T00:00:00"><text:p>31/03/26</text:p></table:table-cell>
        <table:table-cell table:number-columns-repeated="16381"/></table:table-row>
        <table:table-row table:number-rows-repeated="1048573"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
        </table:table><table:table table:name="Liste" table:style-name="ta2"><table:table-row><table:table-cell><text:p>nascosta</text:p>
        </table:table-cell></table:table-row></table:table></office:spreadsheet>"#,
        "[Dai metadati] it\nH1 Costi\nTH Voce ⇥ Dal\nTR 1.234,50 € ⇥ 2026-03-31\nTR 1.234,50 € ⇥ 2026-03-31\n",
    );
}

#[test]
fn a_presentation() {
    check(
        "corso.odp",
        r#"<office:presentation><draw:page draw:name="page1"><draw:frame presentation:class="outline"><draw:text-box>
        <text:list><text:list-item><text:p>Primo punto</text:p></text:list-item></text:list></draw:text-box></draw:frame>
        <draw:frame presentation:class="title"><draw:text-box><text:p>Avvio</text:p></draw:text-box></draw:frame>
        <draw:frame presentation:class="page-number"><draw:text-box><text:p>1</text:p></draw:text-box></draw:frame>
        <presentation:notes><draw:frame presentation:class="notes"><draw:text-box><text:p>Salutare tutti.</text:p></draw:text-box>
        </draw:frame></presentation:notes></draw:page>
        <draw:page draw:name="page2" draw:style-name="dp2"><draw:frame><draw:text-box><text:p>Riserva</text:p></draw:text-box></draw:frame></draw:page>
        <draw:page draw:name="page3"><draw:frame><draw:text-box><text:p>Senza titolo</text:p></draw:text-box></draw:frame></draw:page>
        </office:presentation>"#,
        "[Avvio] it\nH1 Avvio\nLI Primo punto\nP Salutare tutti.\nH1 Slide 2\nP Senza titolo\n",
    );
}

#[test]
fn files_of_a_real_library() {
    let bytes = include_bytes!("../../../../tests/fixtures/documents/smart-working.odt");
    assert_eq!(
        outline(&here("smart-working.odt", bytes).unwrap()),
        "[Lavoro agile] it\nH1 Lavoro agile\nP Due giorni a settimana.\nH2 Strumenti\nLI Portatile\nLI Cuffie\nTH Voce ⇥ Importo\n\
         TR Connessione ⇥ 30 €\n"
    );
    let bytes = include_bytes!("../../../../tests/fixtures/documents/presenze.ods");
    assert_eq!(
        outline(&here("presenze.ods", bytes).unwrap()),
        "[presenze]\nH1 Marzo\nTH Nome ⇥ Giorno ⇥ Ore\nTR Ada ⇥ 2026-03-31 ⇥ 7,5\n"
    );
}

#[test]
fn little_that_stands_for_much_is_refused() {
    let cell = r#"<table:table-cell table:number-columns-repeated="16384"><text:p>parola</text:p></table:table-cell>"#;
    let row = format!(r#"<table:table-row table:number-rows-repeated="1048576">{cell}</table:table-row>"#);
    let body = format!("<office:spreadsheet><table:table>{row}</table:table></office:spreadsheet>");
    let error = here("bomba.ods", &file(&body)).unwrap_err();
    assert!(error.contains("bomba.ods` unpacks to more than the limit"), "{error}");
}

#[test]
fn a_file_with_a_password_says_so() {
    let manifest = b"<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    let bytes = archive(&[("META-INF/manifest.xml", manifest), ("content.xml", b"\x00\x01")]);
    assert!(here("a.odt", &bytes).unwrap_err().contains("encrypted: save it without a password"));
    assert!(here("a.odp", &archive(&[("altro.xml", b"<a/>")])).unwrap_err().contains("no ODP file"));
}
