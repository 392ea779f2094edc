//! Messages as their readers see them.

use crate::ingest::extract::outline;
use crate::ingest::extract::tests::here;

const PLAIN: &str = "From: =?utf-8?q?Ada_Ross=C3=AC?= <ada@acme.example>\r
To: hr@acme.example, Lia Bo <lia@acme.example>\r
Subject: =?utf-8?b?RmVyaWUgZGkgYWdvc3Rv?=\r
Date: Tue, 31 Mar 2026 14:30:05 +0200\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Le richieste si mandano entro il 10 aprile, perch=E9 l'ufficio chiude.\r
\r
- una per persona\r
\r
> Quando si chiude?\r
> E chi resta?\r
>\r
>> Non si sa.\r
\r
Ada\r
";

const MIXED: &str = "From: lia@acme.example
Subject: Listino
Date: Wed, 1 Apr 2026 09:00:00 +0200
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=fuori

--fuori
Content-Type: multipart/related; boundary=dentro

--dentro
Content-Type: text/html; charset=utf-8

<html lang=it><h2 id=a>Prezzi</h2><p>Il <b>listino</b> è in allegato.<img src=cid:logo></p></html>
--dentro
Content-Type: image/png; name=logo.png
Content-ID: <logo>
Content-Disposition: inline; filename=logo.png
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--dentro--
--fuori
Content-Type: application/pdf; name=\"listino 2026.pdf\"
Content-Disposition: attachment; filename=\"listino 2026.pdf\"
Content-Transfer-Encoding: base64

JVBERi0=
--fuori
Content-Type: message/rfc822

Subject: Vecchio listino
From: ada@acme.example

Non vale più.
--fuori--
";

#[track_caller]
fn check(name: &str, message: &str, expect: &str) {
    assert_eq!(outline(&here(name, message.as_bytes()).unwrap()), expect);
}

#[test]
fn a_message_of_plain_text() {
    check(
        "ferie.eml",
        PLAIN,
        "[Ferie di agosto] 2026-03-31\nP From: Ada Rossì <ada@acme.example>⏎To: hr@acme.example, Lia Bo <lia@acme.example>⏎\
         Date: 2026-03-31 14:30\nP Le richieste si mandano entro il 10 aprile, perché l'ufficio chiude.\nLI - una per persona\n\
         Q Quando si chiude?⏎E chi resta?\nQ Non si sa.\nP Ada\n",
    );
}

#[test]
fn a_message_with_a_page_and_attachments() {
    check(
        "listino.eml",
        MIXED,
        "[Listino] it 2026-04-01\nP From: lia@acme.example⏎Date: 2026-04-01 09:00\nH2 Prezzi\nP Il listino è in allegato.\n\
         P Attachments: listino 2026.pdf, Vecchio listino\n",
    );
}

#[test]
fn a_mailbox() {
    let mailbox = format!(
        "From ada@acme.example Tue Mar 31 14:30:05 2026\n{PLAIN}\n>From oggi si cambia.\nFrom qui in poi: no\n\n\
         From lia@acme.example Wed Apr  1 09:00:00 2026\n{MIXED}\nFrom x@acme.example Wed Apr  1 09:00:00 2026\n\nniente\n"
    );
    check(
        "archivio-hr.mbox",
        &mailbox,
        "[archivio hr]\nH1 Ferie di agosto\nP From: Ada Rossì <ada@acme.example>⏎To: hr@acme.example, Lia Bo <lia@acme.example>⏎\
         Date: 2026-03-31 14:30\nP Le richieste si mandano entro il 10 aprile, perché l'ufficio chiude.\nLI - una per persona\n\
         Q Quando si chiude?⏎E chi resta?\nQ Non si sa.\nP Ada\nP From oggi si cambia.⏎From qui in poi: no\n\
         H1 Listino\nP From: lia@acme.example⏎Date: 2026-04-01 09:00\nH3 Prezzi\nP Il listino è in allegato.\n\
         P Attachments: listino 2026.pdf, Vecchio listino\n",
    );
}

#[test]
fn what_is_no_message_says_so() {
    assert!(here("a.eml", b"").unwrap_err().contains("damaged or no EML"));
    assert!(here("a.eml", b"niente di niente\n").unwrap_err().contains("damaged or no EML"));
    assert!(here("a.mbox", b"niente\n").unwrap_err().contains("no line begins a message"));
    let deep = format!("Subject: x\nContent-Type: text/html\n\n{}", "<div>".repeat(10_000));
    assert!(here("a.eml", deep.as_bytes()).unwrap_err().contains("nested too deep"));
}

#[test]
fn messages_inside_of_messages_cost_no_stack() {
    let mut message =
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nciao\n--b\n"
            .to_owned();
    message.push_str(&"Content-Type: message/rfc822\n\n".repeat(100_000));
    let document = here("a.eml", message.as_bytes()).unwrap();
    assert_eq!((document.title.as_str(), document.blocks[0].text.as_str()), ("x", "ciao"));
}

#[test]
fn a_long_list_of_readers_is_cut() {
    let readers: Vec<String> = (0..300).map(|n| format!("p{n}@acme.example")).collect();
    let document = here("a.eml", format!("To: {}\nSubject: x\n\nciao", readers.join(", ")).as_bytes()).unwrap();
    assert!(document.blocks[0].text.ends_with("p19@acme.example, …"), "{}", document.blocks[0].text);
}
