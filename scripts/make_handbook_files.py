"""Writes the two binary documents of the sample handbook; their text lives here.

Run from the repository root:
    python3 -m venv /tmp/handbook && /tmp/handbook/bin/pip install reportlab python-docx
    /tmp/handbook/bin/python scripts/make_handbook_files.py

The output is the same byte for byte on every run with the same library versions.
"""

import datetime
import io
import pathlib
import zipfile

from docx import Document
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import cm
from reportlab.platypus import ListFlowable, Paragraph, SimpleDocTemplate, Spacer, Table

KNOWLEDGE = pathlib.Path(__file__).resolve().parent.parent / "knowledge"
PDF = KNOWLEDGE / "it/sede/piano-emergenza.pdf"
DOCX = KNOWLEDGE / "en/customers/support-sla.docx"

# A document is a list of blocks: ("h1" | "h2" | "p", text), ("ul" | "ol", items), ("table", rows).
EMERGENCY_PLAN = [
    ("h1", "Piano di emergenza ed evacuazione"),
    ("p", "Sede di Rivalonga, via dei Molini 14. Edizione 5, in vigore dal 1° febbraio 2026. "
          "Vale per dipendenti, collaboratori e visitatori. Una copia è appesa a ogni piano accanto all'estintore."),
    ("h2", "1. Chi chiamare"),
    ("table", [
        ["Chi", "Numero", "Quando"],
        ["Squadra interna di emergenza", "interno 199", "sempre, come prima chiamata"],
        ["Soccorso pubblico", "112", "fuoco, feriti, gas"],
        ["Reception", "interno 100", "8:30-17:30, per aprire il cancello ai mezzi"],
        ["Vigilanza", "numero sulla tastiera", "notte e fine settimana"],
    ]),
    ("p", "La coordinatrice dell'emergenza è l'office manager; se è assente la sostituisce il responsabile tecnico. "
          "La squadra interna è composta da 6 persone, due per piano, riconoscibili dal gilet arancione."),
    ("h2", "2. I segnali"),
    ("ul", [
        "Tre suoni brevi: allerta. Si salva il lavoro, si resta al proprio posto e si aspettano istruzioni.",
        "Suono continuo: evacuazione immediata di tutto l'edificio.",
        "Annuncio a voce, due volte, in italiano e in inglese: cessato allarme.",
    ]),
    ("h2", "3. Incendio"),
    ("ol", [
        "Chi vede fumo o fiamme avvisa l'interno 199 oppure rompe il vetro del pulsante rosso più vicino.",
        "L'estintore si usa solo se il fuoco è piccolo e se alle spalle c'è una via di uscita.",
        "Si chiudono porte e finestre senza usare la chiave, e si esce dalle scale: l'ascensore è vietato.",
        "Chi ha un visitatore lo accompagna fino al punto di raccolta.",
    ]),
    ("p", "In laboratorio ci sono batterie al litio: per quelle si usa la coperta antincendio appesa accanto alla porta, "
          "mai l'acqua. Gli estintori sono controllati ogni 6 mesi, in marzo e in settembre."),
    ("h2", "4. Punto di raccolta"),
    ("p", "Il punto di raccolta è il piazzale del magazzino comunale, a 80 metri dal cancello, sul lato opposto alla roggia. "
          "Il capo di ogni squadra fa l'appello e lo comunica alla coordinatrice. Nessuno rientra prima del cessato allarme, "
          "nemmeno per prendere le chiavi dell'auto."),
    ("h2", "5. Terremoto"),
    ("ul", [
        "Durante la scossa: sotto il tavolo o vicino a un muro portante, lontano da vetri e scaffali.",
        "Dopo la scossa: si esce con calma, senza accendere luci né fiamme.",
        "Il vano dell'ex ruota del mulino non è una via di uscita.",
    ]),
    ("h2", "6. Piena della roggia"),
    ("p", "L'edificio è un ex mulino e il piano terra si può allagare. Il livello si legge sull'idrometro del ponte; "
          "un sensore lo manda al canale Slack #sede."),
    ("table", [
        ["Livello", "Stato", "Che cosa si fa"],
        ["sotto 0,80 m", "normale", "niente"],
        ["da 0,80 m a 1,20 m", "attenzione", "si spostano le auto dal cortile e si sollevano le casse del magazzino"],
        ["oltre 1,20 m", "allarme", "si evacua il piano terra e si toglie la corrente dal quadro Q1"],
    ]),
    ("p", "Durante la piena nessuno scende nel locale pompe. I piani primo e secondo restano agibili finché la "
          "coordinatrice non decide diversamente."),
    ("h2", "7. Primo soccorso"),
    ("p", "Le cassette di primo soccorso sono tre: reception, cucina del primo piano e laboratorio. Il defibrillatore è alla "
          "reception, nell'armadietto bianco dietro il banco, e non è chiuso a chiave. Dopo ogni uso della cassetta si "
          "scrive a sede@brezzalta.example, così il materiale è reintegrato entro 2 giorni lavorativi."),
    ("p", "Non si spostano i feriti, non si danno medicine, non si lascia sola la persona. Ogni infortunio, anche lieve, "
          "va scritto nel registro conservato da People lo stesso giorno."),
    ("h2", "8. Persone con mobilità ridotta"),
    ("p", "Chi ha bisogno di aiuto per scendere le scale, anche solo per qualche settimana, lo comunica a People: due colleghi "
          "dello stesso piano sono incaricati di accompagnarlo. Al secondo piano c'è una sedia da evacuazione, accanto alla "
          "cabina Grignolino 1."),
    ("h2", "9. Prove e formazione"),
    ("p", "Le prove di evacuazione sono due all'anno, in aprile e in novembre, senza preavviso sul giorno. L'obiettivo è "
          "svuotare l'edificio in meno di 4 minuti; l'ultima prova, del 18 novembre 2025, è durata 3 minuti e 40 secondi. "
          "La squadra interna segue un corso di 8 ore ogni 3 anni, pagato fuori dal budget di formazione."),
    ("h2", "10. Dopo l'emergenza"),
    ("ul", [
        "L'edificio riapre solo con il permesso della coordinatrice, scritto nel canale #sede.",
        "Chi non può rientrare lavora da remoto: il limite dei 3 giorni a settimana è sospeso.",
        "Entro 5 giorni lavorativi la coordinatrice raccoglie le osservazioni e aggiorna il piano.",
    ]),
]

