//! Time and date as they are spoken.

use jiff::civil::{Date, Time};
use serde::Deserialize;

/// How a language tells the time: the table `[clock]` of its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    weekdays: Vec<String>,
    months: Vec<String>,
    numbers: Vec<String>,
    days: Vec<String>,
    date: String,
    noon: String,
    midnight: String,
    exact: String,
    one_past: String,
    past: String,
    fives_past: String,
    quarter_past: String,
    half: String,
    quarter_to: String,
    fives_to: String,
    to: String,
    one_to: String,
}

impl Clock {
    /// The lists are as long as the calendar and the clock need them.
    pub(super) fn check(&self) -> Result<(), String> {
        let lists = [
            ("weekdays", self.weekdays.len(), 7),
            ("months", self.months.len(), 12),
            ("numbers", self.numbers.len(), 31),
            ("days", self.days.len(), 31),
        ];
        match lists.iter().find(|(_, length, needed)| length != needed) {
            Some((name, length, needed)) => {
                Err(format!("the list {name} of [clock] has {length} entries instead of {needed}"))
            }
            None => Ok(()),
        }
    }

    /// Such as "seven minutes past four".
    pub(super) fn time(&self, time: Time) -> String {
        let (hour, minute) = (time.hour() as usize, time.minute() as usize);
        let (hour, minutes) = if minute > 30 { (hour + 1, 60 - minute) } else { (hour, minute) };
        let template = match (minute, hour % 24) {
            (0, 0) => &self.midnight,
            (0, 12) => &self.noon,
            (0, _) => &self.exact,
            (1, _) => &self.one_past,
            (15, _) => &self.quarter_past,
            (30, _) => &self.half,
            (45, _) => &self.quarter_to,
            (59, _) => &self.one_to,
            (2..30, _) if minute % 5 == 0 => &self.fives_past,
            (2..30, _) => &self.past,
            _ if minute % 5 == 0 => &self.fives_to,
            _ => &self.to,
        };
        let hour = (hour + 11) % 12 + 1;
        template.replace("{minutes}", self.number(minutes).as_str()).replace("{hour}", self.number(hour).as_str())
    }

    /// Such as "Monday, the twenty-third of November".
    pub(super) fn date(&self, date: Date) -> String {
        let nth = |list: &[String], number: i8| list.get(number as usize - 1).cloned().unwrap_or_default();
        self.date
            .replace("{weekday}", &nth(&self.weekdays, date.weekday().to_monday_one_offset()))
            .replace("{day}", &nth(&self.days, date.day()))
            .replace("{month}", &nth(&self.months, date.month()))
    }

    /// The number in words as far as the language file goes, in digits beyond.
    pub(super) fn number(&self, number: usize) -> String {
        self.numbers.get(number).cloned().unwrap_or_else(|| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::super::language::Language;

    #[test]
    fn tells_time_and_date() {
        let clock = Language::load("en").unwrap().clock;
        let times = [
            (0, 0),
            (0, 1),
            (4, 0),
            (4, 7),
            (9, 15),
            (11, 20),
            (12, 0),
            (12, 30),
            (12, 35),
            (16, 45),
            (23, 48),
            (23, 59),
        ];
        let spoken: Vec<_> = times.iter().map(|&(hour, minute)| clock.time(time(hour, minute, 59, 0))).collect();
        insta::assert_snapshot!(spoken.join("\n"), @"
        midnight
        one minute past twelve
        four o'clock
        seven minutes past four
        a quarter past nine
        twenty past eleven
        noon
        half past twelve
        twenty-five to one
        a quarter to five
        twelve minutes to twelve
        one minute to twelve
        ");
        assert_eq!(clock.date(date(2026, 11, 23)), "Monday, the twenty-third of November");
        assert_eq!(clock.number(31), "31");
    }
}
