//! Values for a tool's parameters out of what was said.

use serde_json::{Map, Number, Value};

use super::super::language::Language;
use super::super::words::{Word, likeness, words};
use super::Tool;
use super::schema::{Kind, Parameter};

/// A line as it was written, and as its words are compared.
pub(super) struct Spoken<'a> {
    pub(super) tokens: Vec<Token<'a>>,
}

pub(super) struct Token<'a> {
    /// Without the marks around it.
    written: &'a str,
    pub(super) words: Vec<Word>,
    /// A mark stands behind it.
    ends: bool,
}

impl<'a> Spoken<'a> {
    pub(super) fn new(language: &Language, line: &'a str) -> Self {
        let token = |token: &'a str| {
            let written = token.trim_matches(|c: char| !c.is_alphanumeric());
            Token { written, words: words(language, written), ends: token.ends_with([',', '.', ';', ':', '!', '?']) }
        };
        let tokens = line.split_whitespace().map(token);
        Self { tokens: tokens.filter(|token| !token.words.is_empty()).collect() }
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &Word> {
        self.tokens.iter().flat_map(|token| &token.words)
    }
}

impl Token<'_> {
    fn is(&self, matches: impl Fn(&Word) -> bool) -> bool {
        self.words.iter().all(matches)
    }

    fn names(&self, parameter: &Parameter) -> bool {
        self.is(|word| parameter.words.iter().any(|own| own.stem == word.stem))
    }
}

/// What was found.
pub(super) struct Filled {
    pub(super) values: Map<String, Value>,
    /// The tokens that are in the values.
    pub(super) used: Vec<bool>,
}

/// The values that a request names. With `guess`, words that nothing is known of are the last value that lacks.
pub(super) fn from_line(language: &Language, tool: &Tool, spoken: &Spoken, guess: bool) -> Filled {
    let mut filler = Filler::new(language, spoken);
    filler.closed(tool.parameters.iter());
    let texts = || tool.parameters.iter().filter(|parameter| matches!(parameter.kind, Kind::Text));
    for parameter in texts() {
        filler.behind_its_name(parameter);
    }
    let is_own = |word: &Word| tool.named.iter().chain(&tool.described).any(|own| own.stem == word.stem);
    for general in [false, true] {
        for parameter in texts().filter(|parameter| parameter.required) {
            filler.behind_a_preposition(parameter, &is_own, general);
        }
    }
    for parameter in texts().filter(|parameter| guess && parameter.required) {
        filler.what_is_left(parameter, &is_own);
    }
    Filled { values: filler.values, used: filler.used }
}

/// The values that an answer to the question for them names.
pub(super) fn from_answer<'a>(
    language: &Language,
    asked: impl Iterator<Item = &'a Parameter> + Clone,
    spoken: &Spoken,
) -> Filled {
    let mut filler = Filler::new(language, spoken);
    filler.closed(asked.clone());
    let texts = || asked.clone().filter(|parameter| matches!(parameter.kind, Kind::Text));
    for parameter in texts() {
        filler.behind_its_name(parameter);
    }
    if let Some(parameter) = texts().next() {
        filler.whole(parameter);
    }
    Filled { values: filler.values, used: filler.used }
}

/// How many parameters have one of their options named.
pub(super) fn options_said(tool: &Tool, spoken: &Spoken) -> usize {
    let named = |parameter: &&Parameter| match &parameter.kind {
        Kind::Choice(options) => options.iter().any(|(_, words)| find(spoken, &[], words).is_some()),
        _ => false,
    };
    tool.parameters.iter().filter(named).count()
}

struct Filler<'a> {
    language: &'a Language,
    spoken: &'a Spoken<'a>,
    values: Map<String, Value>,
    used: Vec<bool>,
}

impl<'a> Filler<'a> {
    fn new(language: &'a Language, spoken: &'a Spoken<'a>) -> Self {
        Self { language, spoken, values: Map::new(), used: vec![false; spoken.tokens.len()] }
    }

    fn take(&mut self, parameter: &Parameter, value: Value, at: std::ops::Range<usize>) {
        self.values.insert(parameter.name.clone(), value);
        self.used[at].fill(true);
    }