SLA = [
    ("h1", "Service level agreement for Filare and Tinaia"),
    ("p", "Version 4, valid from March 1, 2026. It is part of every contract signed after that date; older contracts keep "
          "version 3 until they are renewed."),
    ("h2", "1. Plans and availability"),
    ("p", "Availability is measured every minute from two places outside our network and is counted per calendar month."),
    ("table", [
        ["Plan", "Availability", "Support channels", "Data export on request"],
        ["Base", "99.5%", "e-mail", "once a year"],
        ["Plus", "99.8%", "e-mail and phone", "every quarter"],
        ["Vendemmia", "99.9%", "e-mail, phone and 24-hour line", "at any time"],
    ]),
    ("h2", "2. Priorities"),
    ("ul", [
        "P1: the customer cannot work, for instance because alarms of Tinaia are not delivered.",
        "P2: an important function does not work and there is a detour.",
        "P3: a nuisance, a question or a wish.",
    ]),
    ("h2", "3. First response"),
    ("p", "Times run from the moment the ticket arrives. Working hours are Monday to Friday, 8:30 to 18:00, Italian time."),
    ("table", [
        ["Priority", "Base", "Plus", "Vendemmia"],
        ["P1", "8 working hours", "2 working hours", "30 minutes, day and night"],
        ["P2", "2 working days", "8 working hours", "4 working hours"],
        ["P3", "5 working days", "3 working days", "2 working days"],
    ]),
    ("p", "From August 24 to October 11 Saturdays from 9:00 to 13:00 count as working hours for all plans. "
          "For a P1 on the Vendemmia plan an engineer works on the problem without a break until there is a detour."),
    ("h2", "4. Planned maintenance"),
    ("p", "Maintenance takes place on Wednesdays between 5:00 and 6:30 and is announced at least 5 days ahead. "
          "It does not count as downtime. There is no planned maintenance during harvest."),
    ("h2", "5. Service credits"),
    ("p", "For every 0.1 percentage points below the agreed availability, even if only begun, the customer gets a credit of 5% of "
          "the monthly fee, up to 30%. The credit has to be asked for within 30 days after the end of the month; it is "
          "deducted from the next invoice and never paid out in cash."),
    ("h2", "6. Not covered"),
    ("ul", [
        "outages of the mobile network that the gateways use;",
        "gateways without power, or opened by third parties;",
        "use of the API above the published limits;",
        "versions of the mobile app older than 12 months.",
    ]),
    ("h2", "7. Escalation"),
    ("ol", [
        "The person who handles the ticket.",
        "The head of support, after half of the response time has passed without an answer.",
        "The head of engineering, for every P1 that is open for more than 4 hours.",
        "Management, for every P1 that is open for more than 24 hours.",
    ]),
    ("h2", "8. Loan gateways"),
    ("p", "If a gateway under warranty fails between August 1 and October 31, customers on the Plus and Vendemmia plans "
          "get a loan unit, shipped by 17:00 on the same working day if the fault is confirmed by 14:00."),
    ("h2", "9. Reports and changes"),
    ("p", "Customers on the Vendemmia plan receive a monthly report by the 8th. Changes to this document are announced 60 days "
          "ahead by e-mail; whoever does not agree can leave the contract at the end of that period."),
    ("p", "Questions about this document: support@brezzalta.example."),
]


