//! Numbers as a spreadsheet shows them. Thousands are not grouped: the file does not say whether by point or by comma,
//! and `1234.5` has one meaning only.

/// Days of the longest span that a spreadsheet counts: to the end of the year 9999.
const DAYS_MAX: f64 = 2_958_466.0;
/// More decimals than these are noise of binary fractions.
const DECIMALS_MAX: usize = 15;

/// How a number is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    General,
    Number {
        decimals: usize,
        /// Of `decimals`, those that are shown even if they are zero.
        fixed: usize,
        percent: bool,
        before: String,
        after: String,
    },
    Moment {
        date: bool,
        time: bool,
        seconds: bool,
    },
    /// Hours that go on after the 24th.
    Duration,
}

impl Shape {
    /// The formats that every file has without saying so (ECMA-376, 18.8.30).
    pub(super) fn built_in(id: u32) -> Shape {
        Shape::of_code(match id {
            1 | 3 | 5 | 6 | 37 | 38 | 41 | 42 => "0",
            2 | 4 | 7 | 8 | 39 | 40 | 43 | 44 => "0.00",
            9 => "0%",
            10 => "0.00%",
            14..=17 | 27..=31 | 34..=36 | 50..=54 | 57 | 58 => "yyyy-mm-dd",
            18 | 20 | 32 | 33 | 55 | 56 => "h:mm",
            19 | 21 | 45 | 47 => "h:mm:ss",
            22 => "yyyy-mm-dd h:mm",
            46 => "[h]:mm:ss",
            _ => "General",
        })
    }

    /// Reads a format code: its first section, the one of positive numbers.
    pub(super) fn of_code(code: &str) -> Shape {
        let mut parts = Parts::default();
        let mut chars = code.chars();
        while let Some(c) = chars.next() {
            match c {
                ';' => break,
                '"' => parts.literal(&chars.by_ref().take_while(|c| *c != '"').collect::<String>()),
                '\\' => parts.literal(chars.next().unwrap_or(' ').encode_utf8(&mut [0; 4])),
                // A space as wide as the next character, a character that fills the cell.
                '_' | '*' => {
                    chars.next();
                }
                '[' => parts.bracket(&chars.by_ref().take_while(|c| *c != ']').collect::<String>()),
                '0' | '#' | '?' => parts.digit(c),
                '.' if parts.digits => parts.point = true,
                '%' => parts.percent = true,
                c if c.is_ascii_alphabetic() => parts.letters.push(c.to_ascii_lowercase()),
                ',' | '.' | '@' => {}
                c => parts.literal(c.encode_utf8(&mut [0; 4])),
            }
        }
        parts.shape()
    }

    pub(super) fn show(&self, number: f64, from_1904: bool) -> String {
        match self {
            Shape::Moment { date, time, seconds } if (0.0..DAYS_MAX).contains(&number) => {
                moment(number, from_1904, *date, *time, *seconds)
            }
            Shape::Duration if (0.0..DAYS_MAX).contains(&number) => {
                let seconds = (number * 86_400.0).round() as u64;
                clock(seconds, !seconds.is_multiple_of(60))
            }
            Shape::Number { decimals, fixed, percent, before, after } => {
                let number = if *percent { number * 100.0 } else { number };
                let mut digits = format!("{:.decimals$}", number.abs());
                while digits.ends_with('0') && decimals_of(&digits) > *fixed {
                    digits.pop();
                }
                let digits = digits.trim_end_matches('.');
                let sign = if number < 0.0 && digits.contains(|c| ('1'..='9').contains(&c)) { "-" } else { "" };
                format!("{before}{sign}{digits}{}{after}", if *percent { "%" } else { "" })
            }
            _ => general(number),
        }
    }
}

fn decimals_of(digits: &str) -> usize {
    digits.find('.').map_or(0, |point| digits.len() - point - 1)
}

#[derive(Default)]
struct Parts {
    digits: bool,
    point: bool,
    decimals: usize,
    fixed: usize,
    percent: bool,
    duration: bool,
    before: String,
    after: String,
    /// Letters that stand for parts of a date, or for `General`.
    letters: String,
}

impl Parts {
    fn digit(&mut self, c: char) {
        self.digits = true;
        if self.point {
            self.decimals += 1;
            if c == '0' {
                self.fixed = self.decimals;
            }
        }
    }

    fn literal(&mut self, text: &str) {
        if self.digits { &mut self.after } else { &mut self.before }.push_str(text);
    }

