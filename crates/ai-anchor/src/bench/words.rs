//! How many words a recogniser got wrong.

/// Words wrong, missing and too many, for each word there was, over pairs of what was said and what was understood.
/// Case and punctuation do not count. `None` where nothing was said.
pub fn word_error_rate<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<f64> {
    let (mut errors, mut total) = (0, 0);
    for (said, understood) in pairs {
        let (said, understood) = (words(said), words(understood));
        errors += distance(&said, &understood);
        total += said.len();
    }
    (total > 0).then(|| errors as f64 / total as f64)
}

fn words(text: &str) -> Vec<String> {
    let plain = |c: char| if c.is_alphanumeric() || c == '\'' { c.to_ascii_lowercase() } else { ' ' };
    text.chars().map(plain).collect::<String>().split_whitespace().map(str::to_owned).collect()
}

/// Levenshtein distance in words.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_wrong_missing_and_surplus_words() {
        assert_eq!(word_error_rate([("What's the weather?", "what's the weather")]), Some(0.0));
        assert_eq!(word_error_rate([("one two three four", "one too three four five")]), Some(0.5));
        assert_eq!(word_error_rate([("one two", ""), ("three four", "three four")]), Some(0.5));
        assert_eq!(word_error_rate([("", "noise")]), None);
    }
}
