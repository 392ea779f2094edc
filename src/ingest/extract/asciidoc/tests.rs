//! Pages of a manual as their readers see them.

use crate::ingest::extract::outline;
use crate::ingest::extract::tests::here;

#[track_caller]
fn check(source: &str, expect: &str) {
    assert_eq!(outline(&here("guida-badge.adoc", source.as_bytes()).unwrap()), expect);
}

#[test]
fn titles_and_attributes() {
    check(
        "= Guida al *badge*\nAda Rossi <ada@acme.example>\nv1.0, 2026-03-31\n:lang: it\n:ufficio: Risorse umane\n:toc:\n\n\
         Si chiede a {ufficio}, {nessuno}.\n\n[#resa]\n== Resa\n\n// commento\n=== In ritardo\n\n////\nsegreto\n////\nSi avvisa.\n",
        "[Guida al badge] it\nH1 Guida al badge\nP Si chiede a Risorse umane, {nessuno}.\nH2 #resa Resa\n\
         H3 #_in_ritardo In ritardo\nP Si avvisa.\n",
    );
    check("Vecchio stile\n-------------\n\nTesto.\n", "[Vecchio stile]\nH2 Vecchio stile\nP Testo.\n");
    check("Solo testo.\n", "[guida badge]\nP Solo testo.\n");
}

#[test]
fn lists_and_terms() {
    check(
        ".Da fare\n* uno\nancora\n** dentro\n+\nattaccato\n\n* [x] fatto\n\n. primo\n.. secondo\n3. terzo\n\nbadge:: La tessera.\nsede::\nTorino.\n\n\
         NOTE: Attenzione.\n\nFuori.\n",
        "[guida badge]\nDT Da fare\nLI uno⏎ancora\nLI dentro\nLI attaccato\nLI fatto\nLI primo\nLI secondo\nLI terzo\n\
         DT badge\nLI La tessera.\nDT sede\nLI Torino.\nP NOTE: Attenzione.\nP Fuori.\n",
    );
}

#[test]
fn code_is_kept_and_settings_are_not_shown() {
    check(
        "[source,bash]\n----\n== ls\n\n*x*\n----\n\n[WARNING]\n====\nNon aprire.\n\nMai.\n====\n\n[quote, Ada]\n____\nChi tace +\nacconsente.\n____\n\n\
         image::foto.png[Foto]\ninclude::altro.adoc[]\nifdef::x[]\nSi vede.\nendif::[]\n\n literal\n  qui\n\n```\nuno\n```\n\n'''\n\n\
         ++++\n<b>no</b>\n++++\n\n....\nmai chiuso\n",
        "[guida badge]\nCODE == ls⏎⏎*x*\nP Non aprire.\nP Mai.\nQ Chi tace⏎acconsente.\nP Si vede.\nCODE  literal⏎  qui\nCODE uno\n\
         CODE mai chiuso\n",
    );
}

#[test]
fn tables() {
    check(
        "[cols=\"1,2\",options=\"header\"]\n|===\n|Sede |Orario\n\n|*Torino*\n|8:30\ne 18:00\n|Bari |9 \\| 10\n|===\n\n\
         |===\n|a |b\n|c |d\n|===\n\n[%header,cols=2*]\n,===\nNome,Ore\nAda,7\n,===\n",
        "[guida badge]\nTH Sede ⇥ Orario\nTR Torino ⇥ 8:30 e 18:00\nTR Bari ⇥ 9 | 10\nTR a ⇥ b\nTR c ⇥ d\nTH Nome ⇥ Ore\nTR Ada ⇥ 7\n",
    );
}

#[test]
fn an_attribute_that_makes_much_of_little_is_refused() {
    let source = format!(":a: {}\n\n{}\n", "parola ".repeat(10_000), "{a} ".repeat(2_000));
    let error = here("bomba.adoc", source.as_bytes()).unwrap_err();
    assert!(error.contains("bomba.adoc` unpacks to more than the limit"), "{error}");
}