    /// `[$€-410]` is a currency, `[h]` a duration; colours and conditions are not shown.
    fn bracket(&mut self, inside: &str) {
        if let Some(currency) = inside.strip_prefix('$') {
            self.literal(currency.split('-').next().unwrap_or_default());
        } else if !inside.is_empty() && inside.chars().all(|c| "hHmMsS".contains(c)) {
            self.duration = true;
        }
    }

    fn shape(self) -> Shape {
        let letters = self.letters.replace("ampm", "h");
        let has = |wanted: &str| letters.contains(|c| wanted.contains(c));
        // Scientific notation, and `Standard` as some writers put it.
        if letters.starts_with("general") || letters.starts_with("standard") || (self.digits && letters == "e") {
            return Shape::General;
        }
        if self.duration {
            return Shape::Duration;
        }
        if has("ydhsm") {
            let time = has("hs");
            // `m` stands for months, and for minutes beside hours or seconds.
            let date = has("yd") || !time;
            return Shape::Moment { date, time, seconds: has("s") };
        }
        if !self.digits {
            return Shape::General;
        }
        let decimals = self.decimals.min(DECIMALS_MAX);
        let (before, after) = (self.before.trim_start().to_owned(), self.after.trim_end().to_owned());
        Shape::Number { decimals, fixed: self.fixed, percent: self.percent, before, after }
    }
}

fn moment(days: f64, from_1904: bool, date: bool, time: bool, with_seconds: bool) -> String {
    let total = (days * 86_400.0).round() as u64;
    let (day, seconds) = (total / 86_400, total % 86_400);
    let clock = clock(seconds, with_seconds && !seconds.is_multiple_of(60));
    // Day 0 is no day: a number below 1 is a time, whatever its format says besides.
    if !date || (day == 0 && !from_1904 && time) {
        return clock;
    }
    // Days since 1 March of the year 0; spreadsheets take 1900 for a leap year, so that days before March shift by one.
    let epoch = if from_1904 { 695_361 } else { 693_899 + u64::from(day < 60) };
    let date = iso_date(epoch + day);
    if time && seconds > 0 { format!("{date} {clock}") } else { date }
}

fn clock(seconds: u64, with_seconds: bool) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    if with_seconds {
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
    } else {
        format!("{hours:02}:{minutes:02}")
    }
}

/// The date of a day counted from 1 March of the year 0, by the Gregorian calendar.
fn iso_date(days: u64) -> String {
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// 0.1 + 0.2 is shown as 0.3: with 15 digits, as spreadsheets do.
fn general(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-9..1e15).contains(&magnitude) {
        return format!("{number:e}");
    }
    let rounded = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_their_format_says() {
        for (code, number, shown) in [
            ("General", 0.1 + 0.2, "0.3"),
            ("General", 1_000_000.0, "1000000"),
            ("General", -2.5, "-2.5"),
            ("0", 2.6, "3"),
            ("#,##0.00", 1234.5, "1234.50"),
            ("0.0#", 1.0, "1.0"),
            ("0.##", 1.0, "1"),
            ("0%", 0.12, "12%"),
            ("0.0%", -0.125, "-12.5%"),
            ("#,##0.00\\ \"€\"", 12.5, "12.50 €"),
            ("[$€-410] #,##0.00;[Red]-[$€-410] #,##0.00", -3.0, "€ -3.00"),
            ("_-* #,##0.00\\ [$€-1]_-", 7.0, "7.00 €"),
            ("0.00", -0.001, "0.00"),
            ("yyyy\\-mm\\-dd", 46_112.0, "2026-03-31"),
            ("dd/mm/yyyy hh:mm", 46_112.604_166_666_7, "2026-03-31 14:30"),
            ("[$-410]mmm yy;@", 61.0, "1900-03-01"),
            ("d/m/yyyy", 1.0, "1900-01-01"),
            ("h:mm AM/PM", 0.75, "18:00"),
            ("mm:ss", 0.000_694_444_444, "00:01"),
            ("[h]:mm", 1.5, "36:00"),
            ("0.00E+00", 12.0, "12"),
            ("yyyy-mm-dd", -1.0, "-1"),
            ("yyyy-mm-dd", 1e300, "1e300"),
            ("General", f64::NAN, "NaN"),
        ] {
            assert_eq!(Shape::of_code(code).show(number, false), shown, "{code} {number}");
        }
        assert_eq!(Shape::of_code("yyyy-mm-dd").show(0.0, true), "1904-01-01");
        assert_eq!(Shape::built_in(14).show(45_292.0, false), "2024-01-01");
        assert_eq!(Shape::built_in(0), Shape::General);
    }
}
