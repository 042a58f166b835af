//! Numbers as people read them aloud: `£3.5 million` is "three point five million pounds".
//!
//! British reading ("two hundred and forty"), since it is the longer one; who leaves the "and" out is understood as well.

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(u64, &str); 4] =
    [(1_000_000_000_000, "trillion"), (1_000_000_000, "billion"), (1_000_000, "million"), (1_000, "thousand")];

/// Words that may follow a number of money and belong between it and its currency.
const MAGNITUDES: [&str; 5] = ["thousand", "million", "billion", "trillion", "m"];

/// Numbers with more digits than this are read digit by digit.
const MOST_DIGITS: usize = 15;

/// `text` with every number in it written out; everything else is left as it is.
pub fn spell_out(text: &str) -> String {
    let mut words = Vec::new();
    let mut tokens = text.split_whitespace().peekable();
    while let Some(token) = tokens.next() {
        let bare = token.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '\'', '”', '’']);
        let (open, core) = bare.split_at(bare.len() - bare.trim_start_matches(['(', '"', '\'', '“', '‘']).len());
        let trailing = &token[bare.len()..];
        let Some(mut reading) = read(core) else {
            words.push(token.to_owned());
            continue;
        };
        if let Some(currency) = reading.currency {
            if trailing.is_empty()
                && let Some(next) = tokens.peek()
                && let scale = next.trim_end_matches(|c: char| !c.is_alphanumeric())
                && MAGNITUDES.contains(&scale)
            {
                let rest = &next[scale.len()..];
                words.push(format!(
                    "{open}{} {} {}{rest}",
                    reading.words,
                    if scale == "m" { "million" } else { scale },
                    currency.1
                ));
                tokens.next();
                continue;
            }
            reading.words =
                format!("{} {}", reading.words, if reading.words == "one" { currency.0 } else { currency.1 });
        }
        words.push(format!("{open}{}{trailing}", reading.words));
    }
    words.join(" ")
}

/// A number in words, and the currency that still has to be said: one of it, more of it.
struct Reading {
    words: String,
    currency: Option<(&'static str, &'static str)>,
}

/// Reads one token, `None` if it is no number.
fn read(token: &str) -> Option<Reading> {
    let plain = |words: String| Some(Reading { words, currency: None });
    if let Some(amount) = token.strip_suffix('%') {
        return plain(format!("{} percent", amount_words(amount)?));
    }
    for (sign, one, more) in [('£', "pound", "pounds"), ('$', "dollar", "dollars"), ('€', "euro", "euros")] {
        if let Some(amount) = token.strip_prefix(sign) {
            let (amount, scale) = match amount.strip_suffix(['m', 'M']) {
                Some(amount) => (amount, " million"),
                None => {
                    (amount.strip_suffix("bn").unwrap_or(amount), if amount.ends_with("bn") { " billion" } else { "" })
                }
            };
            return Some(Reading { words: amount_words(amount)? + scale, currency: Some((one, more)) });
        }
    }
    for suffix in ["st", "nd", "rd", "th"] {
        if let Some(number) = token.strip_suffix(suffix) {
            return plain(ordinal(digits(number)?));
        }
    }
    if let Some((hours, minutes)) = token.split_once(':') {
        return plain(clock(digits(hours)?, digits(minutes)?)?);
    }
    if let Some((from, to)) = token.split_once(['-', '–'])
        && !from.is_empty()
    {
        return plain(format!("{} {}", amount_words(from)?, amount_words(to)?));
    }
    if token.len() == 4
        && let Some(year @ (1100..2000 | 2010..2100)) = digits(token)
    {
        return plain(self::year(year));
    }
    plain(amount_words(token)?)
}

