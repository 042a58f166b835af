//! How a word that stands in no dictionary is probably said: letters to the phones of the acoustic model.
//!
//! The phones are the 39 of the CMU Pronouncing Dictionary, without stress. The rules are a first-match table over the
//! spelling, in the manner of Elovitz et al., "Letter-to-sound rules for automatic translation of English text to
//! phonetics" (IEEE Trans. ASSP 24(6), 1976), chosen for names of people and places.

/// Longest word that is given a pronunciation; what is longer is no word anybody says.
const LONGEST: usize = 40;

/// What `word` may sound like, phones separated by spaces: in the English way, and with continental vowels where that
/// makes a difference, since nothing in a name says which it wants. Nothing if it has no letters to go by.
pub(super) fn pronounce(word: &str) -> Vec<String> {
    let letters: Vec<char> = plain_letters(word).take(LONGEST + 1).collect();
    if letters.is_empty() || letters.len() > LONGEST {
        return Vec::new();
    }
    if !letters.iter().any(|letter| is_vowel(*letter) || *letter == 'y') {
        return spell(word).into_iter().collect();
    }
    let mut said: Vec<String> =
        [false, true].into_iter().map(|continental| apply_rules(&letters, continental)).collect();
    said.dedup();
    said.retain(|phones| !phones.is_empty());
    said
}

fn apply_rules(letters: &[char], continental: bool) -> String {
    let mut phones = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let (length, sound) = longest_rule(letters, at);
        let sound = match letters[at] {
            'a' if continental && sound == "EY" && length == 1 => "AA",
            'e' if continental && sound == "IY" && length == 1 => "EY",
            _ => sound,
        };
        phones.extend(sound.split_whitespace());
        at += length;
    }
    // A doubled consonant is one sound.
    phones.dedup();
    phones.join(" ")
}

/// The names of the letters of `word` one after the other: "BBC".
pub(super) fn spell(word: &str) -> Option<String> {
    let names: Vec<&str> = plain_letters(word).map(letter_name).collect();
    (!names.is_empty() && names.len() <= LONGEST).then(|| names.join(" "))
}