    /// Fills what has few possible values.
    fn closed<'p>(&mut self, parameters: impl Iterator<Item = &'p Parameter> + Clone) {
        let numbers = parameters.clone().filter(|parameter| matches!(parameter.kind, Kind::Number { .. })).count();
        let flags = parameters.clone().filter(|parameter| matches!(parameter.kind, Kind::Flag)).count();
        for parameter in parameters {
            match &parameter.kind {
                Kind::Fixed(value) => self.take(parameter, value.clone(), 0..0),
                Kind::Choice(options) => self.choice(parameter, options),
                Kind::Number { .. } => self.number(parameter, parameter.required || numbers == 1),
                Kind::Flag => self.flag(parameter, parameter.required || flags == 1),
                Kind::Text | Kind::Other => {}
            }
        }
    }

    fn choice(&mut self, parameter: &Parameter, options: &[(Value, Vec<Word>)]) {
        let mut found: Vec<_> =
            options.iter().filter_map(|(value, words)| Some((value, find(self.spoken, &self.used, words)?))).collect();
        // Of equals the one that was said first.
        found.sort_by_key(|(_, at)| (std::cmp::Reverse(at.len()), at.start));
        if let Some((value, at)) = found.first() {
            self.take(parameter, (*value).clone(), at.clone());
        }
    }

    /// The number beside the parameter's name, or the first one where that is `enough`.
    fn number(&mut self, parameter: &Parameter, enough: bool) {
        let Kind::Number { whole, least, most } = parameter.kind else { return };
        let tokens = &self.spoken.tokens;
        let fits = |value: f64| (least..=most).contains(&value) && (!whole || value.fract() == 0.0);
        let free = |at: &std::ops::Range<usize>| !self.used[at.clone()].contains(&true);
        let found: Vec<_> =
            numbers(self.language, tokens).into_iter().filter(|(value, at)| fits(*value) && free(at)).collect();
        let beside = |(_, at): &&(f64, std::ops::Range<usize>)| {
            let around = [at.start.checked_sub(1), at.start.checked_sub(2), Some(at.end)];
            around.into_iter().flatten().filter_map(|near| tokens.get(near)).any(|token| token.names(parameter))
        };
        let best = found.iter().find(beside).or_else(|| found.first().filter(|_| enough)).cloned();
        if let Some((value, at)) = best {
            let value = if value.fract() == 0.0 { Some((value as i64).into()) } else { Number::from_f64(value) };
            self.take(parameter, value.map_or(Value::Null, Value::Number), at);
        }
    }

    /// Yes or no, where the parameter is named or that is `enough`.
    fn flag(&mut self, parameter: &Parameter, enough: bool) {
        let words = &self.language.tools;
        let tokens = &self.spoken.tokens;
        let (no, yes) = (
            tokens.iter().position(|token| token.is(|word| words.no.contains(&word.text))),
            tokens.iter().position(|token| token.is(|word| words.yes.contains(&word.text))),
        );
        let is_meant = enough || tokens.iter().any(|token| token.names(parameter));
        if let (true, Some(at)) = (is_meant, no.or(yes)) {
            self.take(parameter, no.is_none().into(), at..at + 1);
        }
    }

    /// "City Paris", "the title is Dawn".
    fn behind_its_name(&mut self, parameter: &Parameter) {
        let tokens = &self.spoken.tokens;
        let Some(name) = (0..tokens.len()).find(|at| !self.used[*at] && tokens[*at].names(parameter)) else { return };
        if tokens[name].ends {
            return;
        }
        self.used[name] = true;
        self.span(parameter, name + 1, &|_| false, true);
    }

    /// "In Paris". What is too general to be a value ("in the morning") is taken only if `general`.
    fn behind_a_preposition(&mut self, parameter: &Parameter, is_own: &dyn Fn(&Word) -> bool, general: bool) {
        let tokens = &self.spoken.tokens;
        for (at, token) in tokens.iter().enumerate() {
            if self.values.contains_key(&parameter.name) {
                return;
            }
            if !self.used[at] && self.is_preposition(at) && !token.ends {
                self.span(parameter, at + 1, is_own, general);
            }
        }
    }

    /// Takes the words from `start` up to the next preposition or mark, without what carries nothing at its ends.
    fn span(&mut self, parameter: &Parameter, start: usize, is_own: &dyn Fn(&Word) -> bool, general: bool) {
        let tokens = &self.spoken.tokens;
        let mut start = start;
        while start < tokens.len()
            && (tokens[start].is(|word| self.carries_nothing(word)) || self.is_preposition(start))
        {
            start += 1;
        }
        let mut end = start;
        while end < tokens.len() && !self.used[end] && !self.is_preposition(end) {
            end += 1;
            if tokens[end - 1].ends {
                break;
            }
        }
        let is_general = |word: &Word| self.carries_nothing(word) || !self.language.is_content(word);
        while end > start + 1 && tokens[end - 1].is(is_general) {
            end -= 1;
        }
        let only = |matches: &dyn Fn(&Word) -> bool| tokens[start..end].iter().all(|token| token.is(matches));
        if start < end && !only(is_own) && (general || !only(&is_general)) {
            self.take(parameter, self.text(start..end), start..end);
        }
    }

    /// The longest run of words that nothing is known of.
    fn what_is_left(&mut self, parameter: &Parameter, is_own: &dyn Fn(&Word) -> bool) {
        if self.values.contains_key(&parameter.name) {
            return;
        }
        let known = |word: &Word| {
            !self.language.is_content(word) || self.language.tools.verbs.contains(&word.text) || is_own(word)
        };
        let tokens = &self.spoken.tokens;
        let mut best = 0..0;
        let mut start = 0;
        for end in 0..=tokens.len() {
            if end == tokens.len() || self.used[end] || tokens[end].words.iter().any(known) {
                if end - start > best.len() {
                    best = start..end;
                }
                start = end + 1;
            }
        }
        if !best.is_empty() {
            self.take(parameter, self.text(best.clone()), best);
        }
    }

    /// All of an answer, without what leads up to it: "it is called Dawn, please".
    fn whole(&mut self, parameter: &Parameter) {
        if self.values.contains_key(&parameter.name) {
            return;
        }
        let tokens = &self.spoken.tokens;
        let leads = |at: &usize| {
            let token = &tokens[*at];
            !self.used[*at]
                && !self.is_preposition(*at)
                && !token.is(|word| self.language.is_stop(&word.text))
                && !token.names(parameter)
        };
        let Some(start) = (0..tokens.len()).find(leads) else { return };
        let mut end = tokens.len();
        while end > start + 1 && (self.used[end - 1] || tokens[end - 1].is(|word| self.language.is_filler(word))) {
            end -= 1;
        }
        self.take(parameter, self.text(start..end), start..end);
    }

    fn text(&self, at: std::ops::Range<usize>) -> Value {
        let written: Vec<_> = self.spoken.tokens[at].iter().map(|token| token.written).collect();
        written.join(" ").into()
    }

    fn is_preposition(&self, at: usize) -> bool {
        self.spoken.tokens[at].is(|word| self.language.tools.before_values.contains(&word.text))
    }

    /// Articles, forms of "to be", fillers.
    fn carries_nothing(&self, word: &Word) -> bool {
        self.language.is_stop(&word.text) && !self.language.tools.before_values.contains(&word.text)
    }
}

