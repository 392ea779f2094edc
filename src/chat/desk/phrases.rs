//! What the bot says by itself, in both languages: CommonMark, short, polite, nothing technical.

use std::time::Duration;

use crate::chat::connection::Connection;
use crate::chat::house::{Condition, ReindexEvent};
use crate::domain::Language;

/// One of two texts.
fn pick(language: Language, italian: &str, english: &str) -> String {
    match language {
        Language::Italian => italian.to_owned(),
        Language::English => english.to_owned(),
    }
}

pub(super) fn greeting(language: Language) -> String {
    pick(
        language,
        "Ciao! Fammi una domanda: rispondo con quello che dicono i vostri documenti, e cito dove sta scritto.",
        "Hello! Ask me a question: I answer with what your documents say, and cite where it is written.",
    )
}

pub(super) fn thanks(language: Language) -> String {
    pick(language, "Prego! Se serve altro, chiedi pure.", "You're welcome! Ask whenever you need more.")
}

pub(super) fn called(language: Language) -> String {
    pick(language, "Sono qui: che cosa vuoi sapere?", "Here I am: what would you like to know?")
}

pub(super) fn attachment(language: Language) -> String {
    pick(
        language,
        "Leggo solo il testo dei messaggi, non file, immagini o audio. Scrivimi la domanda; i documenti nuovi li \
         aggiunge un amministratore alle cartelle.",
        "I read the text of messages only, no files, pictures or audio. Write me the question; an admin adds new \
         documents to the folders.",
    )
}

pub(super) fn help(language: Language, admin: bool) -> String {
    let mut text = pick(
        language,
        "Rispondo alle domande con i documenti del team, in italiano e in inglese, e cito le fonti.\n\n\
         - In privato scrivi la domanda e basta; in un gruppo o canale menzionami. Nella stessa discussione le domande \
         successive non hanno bisogno di menzione.\n\
         - `ask` *domanda*: rispondo\n- `sources`: le citazioni dell'ultima risposta\n\
         - `lang it`, `lang en`, `lang auto`: la lingua delle risposte qui\n- `status`: come sto\n\
         - `forget`: dimentico questa conversazione\n- `about`: chi sono",
        "I answer questions from the team's documents, in Italian and English, and cite the sources.\n\n\
         - In private just write the question; in a group or channel mention me. In the same thread further questions \
         need no mention.\n\
         - `ask` *question*: I answer\n- `sources`: the quotes of the last answer\n\
         - `lang it`, `lang en`, `lang auto`: the language of answers here\n- `status`: how I am\n\
         - `forget`: I forget this conversation\n- `about`: who I am",
    );
    if admin {
        text.push_str(&pick(
            language,
            "\n\nPer gli amministratori: `reindex` (o `reindex` *raccolta*), `pause`, `resume`, `allow` *chi*, `deny` *chi*, `who`. *chi* è una \
             persona, una chat (`telegram:-100…`, `slack:C…`), `here` o un codice.",
            "\n\nFor admins: `reindex` (or `reindex` *collection*), `pause`, `resume`, `allow` *who*, `deny` *who*, `who`. *who* is a person, a chat \
             (`telegram:-100…`, `slack:C…`), `here` or a code.",
        ));
    }
    text
}

pub(super) fn about(language: Language, model: &str) -> String {
    let model = if model.is_empty() { "—" } else { model };
    match language {
        Language::Italian => format!(
            "Sono Cervella. Cerco nei documenti del team e rispondo solo con quello che c'è scritto; se non c'è, lo \
             dico. Il modello e i documenti stanno sul vostro server. Modello: {model}."
        ),
        Language::English => format!(
            "I am Cervella. I search the team's documents and answer only with what is written there; when it is not, I \
             say so. The model and the documents stay on your server. Model: {model}."
        ),
    }
}

pub(super) fn unknown_command(language: Language, name: &str) -> String {
    // The name is what somebody typed: as code it stays harmless.
    let name: String = name.chars().filter(|c| c.is_alphanumeric() || *c == '_').take(32).collect();
    match language {
        Language::Italian => format!("Non conosco il comando `{name}`. Con `help` dico che cosa so fare."),
        Language::English => format!("I do not know the command `{name}`. `help` tells what I can do."),
    }
}

pub(super) fn nothing_asked(language: Language) -> String {
    pick(language, "Scrivi la domanda dopo il comando.", "Write the question after the command.")
}

pub(super) fn no_sources(language: Language) -> String {
    pick(language, "Qui non c'è ancora una risposta con fonti.", "There is no answer with sources here yet.")
}

pub(super) fn language_set(language: Option<Language>, spoken: Language) -> String {
    match language {
        Some(Language::Italian) => "Da ora qui rispondo in italiano.".to_owned(),
        Some(Language::English) => "From now on I answer in English here.".to_owned(),
        None => pick(
            spoken,
            "Da ora qui rispondo nella lingua della domanda.",
            "From now on I answer in the language of the question here.",
        ),
    }
}

