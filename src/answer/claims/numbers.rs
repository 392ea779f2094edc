//! Numbers, dates, days of the week and codes with digits, in a form in which Italian and English writing are equal.

use std::collections::HashSet;

use crate::retrieval::codes;

/// Months by their number, as both languages begin them; three letters tell them apart.
const MONTHS: [[&str; 2]; 12] = [
    ["gennaio", "january"],
    ["febbraio", "february"],
    ["marzo", "march"],
    ["aprile", "april"],
    ["maggio", "may"],
    ["giugno", "june"],
    ["luglio", "july"],
    ["agosto", "august"],
    ["settembre", "september"],
    ["ottobre", "october"],
    ["novembre", "november"],
    ["dicembre", "december"],
];
/// Days of the week, likewise.
const WEEKDAYS: [[&str; 2]; 7] = [
    ["lunedì", "monday"],
    ["martedì", "tuesday"],
    ["mercoledì", "wednesday"],
    ["giovedì", "thursday"],
    ["venerdì", "friday"],
    ["sabato", "saturday"],
    ["domenica", "sunday"],
];
/// From two on: one is an article too.
const WORDS: [[&str; 2]; 19] = [
    ["due", "two"],
    ["tre", "three"],
    ["quattro", "four"],
    ["cinque", "five"],
    ["sei", "six"],
    ["sette", "seven"],
    ["otto", "eight"],
    ["nove", "nine"],
    ["dieci", "ten"],
    ["undici", "eleven"],
    ["dodici", "twelve"],
    ["tredici", "thirteen"],
    ["quattordici", "fourteen"],
    ["quindici", "fifteen"],
    ["sedici", "sixteen"],
    ["diciassette", "seventeen"],
    ["diciotto", "eighteen"],
    ["diciannove", "nineteen"],
    ["venti", "twenty"],
];

/// The numbers, months and codes of a text: `1.000,50` and `1,000.50` are `1000.5`, `3rd` and `tre` are `3`.
pub fn facts(text: &str) -> HashSet<String> {
    let mut found: HashSet<String> = HashSet::new();
    for word in codes(text) {
        match number(ordinal(&word)) {
            Some(number) => found.insert(number),
            None if word.chars().any(|c| c.is_ascii_digit()) => found.insert(word),
            None => false,
        };
    }
    for word in text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))) {
        found.extend(number(word.trim_matches(['.', ','])));
    }
    for word in text.split(|c: char| !c.is_alphabetic()) {
        found.extend(spelled(word));
    }
    found
}

/// A number, a month or a day of the week in letters. `May`, which is a verb too, and `sei`, which is "you are", only as they are commonest.
pub(super) fn spelled(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let is_either = |forms: &[&str; 2]| forms.contains(&lower.as_str());
    if let Some(at) = MONTHS.iter().position(is_either) {
        let is_month = lower != "may" || word == "May";
        return is_month.then(|| format!("month {}", at + 1));
    }
    let is_day = |[italian, english]: &[&str; 2]| lower == *italian || lower.trim_end_matches('s') == *english;
    if let Some(at) = WEEKDAYS.iter().position(is_day) {
        return Some(format!("weekday {}", at + 1));
    }
    let at = WORDS.iter().position(is_either).filter(|_| lower != "sei")?;
    Some((at + 2).to_string())
}

/// `3rd` without its ending.
fn ordinal(word: &str) -> &str {
    let number = word.trim_end_matches(|c: char| c.is_alphabetic());
    let is_ending = matches!(&word[number.len()..], "st" | "nd" | "rd" | "th" | "º" | "ª");
    if is_ending { number } else { word }
}

/// A number in digits, groups and decimals; `None` for addresses, versions and whatever else holds digits.
pub(super) fn number(word: &str) -> Option<String> {
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',')) {
        return None;
    }
    let decimal = decimal_mark(word);
    let (whole, fraction) = match decimal {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, ""),
    };
    let groups: Vec<&str> = whole.split(['.', ',']).collect();
    if groups.len() > 1 && groups[1..].iter().any(|group| group.len() != 3) {
        return None;
    }
    let whole = groups.concat();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// The last mark is a decimal one when both kinds occur, or when it is the only one and no group of three follows.
fn decimal_mark(word: &str) -> Option<usize> {
    let last = word.rfind(['.', ','])?;
    let mark = word.as_bytes()[last];
    let others = word.bytes().filter(|b| matches!(b, b'.' | b',') && *b != mark).count();
    let same = word.bytes().filter(|b| *b == mark).count();
    let follows = word.len() - last - 1;
    (same == 1 && (others > 0 || follows != 3)).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let expect: HashSet<String> = expect.iter().map(|fact| (*fact).to_owned()).collect();
        assert_eq!(facts(text), expect, "{text:?}");
    }

    #[test]
    fn italian_and_english_numbers_are_equal() {
        check("1.000,50 €", &["1000.5"]);
        check("EUR 1,000.50", &["1000.5"]);
        check("€1000.50", &["1000.5"]);
        check("circa 2.500 euro", &["2500"]);
        check("1,5 ore", &["1.5"]);
        check("15 ore", &["15"]);
        check("1.234.567", &["1234567"]);
        check("26 giorni, 3 marzo 2026.", &["26", "3", "2026", "month 3"]);
        check("March 3rd, within five days", &["3", "month 3", "5"]);
        check("Ogni venerdì; on Fridays", &["weekday 5"]);
        check("May I? In May it may rain.", &["month 5"]);
    }

    #[test]
    fn codes_and_addresses_stay_whole() {
        assert!(facts("errore E4021 su 10.20.0.15:5432").contains("e4021"));
        assert!(facts("errore E4021 su 10.20.0.15:5432").contains("10.20.0.15:5432"));
        assert!(!facts("10.20.0.15").contains("10200015"));
    }
}
