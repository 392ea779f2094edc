//! The daemon as it runs, against the platforms as they are played in `tests/support`.

mod collections;
mod confirmed;
mod daemon;
mod load;
mod promptness;
mod safekeeping;
mod seldom;
mod slack_day;
mod telegram_day;
mod transcript;

/// What people ask when it does not matter what.
const QUESTIONS: [&str; 12] = [
    "Quanti giorni di ferie ho all'anno?",
    "How quickly must on-call acknowledge a page?",
    "Chi approva le trasferte?",
    "How do I get a VPN account?",
    "Come chiedo un rimborso spese?",
    "Posso portare il mio cane in ufficio?",
    "How many days of leave do I have?",
    "Come chiedo il rimborso dei chilometri?",
    "Who approves travel?",
    "Che cosa faccio se la VPN non va?",
    "What do I do when my laptop is stolen?",
    "Quanto dura il periodo di prova?",
];
