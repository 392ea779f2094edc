"""Makes the Office files that the tests read (tests/fixtures/documents), with the libraries that people use for it.

    python3 -m venv /tmp/office && /tmp/office/bin/pip install openpyxl python-pptx odfpy ebooklib
    /tmp/office/bin/python scripts/make_office_files.py
"""

import datetime
import pathlib

import ebooklib.epub
import odf.dc
import odf.opendocument
import odf.table
import odf.text
import openpyxl
import pptx
import pptx.util

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests/fixtures/documents"


def write_xlsx(path):
    book = openpyxl.Workbook()
    book.properties.title = "Trasferte 2026"
    costs = book.active
    costs.title = "Rimborsi"
    costs.append(["Rimborsi per paese"])
    costs.merge_cells("A1:D1")
    costs.append([])
    costs.append(["Paese", "Diaria", "In vigore dal", "Quota esente"])
    costs.append(["Italia", 46.48, datetime.date(2026, 1, 1), 1])
    costs.append(["Svizzera", 77.465, datetime.datetime(2026, 3, 31, 14, 30), 0.125])
    costs.append(["Totale", "=SUM(B4:B5)", None, None])
    for row in costs.iter_rows(min_row=4, max_row=5):
        row[1].number_format = '#,##0.00 "€"'
        row[3].number_format = "0.0%"
    people = book.create_sheet("Contatti")
    people["B2"], people["C2"] = "Ufficio", "Interno"
    people["B3"], people["C3"] = "Risorse umane\n(HR)", 204
    hidden = book.create_sheet("Elenchi")
    hidden["A1"] = "nascosto"
    hidden.sheet_state = "hidden"
    book.save(path)


def write_pptx(path):
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Primo giorno"
    first.placeholders[1].text = "Guida per chi arriva"
    second = deck.slides.add_slide(deck.slide_layouts[1])
    second.shapes.title.text = "Che cosa serve"
    second.placeholders[1].text = "Documento d'identità\nCodice fiscale"
    second.notes_slide.notes_text_frame.text = "Portare gli originali, non le copie."
    third = deck.slides.add_slide(deck.slide_layouts[5])
    third.shapes.title.text = "Orari degli uffici"
    place = [pptx.util.Cm(n) for n in (2, 5, 20, 4)]
    table = third.shapes.add_table(3, 2, *place).table
    for row, cells in enumerate((("Ufficio", "Apertura"), ("Badge", "8:30"), ("Informatica", "9:00"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    deck.save(path)


def odf_table(name, rows):
    """Cells are text, or (kind, value, text)."""
    table = odf.table.Table(name=name)
    for row in rows:
        line = odf.table.TableRow()
        for cell in row:
            kind, value, text = ("string", None, cell) if isinstance(cell, str) else cell
            attributes = {"date": {"datevalue": value}, "float": {"value": value}}.get(kind, {})
            place = odf.table.TableCell(valuetype=kind, **attributes)
            place.addElement(odf.text.P(text=text))
            line.addElement(place)
        table.addElement(line)
    return table


def write_odt(path):
    document = odf.opendocument.OpenDocumentText()
    document.meta.addElement(odf.dc.Language(text="it-IT"))
    body = document.text
    body.addElement(odf.text.H(outlinelevel=1, text="Lavoro agile"))
    body.addElement(odf.text.P(text="Due giorni a settimana."))
    body.addElement(odf.text.H(outlinelevel=2, text="Strumenti"))
    items = odf.text.List()
    for text in ("Portatile", "Cuffie"):
        item = odf.text.ListItem()
        item.addElement(odf.text.P(text=text))
        items.addElement(item)
    body.addElement(items)
    body.addElement(odf_table("Rimborsi", [("Voce", "Importo"), ("Connessione", "30 €")]))
    document.save(path)


def write_ods(path):
    document = odf.opendocument.OpenDocumentSpreadsheet()
    day = ("date", "2026-03-31", "31/03/2026")
    rows = [("Nome", "Giorno", "Ore"), ("Ada", day, ("float", 7.5, "7,5"))]
    document.spreadsheet.addElement(odf_table("Marzo", rows))
    document.save(path)


def write_epub(path):
    book = ebooklib.epub.EpubBook()
    book.set_identifier("cervella-sicurezza")
    book.set_title("Sicurezza in ufficio")
    book.set_language("it")
    chapters = []
    for name, body in (
        ("incendio", "<h1>Incendio</h1><p>Uscire dalle scale, mai con l'ascensore.</p>"),
        ("terremoto", "<h1>Terremoto</h1><ul><li>Sotto un tavolo</li><li>Lontano dai vetri</li></ul>"),
    ):
        chapter = ebooklib.epub.EpubHtml(title=name, file_name=f"{name}.xhtml", lang="it")
        chapter.content = body
        book.add_item(chapter)
        chapters.append(chapter)
    book.toc = chapters
    book.add_item(ebooklib.epub.EpubNcx())
    book.add_item(ebooklib.epub.EpubNav())
    book.spine = ["nav", *chapters]
    ebooklib.epub.write_epub(str(path), book)


if __name__ == "__main__":
    write_xlsx(FIXTURES / "trasferte.xlsx")
    write_pptx(FIXTURES / "accoglienza.pptx")
    write_odt(FIXTURES / "smart-working.odt")
    write_ods(FIXTURES / "presenze.ods")
    write_epub(FIXTURES / "sicurezza.epub")
