//! Text as flite can read it: ASCII, in pieces short enough to start soon, and still known by its place in the clause.

use std::ops::Range;

/// A piece this long ends at the next sentence: shorter ones would make the voice breathe at every abbreviation.
const PIECE_MIN: usize = 80;

/// A piece never gets longer. Nothing is heard before the whole piece is analysed, about 1 ms for 10 letters.
const PIECE_MAX: usize = 240;

/// Currency signs that are read behind the amount they stand before. flite knows the dollar.
const CURRENCIES: [(char, &str); 3] = [('£', "pounds"), ('€', "euros"), ('¥', "yen")];

/// Words that belong to the amount before them.
const MAGNITUDES: [&str; 5] = ["hundred", "thousand", "million", "billion", "trillion"];

/// A clause in ASCII.
pub(super) struct Plain {
    text: String,
    /// For each byte of `text`, the byte in the clause behind the letter it came from.
    origin: Vec<usize>,
}

impl Plain {
    /// Transliterates `clause`: letters lose their accents, signs become the words or the punctuation they stand for,
    /// and what has no sound (emoji, markup, control characters) becomes a space.
    pub(super) fn new(clause: &str) -> Self {
        let mut plain = Self { text: String::new(), origin: Vec::new() };
        let mut amount: Option<(usize, &str)> = None;
        let mut before = ' ';
        for (at, letter) in clause.char_indices() {
            if let Some((_, currency)) = amount.take_if(|(end, _)| *end == at) {
                plain.push(&format!(" {currency}"), at);
            }
            let rest = &clause[at + letter.len_utf8()..];
            let end = at + letter.len_utf8();
            if let Some((_, word)) = CURRENCIES.iter().find(|(sign, _)| *sign == letter) {
                match amount_len(rest) {
                    0 => plain.push(&format!(" {word} "), end),
                    length => amount = Some((end + length, word)),
                }
            } else {
                let ranges = before.is_ascii_digit() && rest.starts_with(|next: char| next.is_ascii_digit());
                plain.push(reading(letter, ranges), end);
            }
            before = letter;
        }
        if let Some((end, currency)) = amount {
            plain.push(&format!(" {currency}"), end);
        }
        plain
    }

    fn push(&mut self, ascii: &str, end: usize) {
        self.text.push_str(ascii);
        self.origin.resize(self.text.len(), end);
    }

    /// The parts to be spoken one after the other, those without a letter or digit left out.
    pub(super) fn pieces(&self) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < self.text.len() {
            let end = start + piece_len(&self.text[start..]);
            if self.text[start..end].contains(|letter: char| letter.is_ascii_alphanumeric()) {
                pieces.push(start..end);
            }
            start = end;
        }
        pieces
    }

    /// The text of a piece.
    pub(super) fn get(&self, piece: Range<usize>) -> &str {
        &self.text[piece]
    }

    /// Finds `token` behind `cursor`, moves the cursor behind it and returns its end in the clause.
    pub(super) fn locate(&self, token: &str, cursor: &mut usize) -> Option<usize> {
        let found = self.text.get(*cursor..)?.find(token)?;
        *cursor += found + token.len();
        self.origin.get(cursor.checked_sub(1)?).copied()
    }
}

/// How one letter is read. `between_digits`: it stands between two digits.
fn reading(letter: char, between_digits: bool) -> &'static str {
    match letter {
        // flite would read these out by name.
        '*' | '_' | '~' | '^' | '|' | '\\' | '<' | '>' | '`' => " ",
        '‘' | '’' | 'ʼ' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '–' if between_digits => " to ",
        '–' | '—' | '―' | '…' => ", ",
        '−' => "-",
        '°' => " degrees ",
        '×' if between_digits => " by ",
        _ if letter.is_control() => " ",
        _ => match deunicode::deunicode_char(letter) {
            Some(ascii) if letter.is_ascii() || letter.is_alphanumeric() || ascii.is_empty() => ascii,
            _ => " ",
        },
    }
}

/// Length of the amount `text` begins with: digits with their separators, and a magnitude behind them.
fn amount_len(text: &str) -> usize {
    let number = text.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(text.len());
    let number = text[..number].trim_end_matches([',', '.']).len();
    let Some(behind) = text[number..].strip_prefix(' ') else { return number };
    let word = behind.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    if number > 0 && MAGNITUDES.contains(&word) { number + 1 + word.len() } else { number }
}

/// Length of the first piece of `text`, which is ASCII.
fn piece_len(text: &str) -> usize {
    let limit = text.len().min(PIECE_MAX);
    let sentence = (PIECE_MIN..limit).find(|&at| {
        matches!(text.as_bytes()[at - 1], b'.' | b'!' | b'?' | b';' | b':') && text.as_bytes()[at].is_ascii_whitespace()
    });
    match sentence {
        Some(end) => end,
        None if text.len() <= PIECE_MAX => text.len(),
        None => {
            let comma = text[PIECE_MIN..limit].rfind(", ").map(|at| PIECE_MIN + at + 1);
            let space = || text[PIECE_MIN..limit].rfind(' ').map(|at| PIECE_MIN + at);
            comma.or_else(space).unwrap_or(limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_written_in_newsrooms() {
        let read = |clause| Plain::new(clause).text;
        assert_eq!(read("“It’s” naïve — Müller…"), "\"It's\" naive ,  Muller, ");
        assert_eq!(read("2019–2024"), "2019 to 2024");
        assert_eq!(read("£5,000, €3.5 million and ¥70"), "5,000 pounds, 3.5 million euros and 70 yen");
        assert_eq!(read("the € fell"), "the  euros  fell");
        assert_eq!(read("−5°"), "-5 degrees ");
        assert_eq!(read("**bold** \u{1f600}\0\u{7}"), "  bold      ");
        assert_eq!(read("cafe\u{301} 北京"), "cafe Bei Jing ");
    }

    #[test]
    fn knows_where_a_token_came_from() {
        let clause = "Müller’s £5 million — €2.";
        let plain = Plain::new(clause);
        let mut cursor = 0;
        let mut ends = |token| plain.locate(token, &mut cursor).map(|end| &clause[..end]);
        assert_eq!(ends("Muller's"), Some("Müller’s"));
        assert_eq!(ends("5"), Some("Müller’s £5"));
        assert_eq!(ends("pounds"), Some("Müller’s £5 million"));
        assert_eq!(ends("2"), Some("Müller’s £5 million — €2"));
        assert_eq!(ends("nothing"), None);
    }

    #[test]
    fn pieces_are_short_whole_and_speakable() {
        let pieces = |text: &str| {
            let plain = Plain::new(text);
            plain.pieces().into_iter().map(|piece| plain.get(piece).to_owned()).collect::<Vec<_>>()
        };
        assert!(pieces("").is_empty());
        assert!(pieces(" ... — !").is_empty());
        assert_eq!(pieces("Dr. Smith spoke. He sat."), ["Dr. Smith spoke. He sat."]);
        let long = "The council met again on Tuesday, and it was late, ".repeat(20);
        assert_eq!(pieces(&long).concat(), long.trim_end().to_owned() + " ");
        assert!(pieces(&long).iter().all(|piece| piece.len() <= PIECE_MAX && piece.trim_end().ends_with(',')));
        let sentences = "The council met again on Tuesday and sat until the morning without a single break at all. ";
        assert_eq!(pieces(&sentences.repeat(2)).len(), 2);
        assert!(pieces(&"a".repeat(10_000)).iter().all(|piece| piece.len() == PIECE_MAX || piece.len() == 160));
    }
}