pub(super) fn language_unknown(language: Language) -> String {
    pick(language, "Le lingue sono `it`, `en` e `auto`.", "The languages are `it`, `en` and `auto`.")
}

pub(super) fn forgotten(language: Language) -> String {
    pick(language, "Fatto: ho dimenticato questa conversazione.", "Done: I have forgotten this conversation.")
}

pub(super) fn stopped(language: Language) -> String {
    pick(language, "*Interrotto.*", "*Stopped.*")
}

pub(super) fn paused(language: Language) -> String {
    pick(
        language,
        "Sono in pausa: un amministratore mi ha fermato per un momento. Riprova più tardi.",
        "I am paused: an admin has stopped me for a while. Try again later.",
    )
}

pub(super) fn too_late(language: Language) -> String {
    pick(
        language,
        "Scusa: ero fuori servizio e questa domanda è rimasta in attesa troppo a lungo. Se serve ancora, rifalla.",
        "Sorry: I was out of service and this question waited too long. If you still need it, ask again.",
    )
}

fn minutes(wait: Duration) -> u64 {
    wait.as_secs().div_ceil(60).max(1)
}

pub(super) fn person_over_quota(language: Language, wait: Duration) -> String {
    let minutes = minutes(wait);
    match language {
        Language::Italian => format!("Hai fatto molte domande in un'ora: la prossima tra circa {minutes} min."),
        Language::English => format!("You have asked a lot within an hour: the next one in about {minutes} min."),
    }
}

pub(super) fn all_over_quota(language: Language, wait: Duration) -> String {
    let minutes = minutes(wait);
    match language {
        Language::Italian => format!("In quest'ora ho ricevuto troppe domande: riprova tra circa {minutes} min."),
        Language::English => format!("I got too many questions this hour: try again in about {minutes} min."),
    }
}

/// The one sentence for people and chats that may not ask. `code`: what an admin confirms.
pub(super) fn not_a_member(language: Language, code: Option<&str>) -> String {
    match (language, code) {
        (Language::Italian, Some(code)) => format!(
            "Ciao! Rispondo solo a chi è stato ammesso. Di' a un amministratore questo codice: `{code}` (vale un giorno)."
        ),
        (Language::English, Some(code)) => format!(
            "Hello! I answer only those who have been admitted. Give this code to an admin: `{code}` (valid for a day)."
        ),
        (Language::Italian, None) => {
            "Ciao! Qui non posso rispondere: chiedi a un amministratore di ammettermi.".to_owned()
        }
        (Language::English, None) => "Hello! I may not answer here: ask an admin to admit this chat.".to_owned(),
    }
}

pub(super) fn welcome(language: Language) -> String {
    pick(language, "Sei stato ammesso: fammi pure una domanda.", "You have been admitted: ask me anything.")
}

pub(super) fn admins_only(language: Language) -> String {
    pick(language, "Questo comando è per gli amministratori.", "This command is for admins.")
}

pub(super) fn pause_done(language: Language, paused: bool) -> String {
    match paused {
        true => pick(language, "In pausa. Con `resume` ricomincio.", "Paused. `resume` makes me go on."),
        false => pick(language, "Si ricomincia.", "Going on."),
    }
}

pub(super) fn subject_unknown(language: Language) -> String {
    pick(
        language,
        "Non capisco chi: scrivi una menzione, `telegram:…`, `slack:…`, `here` o un codice valido.",
        "I do not understand whom: write a mention, `telegram:…`, `slack:…`, `here` or a valid code.",
    )
}

pub(super) fn allowed(language: Language, subject: &str) -> String {
    match language {
        Language::Italian => format!("Ammesso: `{subject}`."),
        Language::English => format!("Allowed: `{subject}`."),
    }
}

pub(super) fn denied(language: Language, subject: &str) -> String {
    match language {
        Language::Italian => format!("Escluso: `{subject}`."),
        Language::English => format!("Denied: `{subject}`."),
    }
}

pub(super) fn nobody(language: Language) -> String {
    pick(language, "Nessuno oltre a chi è nelle impostazioni.", "Nobody besides those in the settings.")
}

/// In a shared chat, where the answer is for the admin alone.
pub(super) fn told_in_private(language: Language) -> String {
    pick(language, "Te l'ho scritto in privato.", "I have sent it to you in private.")
}

pub(super) fn private_closed(language: Language) -> String {
    pick(
        language,
        "Questo lo dico solo in privato, ma non riesco a scriverti: scrivimi tu per primo.",
        "I tell this in private only, but I cannot write to you: write to me first.",
    )
}

/// To the person alone, when the bot may not write where it was asked.
pub(super) fn cannot_write_there(language: Language) -> String {
    pick(
        language,
        "Mi hai chiamato dove non posso scrivere: aggiungimi a quel canale, oppure chiedi qui.",
        "You called me where I may not write: add me to that channel, or ask here.",
    )
}

