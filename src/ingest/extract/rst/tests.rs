//! Pages of a manual as their readers see them.

use std::path::Path;

use super::extract;
use crate::ingest::extract::outline;

#[track_caller]
fn check(source: &str, expect: &str) {
    assert_eq!(outline(&extract(source, Path::new("guida-badge.rst"))), expect);
}

#[test]
fn sections_have_levels_by_their_lines() {
    check(
        "=====\nGuida\n=====\n\nCome si usa.\n\nBadge\n=====\n\nChi lo *smarrisce* avvisa.\n\nUfficio\n-------\n\nAlle 8:30.\n\n.. _resa:\n\nResa\n====\n\nFine.\n\n----\n\nDavvero.\n",
        "[Guida]\nH1 #guida Guida\nP Come si usa.\nH2 #badge Badge\nP Chi lo smarrisce avvisa.\nH3 #ufficio Ufficio\nP Alle 8:30.\n\
         H2 #resa Resa\nP Fine.\nP Davvero.\n",
    );
    check("Niente titoli.\n\nLista:\n\n...\n", "[guida badge]\nP Niente titoli.\nP Lista:\n");
}

#[test]
fn lists_terms_and_quotes() {
    check(
        "- uno\n  ancora\n\n  di più\n- due\n\n  - dentro\n\n1. Apri.\n#. Chiudi.\n\nbadge\n   La tessera.\n\n   Di plastica.\n\nDisse:\n\n   Chi tace acconsente.\n",
        "[guida badge]\nLI uno⏎ancora\nLI di più\nLI due\nLI dentro\nLI 1. Apri.\nLI Chiudi.\nDT badge\nLI La tessera.\n\
         LI Di plastica.\nP Disse:\nQ Chi tace acconsente.\n",
    );
}

#[test]
fn code_is_kept_and_directives_are_not_shown() {
    check(
        ":orphan:\n:Author: Ada\n\nLancia::\n\n    prova --tutto\n\n      e poi\n\nPoi\n\n.. code-block:: bash\n   :linenos:\n\n   ls -l\n\n\
         .. note:: Attenzione\n   al freddo.\n\n.. warning::\n\n   Non *aprire*.\n\n   - mai\n\n.. image:: foto.png\n   :alt: foto\n\n\
         .. contents::\n\n.. figure:: a.png\n   :width: 3\n\n   La sede.\n\n.. toctree::\n   :maxdepth: 2\n\n   intro\n\n\
         .. Un commento\n   lungo\n\n.. |x| replace:: y\n\n.. py:function:: apri(porta)\n\n   Apre la porta.\n\n.. [#n] Una nota.\n\n\
         .. rubric:: Fine\n\n>>> 1 + 1\n2\n",
        "[guida badge]\nLI Author: Ada\nP Lancia:\nCODE prova --tutto⏎⏎  e poi\nP Poi\nCODE ls -l\nP Attenzione⏎al freddo.\n\
         P Non aprire.\nLI mai\nP La sede.\nDT apri(porta)\nP Apre la porta.\nP Una nota.\nP Fine\nCODE >>> 1 + 1⏎2\n",
    );
}

#[test]
fn drawn_tables() {
    check(
        "+-------+---------+\n| Sede  | Orario  |\n+=======+=========+\n| Città | 8:30    |\n|       | 18:00   |\n+-------+---------+\n\n\
         =====  ======\nNome   Città\n=====  ======\nAda    Torino\n       e Bari\n*Lia*  Roma\n=====  ======\n\n\
         .. csv-table:: Costi\n   :header: a\n\n   Voce, \"Costo\"\n   Tè, 2\n\n.. list-table::\n\n   * - uno\n     - due\n",
        "[guida badge]\nTH Sede ⇥ Orario\nTR Città ⇥ 8:30 18:00\nTH Nome ⇥ Città\nTR Ada ⇥ Torino e Bari\nTR Lia ⇥ Roma\n\
         TH Voce ⇥ Costo\nTR Tè ⇥ 2\nLI uno\nLI due\n",
    );
}

#[test]
fn deep_nesting_ends() {
    let deep: String = (0..2_000).map(|depth| format!("{}- x\n\n", "  ".repeat(depth))).collect();
    assert!(!extract(&deep, Path::new("a.rst")).blocks.is_empty());
    let quotes: String = (0..2_000).map(|depth| format!("{}x\n\n", " ".repeat(depth))).collect();
    assert!(!extract(&quotes, Path::new("a.rst")).blocks.is_empty());
}