/// `1,234`, `3.5` and the like.
fn amount_words(amount: &str) -> Option<String> {
    let (whole, fraction) = match amount.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (amount, None),
    };
    let grouped = whole.replace(',', "");
    let mut words = cardinal(digits(&grouped)?);
    if let Some(fraction) = fraction {
        digits(fraction)?;
        words += " point";
        for digit in fraction.bytes() {
            words = words + " " + UNITS[usize::from(digit - b'0')];
        }
    }
    Some(words)
}

fn digits(text: &str) -> Option<u64> {
    let valid = !text.is_empty() && text.len() <= MOST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

/// 240 is "two hundred and forty".
pub fn cardinal(number: u64) -> String {
    if number < 20 {
        return UNITS[number as usize].into();
    }
    if number < 100 {
        return joined(TENS[number as usize / 10], " ", number % 10);
    }
    if number < 1000 {
        return joined(&format!("{} hundred", UNITS[number as usize / 100]), " and ", number % 100);
    }
    let (size, scale) = SCALES.into_iter().find(|(size, _)| number >= *size).unwrap_or((1_000, "thousand"));
    let rest = number % size;
    joined(&format!("{} {scale}", cardinal(number / size)), if rest < 100 { " and " } else { " " }, rest)
}

fn joined(head: &str, glue: &str, rest: u64) -> String {
    if rest == 0 { head.into() } else { format!("{head}{glue}{}", cardinal(rest)) }
}

/// 21 is "twenty first".
pub fn ordinal(number: u64) -> String {
    let words = cardinal(number);
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(head, last)| (head, last));
    let last = match last {
        "one" => "first".into(),
        "two" => "second".into(),
        "three" => "third".into(),
        "five" => "fifth".into(),
        "eight" => "eighth".into(),
        "nine" => "ninth".into(),
        "twelve" => "twelfth".into(),
        other => other.strip_suffix('y').map_or_else(|| format!("{other}th"), |stem| format!("{stem}ieth")),
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// 1974 is "nineteen seventy four".
fn year(year: u64) -> String {
    let century = cardinal(year / 100);
    match year % 100 {
        0 => format!("{century} hundred"),
        rest @ 1..10 => format!("{century} oh {}", cardinal(rest)),
        rest => format!("{century} {}", cardinal(rest)),
    }
}

/// 19:45 is "seven forty five".
fn clock(hours: u64, minutes: u64) -> Option<String> {
    if hours > 24 || minutes > 59 {
        return None;
    }
    let hour = cardinal(match hours % 12 {
        0 => 12,
        hour => hour,
    });
    Some(match minutes {
        0 => format!("{hour} o'clock"),
        1..10 => format!("{hour} oh {}", cardinal(minutes)),
        _ => format!("{hour} {}", cardinal(minutes)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_people_do() {
        for (written, spoken) in [
            ("14", "fourteen"),
            ("240", "two hundred and forty"),
            ("1,250", "one thousand two hundred and fifty"),
            ("3,005,000", "three million five thousand"),
            ("1974", "nineteen seventy four"),
            ("2027", "twenty twenty seven"),
            ("2000", "two thousand"),
            ("2005", "two thousand and five"),
            ("3rd", "third"),
            ("21st", "twenty first"),
            ("30th", "thirtieth"),
            ("12%", "twelve percent"),
            ("0.25", "zero point two five"),
            ("19:45", "seven forty five"),
            ("9:00", "nine o'clock"),
            ("3-1", "three one"),
        ] {
            assert_eq!(spell_out(written), spoken, "{written}");
        }
    }

    #[test]
    fn money_is_named_behind_its_magnitude() {
        assert_eq!(
            spell_out("It costs £3.5 million, they say."),
            "It costs three point five million pounds, they say."
        );
        assert_eq!(spell_out("(€1) or $20m."), "(one euro) or twenty million dollars.");
    }

    #[test]
    fn leaves_the_rest_alone() {
        for text in ["", "Marlow's by-election", "B2 -5 £ % 1.2.3 th 99999999999999999999 25:61 £x"] {
            assert_eq!(spell_out(text), text);
        }
    }
}