def write_pdf(blocks, path):
    styles = getSampleStyleSheet()
    names = {"h1": "Title", "h2": "Heading2", "p": "BodyText"}
    flow = []
    for kind, content in blocks:
        if kind in names:
            flow.append(Paragraph(content, styles[names[kind]]))
        elif kind == "table":
            rows = [[Paragraph(cell, styles["BodyText"]) for cell in row] for row in content]
            grid = [("GRID", (0, 0), (-1, -1), 0.5, colors.grey), ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke)]
            flow += [Table(rows, colWidths=[5 * cm, 4 * cm, 7 * cm], style=grid), Spacer(1, 0.3 * cm)]
        else:
            items = [Paragraph(item, styles["BodyText"]) for item in content]
            flow.append(ListFlowable(items, bulletType="1" if kind == "ol" else "bullet"))

    def footer(canvas, doc):
        canvas.setFont("Helvetica", 8)
        canvas.drawString(2.5 * cm, 1.2 * cm, f"Brezzalta S.r.l. - Piano di emergenza - pagina {doc.page}")

    pdf = SimpleDocTemplate(str(path), pagesize=A4, invariant=1, title=blocks[0][1], author="Brezzalta S.r.l.",
                            creator="Brezzalta S.r.l.", producer="Brezzalta S.r.l.", subject="Sede di Rivalonga",
                            lang="it", leftMargin=2.5 * cm, rightMargin=2.5 * cm, topMargin=2 * cm, bottomMargin=2 * cm)
    pdf.build(flow, onFirstPage=footer, onLaterPages=footer)


def write_docx(blocks, path):
    document = Document()
    edition = datetime.datetime(2026, 2, 16, 9, 0)
    properties = document.core_properties
    properties.title, properties.author, properties.comments = blocks[0][1], "Brezzalta S.r.l.", ""
    properties.created = properties.modified = edition
    properties.language = "en-GB"
    for kind, content in blocks:
        if kind in ("h1", "h2"):
            document.add_heading(content, level=int(kind[1]))
        elif kind == "p":
            document.add_paragraph(content)
        elif kind == "table":
            table = document.add_table(rows=0, cols=len(content[0]), style="Light Grid Accent 1")
            for row in content:
                for cell, text in zip(table.add_row().cells, row):
                    cell.text = text
        else:
            for item in content:
                document.add_paragraph(item, style="List Number" if kind == "ol" else "List Bullet")
    packed = io.BytesIO()
    document.save(packed)
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():  # fixed times instead of the clock's
            target.writestr(zipfile.ZipInfo(name, edition.timetuple()[:6]), source.read(name), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    for make, blocks, path in ((write_pdf, EMERGENCY_PLAN, PDF), (write_docx, SLA, DOCX)):
        path.parent.mkdir(parents=True, exist_ok=True)
        make(blocks, path)
        print(f"{path.relative_to(KNOWLEDGE.parent)}  {path.stat().st_size} bytes")