/// Where the words of an option stand, not within what is used.
fn find(spoken: &Spoken, used: &[bool], option: &[Word]) -> Option<std::ops::Range<usize>> {
    let fits = |start: &usize| {
        let heard = spoken.tokens[*start..].iter().flat_map(|token| &token.words);
        let free = !used.get(*start).copied().unwrap_or(false);
        // One word alone must be itself, so that "cold" is not taken for "gold".
        let least = if option.len() == 1 { 1.0 } else { f32::MIN_POSITIVE };
        free && heard.clone().count() >= option.len()
            && heard.zip(option).all(|(heard, wanted)| likeness(heard, wanted) >= least)
    };
    let start = (0..spoken.tokens.len()).find(|start| !option.is_empty() && fits(start))?;
    Some(start..(start + option.len()).min(spoken.tokens.len()))
}

/// The numbers in a line, in digits or in words, and where they stand.
fn numbers(language: &Language, tokens: &[Token<'_>]) -> Vec<(f64, std::ops::Range<usize>)> {
    let word = |at: usize| tokens.get(at).and_then(|token| language.tools.numbers.get(&token.written.to_lowercase()));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        // "1,200" and "21.5" are one token each; "21 degrees" are two.
        let digits = tokens[at].written.trim_end_matches(|c: char| !c.is_ascii_digit()).replace(',', "");
        if let Ok(value) = digits.parse::<f64>() {
            at += 1;
            found.push((value, start..at));
            continue;
        }
        let (mut total, mut part, mut last) = (0.0, 0.0, f64::MAX);
        while let Some(value) = word(at).copied() {
            match value {
                // "Two hundred thousand".
                1000.0.. => {
                    total += value * f64::max(part, 1.0);
                    part = 0.0;
                }
                100.0 => part = 100.0 * f64::max(part, 1.0),
                // "Six seven" are two numbers, "sixty seven" is one.
                value if value >= last || (last < 20.0 && value < 20.0) => break,
                value => part += value,
            }
            last = if value >= 100.0 { f64::MAX } else { value };
            at += 1;
        }
        if at > start {
            found.push((total + part, start..at));
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_understood_in_words_and_in_digits() {
        let language = Language::load("en").unwrap();
        for (line, wanted) in [
            ("set it to twenty one degrees", &[21.0][..]),
            ("21.5 degrees", &[21.5]),
            ("from six to seven", &[6.0, 7.0]),
            ("six seven", &[6.0, 7.0]),
            ("two hundred thousand and 1,200", &[200_000.0, 1200.0]),
            ("three hundred forty five", &[345.0]),
            ("none at all", &[]),
        ] {
            let spoken = Spoken::new(&language, line);
            let found: Vec<_> = numbers(&language, &spoken.tokens).into_iter().map(|(value, _)| value).collect();
            assert_eq!(found, wanted, "{line}");
        }
    }
}