/// The letters of the English alphabet nearest to those of `word`.
fn plain_letters(word: &str) -> impl Iterator<Item = char> {
    word.chars()
        .filter(|letter| letter.is_alphabetic())
        .filter_map(deunicode::deunicode_char)
        .flat_map(str::chars)
        .filter(char::is_ascii_alphabetic)
        .map(|letter| letter.to_ascii_lowercase())
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// Length and sound of the longest rule that fits at `at`; the earlier in the table wins among equals.
fn longest_rule(letters: &[char], at: usize) -> (usize, &'static str) {
    let fits = |(before, spelling, after, _): &&Rule| {
        let end = at + spelling.len();
        end <= letters.len()
            && spelling.chars().eq(letters[at..end].iter().copied())
            && before.fits(at.checked_sub(1).map(|before| letters[before]), &letters[end..])
            && after.fits(letters.get(end).copied(), &letters[end..])
    };
    RULES
        .iter()
        .filter(fits)
        .rev()
        .max_by_key(|(_, spelling, _, _)| spelling.len())
        .map_or((1, ""), |(_, spelling, _, sound)| (spelling.len(), *sound))
}

/// What has to stand beside a spelling.
#[derive(Clone, Copy)]
enum Beside {
    /// Anything.
    Any,
    /// Nothing: the word begins or ends here.
    Edge,
    /// Some letter.
    Letter,
    /// A vowel or y.
    Vowel,
    /// A consonant.
    Consonant,
    /// e, i or y, which soften c and g.
    Soft,
    /// One consonant and a vowel or y, which make the vowel before them long.
    Open,
}

impl Beside {
    fn fits(self, neighbour: Option<char>, behind: &[char]) -> bool {
        let vowel = |letter: char| is_vowel(letter) || letter == 'y';
        match self {
            Self::Any => true,
            Self::Edge => neighbour.is_none(),
            Self::Letter => neighbour.is_some(),
            Self::Vowel => neighbour.is_some_and(vowel),
            Self::Consonant => neighbour.is_some_and(|letter| !vowel(letter)),
            Self::Soft => neighbour.is_some_and(|letter| matches!(letter, 'e' | 'i' | 'y')),
            Self::Open => matches!(behind, [c, v, ..] if !vowel(*c) && !matches!(c, 'x' | 'w') && vowel(*v)),
        }
    }
}

/// Left neighbour, spelling, right neighbour, sound.
type Rule = (Beside, &'static str, Beside, &'static str);

use Beside::{Any, Consonant, Edge, Letter, Open, Soft, Vowel};

#[rustfmt::skip]
const RULES: &[Rule] = &[
    // Endings of places and families.
    (Letter, "ton", Edge, "T AH N"), (Letter, "ham", Edge, "AH M"), (Letter, "shire", Edge, "SH ER"),
    (Letter, "bury", Edge, "B EH R IY"), (Letter, "borough", Edge, "B ER OW"), (Letter, "burgh", Edge, "B ER AH"),
    (Letter, "ford", Edge, "F ER D"), (Letter, "wick", Edge, "W IH K"), (Letter, "wich", Edge, "W IH CH"),
    (Letter, "mouth", Edge, "M AH TH"), (Letter, "stow", Edge, "S T OW"), (Letter, "low", Edge, "L OW"),
    (Letter, "ley", Edge, "L IY"), (Letter, "ski", Edge, "S K IY"), (Letter, "sky", Edge, "S K IY"),
    (Letter, "ville", Edge, "V IH L"), (Letter, "vich", Edge, "V IH CH"), (Letter, "escu", Edge, "EH S K UW"),
    (Letter, "combe", Edge, "K AH M"), (Letter, "worth", Edge, "W ER TH"), (Letter, "man", Edge, "M AH N"),
    (Letter, "son", Edge, "S AH N"), (Letter, "land", Edge, "L AH N D"), (Letter, "well", Edge, "W EH L"),
    (Letter, "stead", Edge, "S T EH D"), (Letter, "field", Edge, "F IY L D"), (Letter, "minster", Edge, "M IH N S T ER"),
    // Endings of words.
    (Letter, "tion", Any, "SH AH N"), (Letter, "sion", Any, "ZH AH N"), (Letter, "cian", Edge, "SH AH N"),
    (Letter, "ture", Edge, "CH ER"), (Letter, "tious", Edge, "SH AH S"), (Letter, "cious", Edge, "SH AH S"),
    (Letter, "ous", Edge, "AH S"), (Letter, "able", Edge, "AH B AH L"), (Letter, "ible", Edge, "AH B AH L"),
    (Consonant, "le", Edge, "AH L"), (Consonant, "les", Edge, "AH L Z"), (Letter, "ing", Edge, "IH NG"),
    (Letter, "ings", Edge, "IH NG Z"), (Letter, "ment", Edge, "M AH N T"), (Letter, "ness", Edge, "N AH S"),
    (Letter, "less", Edge, "L AH S"), (Letter, "ted", Edge, "T IH D"), (Letter, "ded", Edge, "D IH D"),
    (Letter, "ed", Edge, "D"), (Letter, "es", Edge, "IH Z"), (Letter, "er", Edge, "ER"), (Letter, "ers", Edge, "ER Z"),
    (Letter, "or", Edge, "ER"), (Letter, "ia", Edge, "IY AH"), (Letter, "io", Edge, "IY OW"), (Letter, "ius", Edge, "IY AH S"),
    (Letter, "el", Edge, "AH L"), (Letter, "al", Edge, "AH L"), (Letter, "an", Edge, "AH N"), (Letter, "en", Edge, "AH N"),
    (Letter, "on", Edge, "AH N"), (Letter, "us", Edge, "AH S"), (Letter, "et", Edge, "AH T"), (Letter, "age", Edge, "IH JH"),
    (Letter, "ey", Edge, "IY"), (Letter, "ie", Edge, "IY"), (Letter, "ies", Edge, "IY Z"), (Letter, "y", Edge, "IY"),
    (Letter, "ez", Edge, "EH Z"), (Letter, "eau", Edge, "OW"), (Letter, "eaux", Edge, "OW"),
    // a
    (Any, "a", Edge, "AH"), (Any, "a", Open, "EY"), (Any, "a", Any, "AE"), (Any, "aa", Any, "AA"), (Any, "ae", Any, "EY"),
    (Any, "ai", Any, "EY"), (Any, "air", Any, "EH R"), (Any, "al", Consonant, "AO L"), (Any, "all", Edge, "AO L"),
    (Any, "alk", Any, "AO K"), (Any, "alm", Any, "AA M"), (Any, "ar", Any, "AA R"), (Any, "are", Edge, "EH R"),
    (Any, "arr", Any, "AE R"), (Any, "ari", Any, "AA R IY"), (Any, "au", Any, "AO"), (Any, "augh", Any, "AO"),
    (Any, "aw", Any, "AO"), (Any, "ay", Any, "EY"), (Any, "ange", Any, "EY N JH"),
    // b
    (Any, "b", Any, "B"), (Any, "mb", Edge, "M"),
    // c
    (Any, "c", Soft, "S"), (Any, "c", Any, "K"), (Any, "cc", Soft, "K S"), (Any, "ch", Any, "CH"), (Any, "chr", Any, "K R"),
    (Any, "ck", Any, "K"), (Any, "cz", Any, "CH"), (Any, "sch", Any, "SH"), (Any, "tch", Any, "CH"),
    // d
    (Any, "d", Any, "D"), (Any, "dg", Soft, "JH"), (Any, "dge", Edge, "JH"), (Edge, "dh", Any, "D"),
    // e
    (Letter, "e", Edge, ""), (Any, "e", Open, "IY"), (Any, "e", Any, "EH"), (Any, "ea", Any, "IY"), (Any, "ead", Any, "EH D"),
    (Any, "ear", Any, "IH R"), (Any, "ee", Any, "IY"), (Any, "eer", Any, "IH R"), (Any, "ei", Any, "AY"), (Any, "eigh", Any, "EY"),
    (Any, "eir", Any, "IH R"), (Any, "er", Vowel, "EH R"), (Any, "er", Any, "ER"), (Any, "err", Any, "EH R"), (Any, "eu", Any, "Y UW"),
    (Any, "ew", Any, "UW"), (Any, "ey", Any, "EY"), (Any, "enc", Any, "EH N S"), (Any, "est", Any, "EH S T"), (Any, "eo", Any, "IY OW"),
    // f
    (Any, "f", Any, "F"),
    // g
    (Vowel, "g", Soft, "JH"), (Any, "g", Any, "G"), (Any, "ge", Edge, "JH"), (Vowel, "gh", Any, ""), (Any, "gh", Any, "G"),
    (Edge, "gn", Any, "N"), (Any, "gu", Soft, "G"), (Letter, "gue", Edge, "G"),
    // h
    (Any, "h", Vowel, "HH"), (Any, "h", Any, ""),
    // i
    (Any, "i", Edge, "IY"), (Any, "i", Open, "IY"), (Any, "i", Any, "IH"), (Any, "ia", Any, "IY AH"), (Any, "ie", Any, "IY"),
    (Any, "ier", Any, "IH R"), (Any, "igh", Any, "AY"), (Any, "ight", Any, "AY T"), (Any, "ild", Edge, "AY L D"), (Any, "ind", Edge, "AY N D"),
    (Any, "ir", Vowel, "IH R"), (Any, "ir", Any, "ER"), (Any, "ine", Edge, "AY N"), (Any, "ile", Edge, "AY L"), (Any, "ide", Edge, "AY D"),
    (Any, "ime", Edge, "AY M"), (Any, "ike", Edge, "AY K"), (Any, "ite", Edge, "AY T"), (Any, "ive", Edge, "IH V"), (Any, "ise", Edge, "AY Z"),
    (Any, "ice", Edge, "IH S"), (Any, "io", Any, "IY OW"), (Any, "iu", Any, "IY UW"), (Any, "ique", Edge, "IY K"),
    // j
    (Any, "j", Any, "JH"),
    // k
    (Any, "k", Any, "K"), (Edge, "kn", Any, "N"), (Any, "kh", Any, "K"),
    // l
    (Any, "l", Any, "L"), (Edge, "ll", Any, "L"),
    // m
    (Any, "m", Any, "M"), (Edge, "mc", Any, "M AH K"), (Edge, "mac", Consonant, "M AH K"),
    // n
    (Any, "n", Any, "N"), (Any, "ng", Vowel, "NG G"), (Any, "ng", Any, "NG"), (Any, "nk", Any, "NG K"), (Any, "nx", Any, "NG K S"),
    // o
    (Any, "o", Edge, "OW"), (Any, "o", Open, "OW"), (Any, "o", Any, "AA"), (Any, "oa", Any, "OW"), (Any, "oe", Any, "OW"),
    (Any, "oi", Any, "OY"), (Any, "ol", Consonant, "OW L"), (Any, "oo", Any, "UW"), (Any, "ook", Any, "UH K"), (Any, "ood", Any, "UH D"),
    (Any, "oor", Any, "AO R"), (Any, "or", Any, "AO R"), (Any, "orr", Any, "AO R"), (Any, "ore", Edge, "AO R"), (Any, "ou", Any, "AW"),
    (Any, "ough", Any, "AO"), (Any, "our", Any, "AO R"), (Any, "ow", Any, "OW"), (Any, "own", Edge, "AW N"), (Any, "ower", Any, "AW ER"),
    (Any, "oy", Any, "OY"), (Any, "old", Any, "OW L D"),
    // p
    (Any, "p", Any, "P"), (Any, "ph", Any, "F"), (Edge, "ps", Any, "S"), (Edge, "pf", Any, "F"),
    // q
    (Any, "q", Any, "K"), (Any, "qu", Any, "K W"),
    // r
    (Any, "r", Any, "R"), (Any, "rh", Any, "R"),
    // s
    (Vowel, "s", Vowel, "Z"), (Any, "s", Any, "S"), (Any, "sh", Any, "SH"), (Any, "ss", Any, "S"), (Any, "sc", Soft, "S"), (Any, "sz", Any, "SH"),
    // t
    (Any, "t", Any, "T"), (Any, "th", Any, "TH"), (Any, "tz", Any, "T S"), (Any, "tsch", Any, "CH"),
    // u
    (Any, "u", Edge, "UW"), (Any, "u", Open, "UW"), (Any, "u", Any, "AH"), (Any, "ue", Any, "UW"), (Any, "ui", Any, "UW IY"),
    (Any, "ur", Vowel, "UH R"), (Any, "ur", Any, "ER"), (Any, "uy", Any, "AY"), (Any, "ull", Any, "UH L"),
    // v to z
    (Any, "v", Any, "V"), (Any, "w", Edge, ""), (Any, "wh", Any, "W"), (Edge, "wr", Any, "R"), (Any, "w", Any, "W"),
    (Edge, "x", Any, "Z"), (Any, "x", Any, "K S"), (Edge, "y", Vowel, "Y"), (Vowel, "y", Vowel, "Y"), (Any, "y", Open, "AY"), (Any, "y", Any, "IH"),
    (Any, "yn", Any, "IH N"), (Any, "yr", Any, "IH R"), (Any, "z", Any, "Z"), (Any, "zh", Any, "ZH"), (Any, "zz", Any, "T S"),
];

fn letter_name(letter: char) -> &'static str {
    match letter {
        'a' => "EY",
        'b' => "B IY",
        'c' => "S IY",
        'd' => "D IY",
        'e' => "IY",
        'f' => "EH F",
        'g' => "JH IY",
        'h' => "EY CH",
        'i' => "AY",
        'j' => "JH EY",
        'k' => "K EY",
        'l' => "EH L",
        'm' => "EH M",
        'n' => "EH N",
        'o' => "OW",
        'p' => "P IY",
        'q' => "K Y UW",
        'r' => "AA R",
        's' => "EH S",
        't' => "T IY",
        'u' => "Y UW",
        'v' => "V IY",
        'w' => "D AH B AH L Y UW",
        'x' => "EH K S",
        'y' => "W AY",
        _ => "Z IY",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The phones of the en-us model.
    const PHONES: [&str; 39] = [
        "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
        "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
    ];

    #[test]
    fn names_sound_plausible() {
        let names = [
            "Marlow",
            "Kestrel",
            "Okafor",
            "Brightwater",
            "Llanfair",
            "Wexcombe",
            "Dunmore",
            "Ardmore",
            "Brannoc",
            "Pemberton",
            "Treharne",
            "Castellano",
            "Finch",
            "Zhou",
            "Müller",
            "Kowalczyk",
            "Nguyen",
            "McTavish",
            "Harrowgate",
            "Tarnby",
        ];
        let said: Vec<String> = names.iter().map(|name| format!("{name}: {}", pronounce(name).join(", "))).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn words_without_vowels_are_spelt() {
        assert_eq!(pronounce("BBC"), ["B IY B IY S IY"]);
        assert_eq!(pronounce("'"), [""; 0]);
        assert_eq!(pronounce(""), [""; 0]);
        assert_eq!(pronounce("2027"), [""; 0]);
    }

    proptest! {
        #[test]
        fn only_phones_of_the_model_come_out(word in "\\PC{0,50}") {
            for said in pronounce(&word).into_iter().chain(spell(&word)) {
                prop_assert!(!said.is_empty());
                for phone in said.split(' ') {
                    prop_assert!(PHONES.contains(&phone), "{phone:?}");
                }
            }
        }
    }
}