pub(super) fn no_such_collection(language: Language, known: &[String]) -> String {
    let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match language {
        Language::Italian => format!("Non c'è una raccolta con questo nome. Ci sono: {names}."),
        Language::English => format!("There is no collection of that name. There are: {names}."),
    }
}

pub(super) fn reindex(language: Language, event: &ReindexEvent) -> String {
    let italian = language == Language::Italian;
    match event {
        ReindexEvent::Reading { files, of } if italian => format!("Rileggo i documenti: {files} di {of}…"),
        ReindexEvent::Reading { files, of } => format!("Reading the documents: {files} of {of}…"),
        ReindexEvent::Done { documents, passages, embedded, skipped } if italian => format!(
            "Indice aggiornato: {documents} documenti, {passages} passi ({embedded} nuovi), {skipped} file saltati."
        ),
        ReindexEvent::Done { documents, passages, embedded, skipped } => format!(
            "Index up to date: {documents} documents, {passages} passages ({embedded} new), {skipped} files skipped."
        ),
        ReindexEvent::Busy => pick(language, "Un aggiornamento è già in corso.", "An index run is already under way."),
        ReindexEvent::Failed => pick(
            language,
            "L'aggiornamento non è riuscito; l'indice di prima resta. Il motivo è nel registro del server.",
            "The index run failed; the index stays as it was. The reason is in the server's log.",
        ),
    }
}

/// For everybody: whether the bot answers, and from what. For admins: more.
pub(super) fn status(language: Language, condition: &Condition, queue: usize, paused: bool, admin: bool) -> String {
    let italian = language == Language::Italian;
    let state = match (paused, italian) {
        (true, true) => "in pausa",
        (true, false) => "paused",
        (false, true) => "al lavoro",
        (false, false) => "at work",
    };
    let Condition { documents, passages, .. } = condition;
    let mut lines = vec![match italian {
        true => format!("Sono {state}: {documents} documenti, {passages} passi."),
        false => format!("I am {state}: {documents} documents, {passages} passages."),
    }];
    if admin {
        let model = if condition.model.is_empty() { "—" } else { &condition.model };
        let minutes = condition.up.as_secs() / 60;
        let memory = condition.memory_mb;
        lines.push(String::new());
        lines.push(match italian {
            true => {
                format!("- modello: {model}\n- in coda: {queue}\n- memoria: {memory} MB\n- attivo da: {minutes} min")
            }
            false => format!("- model: {model}\n- queue: {queue}\n- memory: {memory} MB\n- up for: {minutes} min"),
        });
        for (platform, connection) in &condition.connections {
            lines.push(format!("- {platform}: {}", connected(language, connection)));
        }
        for (ago, error) in &condition.errors {
            let minutes = ago.as_secs() / 60;
            lines.push(match italian {
                true => format!("- errore, {minutes} min fa: {error}"),
                false => format!("- error, {minutes} min ago: {error}"),
            });
        }
    }
    lines.join("\n")
}

fn connected(language: Language, connection: &Connection) -> String {
    match connection {
        Connection::Off => pick(language, "non configurato", "not set up"),
        Connection::Connecting => pick(language, "si sta collegando", "connecting"),
        Connection::Connected => pick(language, "collegato", "connected"),
        Connection::Lost { .. } => pick(language, "connessione persa, riprovo", "connection lost, trying again"),
    }
}

pub(super) fn feedback_taken(language: Language, helpful: bool) -> String {
    match helpful {
        true => pick(language, "Grazie del riscontro!", "Thanks for the feedback!"),
        false => pick(
            language,
            "Grazie: la risposta è segnata come non utile.",
            "Thanks: the answer is marked as not helpful.",
        ),
    }
}

pub(super) fn stopping(language: Language) -> String {
    pick(language, "Mi fermo.", "Stopping.")
}

pub(super) fn not_your_button(language: Language) -> String {
    pick(language, "Questo lo può fare chi ha fatto la domanda.", "Only who asked can do this.")
}

pub(super) fn sources_gone(language: Language) -> String {
    pick(
        language,
        "I documenti di questa risposta sono cambiati: rifai la domanda.",
        "The documents behind this answer have changed: ask again.",
    )
}

pub(super) fn sources_below(language: Language) -> String {
    pick(language, "Le citazioni sono qui sotto.", "The quotes are below.")
}

/// Questions that are offered in a fresh conversation.
pub(super) fn suggestions(language: Language) -> Vec<String> {
    let questions: [&str; 3] = match language {
        Language::Italian => [
            "Quanti giorni di ferie ho all'anno?",
            "Come chiedo un rimborso spese?",
            "Che cosa faccio se la VPN non va?",
        ],
        Language::English => {
            ["How many days of leave do I have?", "How do I claim expenses?", "What do I do when the VPN is down?"]
        }
    };
    questions.map(str::to_owned).to_vec()
}
