//! Units that numbers are counted in, the same for both languages.

use super::numbers::{number, spelled};

/// What a number counts, by the first of its names.
pub(super) type Unit = &'static str;

/// Names of each unit; the first one stands for it.
const UNITS: &[&[&str]] = &[
    &["second", "seconds", "secondi", "secondo", "sec"],
    &["minute", "minutes", "minuti", "minuto", "min"],
    &["hour", "hours", "ore", "ora", "h"],
    &["day", "days", "giorni", "giorno", "gg"],
    &["week", "weeks", "settimane", "settimana"],
    &["month", "months", "mesi", "mese"],
    &["year", "years", "anni", "anno"],
    &["%", "percent", "percento", "cento", "cent"],
    &["€", "eur", "euro", "euros"],
    &["$", "usd", "dollar", "dollars", "dollari", "dollaro"],
    &["byte", "bytes"],
    &["kb", "kib", "kilobyte", "kilobytes"],
    &["mb", "mib", "megabyte", "megabytes"],
    &["gb", "gib", "gigabyte", "gigabytes"],
    &["tb", "tib", "terabyte", "terabytes"],
    &["pixel", "pixels", "px"],
    &["mm", "millimetri", "millimetres", "millimeters"],
    &["cm", "centimetri", "centimetres", "centimeters"],
    &["metre", "metres", "meters", "metri", "metro"],
    &["km", "chilometri", "kilometres", "kilometers"],
    &["kg", "chili", "chilogrammi", "kilograms"],
];
/// Words between a number and its unit: "26 giorni", "5 interi giorni".
const WORDS_BETWEEN: usize = 2;

/// The unit that a word is a name of.
pub(super) fn unit(word: &str) -> Option<Unit> {
    UNITS.iter().find(|names| names.contains(&word)).map(|names| names[0])
}

/// Each number of a text with the unit that follows it, or stands before it as currencies do. `words`: in lower case.
pub(super) fn counted(words: &[&str]) -> Vec<(String, Unit)> {
    let numbers = words.iter().map(|word| split(word)).collect::<Vec<_>>();
    let mut counted = Vec::new();
    for (at, (value, attached)) in numbers.iter().enumerate() {
        let Some(value) = value else { continue };
        let following = || {
            let next = words[at + 1..].iter().zip(&numbers[at + 1..]).take(1 + WORDS_BETWEEN);
            next.take_while(|(_, (number, _))| number.is_none()).find_map(|(word, _)| unit(word))
        };
        let before = || at.checked_sub(1).and_then(|before| unit(words[before])).filter(|unit| is_currency(unit));
        if let Some(unit) = attached.or_else(before).or_else(following) {
            counted.push((value.clone(), unit));
        }
    }
    counted
}

fn is_currency(unit: &str) -> bool {
    matches!(unit, "€" | "$")
}

/// The number that a word is, and the unit that is written together with it: `64mb`, `€50`.
fn split(word: &str) -> (Option<String>, Option<Unit>) {
    let digits = |c: char| c.is_ascii_digit();
    let (Some(first), Some(last)) = (word.find(digits), word.rfind(digits)) else {
        let value = spelled(word).filter(|value| value.chars().all(|c| c.is_ascii_digit()));
        return (value, None);
    };
    let value = number(&word[first..=last]);
    let attached = unit(&word[..first]).or_else(|| unit(word[last + 1..].trim_start_matches('-')));
    let is_bare = first == 0 && last + 1 == word.len();
    if is_bare || attached.is_some() { (value, attached) } else { (None, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, Unit)]) {
        let words: Vec<&str> = text.split(' ').collect();
        let expect: Vec<(String, Unit)> = expect.iter().map(|(value, unit)| ((*value).to_owned(), *unit)).collect();
        assert_eq!(counted(&words), expect, "{text}");
    }

    #[test]
    fn a_number_is_counted_in_what_follows_it() {
        check("entro 26 giorni e 3 ore", &[("26", "day"), ("3", "hour")]);
        check("5 full working days", &[("5", "day")]);
        check("3 guests and 4 of them stay days", &[]);
        check("ten working days", &[("10", "day")]);
        check("a 30-day trial, 90 per cento", &[("30", "day"), ("90", "%")]);
        check("64mb of 1.5 gb", &[("64", "mb"), ("1.5", "gb")]);
    }

    #[test]
    fn a_currency_may_stand_before_or_behind() {
        check("eur 25.00 a month", &[("25", "€")]);
        check("fino a 300,50 € ogni 3 anni", &[("300.5", "€"), ("3", "year")]);
        check("€50 or 20%", &[("50", "€"), ("20", "%")]);
    }

    #[test]
    fn codes_count_nothing() {
        check("rfc2616 days", &[]);
    }
}
