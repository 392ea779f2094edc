//! The day of a document's last change, in the ways that formats write it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// What is dated earlier bears the first day of a clock, not its own.
const YEAR_MIN: i16 = 1990;
/// Of the templates that python-pptx and python-docx make every file from.
const OF_TEMPLATES: [&str; 2] = ["2013-01-27T09:15:58Z", "2013-12-23T23:15:00Z"];

/// `2026-03-31`, alone or with a time behind it.
pub(super) fn iso(text: &str) -> Option<Date> {
    let text = text.trim();
    plausible(text.get(..10)?.parse().ok()?).filter(|_| !OF_TEMPLATES.contains(&text))
}

/// `D:20260331143005+02'00'`, as PDF writes it.
pub(super) fn compact(text: &str) -> Option<Date> {
    let digits = text.trim().trim_start_matches("D:").get(..8)?;
    plausible(Date::strptime("%Y%m%d", digits).ok()?)
}

/// Of a year, a month and a day.
pub(super) fn of_numbers(year: u16, month: u8, day: u8) -> Option<Date> {
    let small = |number: u8| i8::try_from(number).ok();
    plausible(Date::new(year.try_into().ok()?, small(month)?, small(day)?).ok()?)
}

/// Not later than tomorrow, which somewhere it is already.
fn plausible(date: Date) -> Option<Date> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let is_past = today.tomorrow().is_ok_and(|tomorrow| date <= tomorrow);
    (date.year() >= YEAR_MIN && is_past).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_however_a_format_writes_them() {
        let day = Some(jiff::civil::date(2026, 3, 31));
        for text in ["2026-03-31", " 2026-03-31T14:30:05Z ", "2026-03-31 14:30"] {
            assert_eq!(iso(text), day, "{text}");
        }
        for text in ["D:20260331143005+02'00'", "20260331", "D:202603311430"] {
            assert_eq!(compact(text), day, "{text}");
        }
        assert_eq!(of_numbers(2026, 3, 31), day);
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "",
            "31/03/2026",
            "2026-13-01",
            "2026-02-30",
            "1970-01-01",
            "31 marzo 2026",
            "2026-03-3è",
            "2199-01-01",
            OF_TEMPLATES[0],
        ] {
            assert_eq!(iso(text), None, "{text}");
        }
        for text in ["D:", "D:19700101000000Z", "D:2026", "31 March 2026", "D:2026033è"] {
            assert_eq!(compact(text), None, "{text}");
        }
        assert_eq!(of_numbers(2026, 2, 30), None);
        assert_eq!(of_numbers(u16::MAX, 200, 1), None);
    }
}
