//! Reads a rundown from its Markdown file, and says in words what is wrong with it.

use std::collections::BTreeMap;

use super::{Rundown, Story};

/// Largest file taken: a day of speech is about a tenth of it, so a larger one is no rundown.
pub const MAX_BYTES: usize = 1 << 20;
/// Most stories taken: a programme of a day and a night has fewer.
pub const MAX_STORIES: usize = 500;
/// Most problems reported: beyond these the file is not meant to be a rundown, and nobody reads on.
pub const MAX_PROBLEMS: usize = 50;
/// Longest slug: it has to fit into a line of a log and a cell of a table.
pub const MAX_SLUG_CHARS: usize = 64;
/// Longest time of one story. What takes more than a day is a slip of the pen.
const MAX_DURATION_SECONDS: u32 = 24 * 60 * 60;
/// The keys a line under a heading may have.
const KEYS: [&str; 3] = ["slug", "source", "duration"];

/// What is wrong with a rundown, where, and how to put it right. Its text can be read aloud.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}. {remedy}")]
pub struct Problem {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do about it, a whole sentence.
    pub remedy: String,
}

/// See [`Rundown::parse`].
pub(super) fn parse(text: &str) -> Result<Rundown, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::default();
    if text.len() > MAX_BYTES {
        let line = 1 + text.as_bytes()[..MAX_BYTES].iter().filter(|&&byte| byte == b'\n').count();
        parser.report(line, "the file is larger than one mebibyte", "Split it into several programmes.");
    } else if text.trim().is_empty() {
        parser.report(1, "the file is empty", "Begin it with a title such as \"# The Evening News\".");
    } else {
        text.lines().enumerate().for_each(|(index, line)| parser.line(index + 1, line.trim()));
        parser.finish();
    }
    if parser.problems.is_empty() { Ok(parser.rundown) } else { Err(parser.problems) }
}

/// What has been read so far. The story being read is the last one.
#[derive(Default)]
struct Parser {
    rundown: Rundown,
    problems: Vec<Problem>,
    /// Where each slug was first used.
    slugs: BTreeMap<String, usize>,
    /// The keys the story has so far.
    keys: Vec<&'static str>,
    place: Place,
    /// The line before was empty.
    after_gap: bool,
    /// Text in front of the first story was reported.
    stray_text: bool,
    /// The file has a title, which may be a wrong one.
    titled: bool,
}

/// Where in the file a line stands.
#[derive(Default, PartialEq)]
enum Place {
    /// In front of the first story.
    #[default]
    Top,
    /// Under a heading, where keys may stand.
    Keys,
    /// In the script.
    Script,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) {
        if let Some(control) = line.chars().find(|&c| c.is_control() && c != '\t') {
            let code = format!("the line has a control character, number {}", control as u32);
            self.report(number, code, "Delete it and type the text anew.");
        }
        let marks = line.chars().take_while(|&c| c == '#').count();
        let text = line[marks..].trim();
        match marks {
            0 if line.is_empty() => {}
            0 => self.text(number, line),
            _ if !text.is_empty() && !line[marks..].starts_with([' ', '\t']) => {
                let remedy = "Put a space behind the number signs of a heading, or begin the line with a word.";
                self.report(number, "a number sign stands at the start of the line without a space behind it", remedy);
            }
            1 => self.title(number, text),
            2 => self.story(number, text),
            _ => {
                let what = format!("the heading has {marks} number signs");
                self.report(number, what, "Use two for a story; a story has no headings of its own.");
            }
        }
        self.after_gap = line.is_empty();
    }

    fn title(&mut self, number: usize, text: &str) {
        if self.titled {
            let what = "this is a second title";
            self.report(number, what, "Use two number signs if it is the heading of a story.");
        } else if text.is_empty() {
            self.report(number, "the title is empty", "Write the programme's name behind the number sign.");
        } else if self.place != Place::Top {
            self.report(number, "the title comes behind a story", "Move it to the top of the file.");
        }
        self.titled = true;
        self.rundown.title = text.into();
    }

    fn story(&mut self, number: usize, heading: &str) {
        self.end_story();
        if heading.is_empty() {
            self.report(number, "the heading is empty", "Write the story's headline behind the number signs.");
        }
        if self.rundown.stories.len() == MAX_STORIES {
            let what = format!("this is story number {}", MAX_STORIES + 1);
            self.report(number, what, format!("A rundown takes {MAX_STORIES}; split it into several programmes."));
        }
        self.rundown.stories.push(Story { heading: heading.into(), line: number, ..Story::default() });
        self.keys.clear();
        self.place = Place::Keys;
    }

    fn text(&mut self, number: usize, line: &str) {
        if self.place == Place::Top {
            if !self.stray_text {
                let remedy = "Put a heading such as \"## Harbour bridge reopens\" above it.";
                self.report(number, "there is text in front of the first story", remedy);
            }
            self.stray_text = true;
            return;
        }
        if self.place == Place::Keys {
            // Behind an empty line only a known key is a key: a script may well begin with "Sport: ...".
            let known_or_direct = |key: &str| KEYS.contains(&key) || !self.after_gap;
            if let Some((key, value)) = key_and_value(line).filter(|(key, _)| known_or_direct(key)) {
                return self.key(number, key, value);
            }
            self.place = Place::Script;
        }
        if let Some(story) = self.rundown.stories.last_mut() {
            if !story.script.is_empty() {
                story.script.push_str(if self.after_gap { "\n\n" } else { " " });
            }
            story.script.push_str(line);
        }
    }

    fn key(&mut self, number: usize, key: &str, value: &str) {
        let Some(&key) = KEYS.iter().find(|&&known| known == key) else {
            return self.report(number, format!("there is no key \"{key}\""), unknown_key_remedy(key));
        };
        if self.keys.contains(&key) {
            return self.report(number, format!("the story has a second \"{key}\""), "Delete one of the two.");
        }
        self.keys.push(key);
        if value.is_empty() {
            return self.report(number, format!("nothing stands behind \"{key}\""), "Fill it in or delete the line.");
        }
        match key {
            "slug" => self.slug(number, value),
            "source" => self.update(|story| story.source = Some(value.into())),
            _ => match duration_seconds(value) {
                Some(seconds) => self.update(|story| story.duration_seconds = Some(seconds)),
                None => {
                    let remedy = "Write minutes and seconds such as \"0:35\", or seconds such as \"35 s\".";
                    self.report(number, format!("\"{value}\" is not a duration"), remedy);
                }
            },
        }
    }

    fn slug(&mut self, number: usize, slug: &str) {
        let made = made_slug(slug);
        if slug != made {
            let remedy = if made.is_empty() {
                "Use lower case letters, digits and hyphens.".into()
            } else {
                format!(
                    "Use lower case letters, digits and single hyphens, at most {MAX_SLUG_CHARS}, such as \"{made}\"."
                )
            };
            return self.report(number, format!("\"{slug}\" cannot be a slug"), remedy);
        }
        self.claim_slug(number, slug);
        self.update(|story| story.slug = slug.into());
    }

    /// What can only be known once the story is complete.
    fn end_story(&mut self) {
        let Some(story) = self.rundown.stories.last() else { return };
        let (line, heading) = (story.line, story.heading.clone());
        if story.script.is_empty() && !heading.is_empty() {
            let what = format!("the story \"{heading}\" has no script");
            self.report(line, what, "Write under its heading what is to be read.");
        }
        if !self.keys.contains(&"slug") && !heading.is_empty() {
            let mut slug = made_slug(&heading);
            if slug.is_empty() {
                slug = format!("story-{}", self.rundown.stories.len());
            }
            self.claim_slug(line, &slug);
            self.update(|story| story.slug = slug);
        }
    }

    fn claim_slug(&mut self, line: usize, slug: &str) {
        if let Some(first) = self.slugs.get(slug) {
            let what = format!("the slug \"{slug}\" is already that of the story in line {first}");
            self.report(line, what, "Give one of the two another line such as \"slug: harbour-bridge-two\".");
        } else {
            let first = self.rundown.stories.last().map_or(line, |story| story.line);
            self.slugs.insert(slug.into(), first);
        }
    }

    fn finish(&mut self) {
        self.end_story();
        if !self.titled {
            self.report(1, "the programme has no title", "Begin the file with one such as \"# The Evening News\".");
        }
        if self.rundown.stories.is_empty() {
            let remedy = "Add a heading such as \"## Harbour bridge reopens\" and a script under it.";
            self.report(1, "there are no stories", remedy);
        }
        self.problems.sort_by_key(|problem| problem.line);
    }

    fn update(&mut self, change: impl FnOnce(&mut Story)) {
        if let Some(story) = self.rundown.stories.last_mut() {
            change(story);
        }
    }

    fn report(&mut self, line: usize, what: impl Into<String>, remedy: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, what: what.into(), remedy: remedy.into() });
        }
    }
}

/// `source: Harbour Office` as a pair. A key is one word.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphabetic() || "-_".contains(c));
    is_word.then(|| (key, value.trim()))
}

fn unknown_key_remedy(key: &str) -> String {
    let distance = |known: &str| strsim::osa_distance(&key.to_lowercase(), known);
    let nearest = KEYS.into_iter().min_by_key(|known| distance(known)).filter(|known| distance(known) <= 2);
    let remedy = nearest.map_or_else(|| format!("The keys are {}.", KEYS.join(", ")), |key| format!("Use \"{key}\"."));
    format!("{remedy} If the line belongs to the script, put an empty line above it.")
}

/// `m:ss`, or whole seconds with an `s`.
fn duration_seconds(text: &str) -> Option<u32> {
    let digits = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let seconds = match text.split_once(':') {
        Some((minutes, seconds)) if seconds.len() == 2 => {
            digits(minutes)?.checked_mul(60)?.checked_add(digits(seconds).filter(|&seconds| seconds < 60)?)?
        }
        Some(_) => return None,
        None => digits(text.strip_suffix('s')?.trim_end())?,
    };
    (1..=MAX_DURATION_SECONDS).contains(&seconds).then_some(seconds)
}

/// The words of `text` as a slug: as many whole words as fit. Empty where there is no letter and no digit.
fn made_slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut slug = String::new();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let chars = slug.chars().count();
        if chars == 0 {
            slug.extend(word.chars().take(MAX_SLUG_CHARS));
        } else if chars + 1 + word.chars().count() <= MAX_SLUG_CHARS {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    slug
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> String {
        let problems = Rundown::parse(text).expect_err("the text has problems");
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn reads_title_keys_and_script() {
        let rundown = Rundown::parse(concat!(
            "\u{feff}# The Evening News\r\n\r\n## Bridge reopens: at last\r\nslug: bridge\r\nsource: Harbour Office\r\n",
            "duration: 1:05\r\n\r\nThe bridge\r\nis open.\r\n\r\nCars may cross.\r\n\r\n",
            "## Zoë's prize\n\nduration: 35 s\n\nSport: she won.\n",
        ));
        let story = |slug: &str, heading: &str, script: &str| Story {
            slug: slug.into(),
            heading: heading.into(),
            script: script.into(),
            ..Story::default()
        };
        assert_eq!(
            rundown,
            Ok(Rundown {
                title: "The Evening News".into(),
                stories: vec![
                    Story {
                        source: Some("Harbour Office".into()),
                        duration_seconds: Some(65),
                        line: 3,
                        ..story("bridge", "Bridge reopens: at last", "The bridge is open.\n\nCars may cross.")
                    },
                    Story {
                        duration_seconds: Some(35),
                        line: 13,
                        ..story("zoë-s-prize", "Zoë's prize", "Sport: she won.")
                    },
                ],
            })
        );
    }

    #[test]
    fn reads_the_sample() {
        let sample = Rundown::parse(include_str!("../../../../rundowns/evening.md")).unwrap();
        assert_eq!(sample.stories.len(), 8);
        assert!(sample.stories.iter().all(|story| story.source.is_some() && story.duration_seconds.is_some()));
    }

    #[test]
    fn finds_a_story_by_its_slug() {
        let rundown = Rundown::parse("# News\n## One\nFirst.\n## Two\nSecond.").unwrap();
        assert_eq!(rundown.story("two").map(|story| story.script.as_str()), Some("Second."));
        assert_eq!(rundown.story("three"), None);
    }

    #[test]
    fn reports_everything_at_once() {
        insta::assert_snapshot!(problems(concat!(
            "Good evening.\nAnd welcome.\n# News\n## Bridge\nsauce: Harbour Office\nWarning: heavy traffic.\nduration: soon\n",
            "slug: The Bridge!\n\nOpen again.\n### Details\n## Weather\nslug: weather\nslug: rain\nsource:\n\n",
            "##Sport\n## \nA match.\n## Weather\n\nSun.\u{7}\n# News again\n## Gale\nslug: weather\n\nWind.\n",
        )), @r###"
        line 1: there is text in front of the first story. Put a heading such as "## Harbour bridge reopens" above it.
        line 5: there is no key "sauce". Use "source". If the line belongs to the script, put an empty line above it.
        line 6: there is no key "Warning". The keys are slug, source, duration. If the line belongs to the script, put an empty line above it.
        line 7: "soon" is not a duration. Write minutes and seconds such as "0:35", or seconds such as "35 s".
        line 8: "The Bridge!" cannot be a slug. Use lower case letters, digits and single hyphens, at most 64, such as "the-bridge".
        line 11: the heading has 3 number signs. Use two for a story; a story has no headings of its own.
        line 12: the story "Weather" has no script. Write under its heading what is to be read.
        line 14: the story has a second "slug". Delete one of the two.
        line 15: nothing stands behind "source". Fill it in or delete the line.
        line 17: a number sign stands at the start of the line without a space behind it. Put a space behind the number signs of a heading, or begin the line with a word.
        line 18: the heading is empty. Write the story's headline behind the number signs.
        line 20: the slug "weather" is already that of the story in line 12. Give one of the two another line such as "slug: harbour-bridge-two".
        line 22: the line has a control character, number 7. Delete it and type the text anew.
        line 23: this is a second title. Use two number signs if it is the heading of a story.
        line 25: the slug "weather" is already that of the story in line 12. Give one of the two another line such as "slug: harbour-bridge-two".
        "###);
    }

    #[test]
    fn reports_a_file_that_is_no_rundown() {
        insta::assert_snapshot!(problems(" \r\n"), @r##"line 1: the file is empty. Begin it with a title such as "# The Evening News"."##);
        insta::assert_snapshot!(problems("# News\n"), @r###"line 1: there are no stories. Add a heading such as "## Harbour bridge reopens" and a script under it."###);
        insta::assert_snapshot!(problems("## Rain\nWet.\n"), @r##"line 1: the programme has no title. Begin the file with one such as "# The Evening News"."##);
        insta::assert_snapshot!(problems("#\n## Rain\nWet.\n"), @"line 1: the title is empty. Write the programme's name behind the number sign.");
        insta::assert_snapshot!(problems("## Rain\nWet.\n# News"), @"line 3: the title comes behind a story. Move it to the top of the file.");
    }

    #[test]
    fn has_limits() {
        let stories = |count| (0..count).map(|n| format!("## Story {n}\nText.\n")).collect::<String>();
        assert_eq!(Rundown::parse(&format!("# News\n{}", stories(MAX_STORIES))).unwrap().stories.len(), MAX_STORIES);
        insta::assert_snapshot!(problems(&format!("# News\n{}", stories(MAX_STORIES + 1))), @"line 1002: this is story number 501. A rundown takes 500; split it into several programmes.");

        let long = format!("# News\n## Rain\n{}", "wet\n".repeat(MAX_BYTES / 4));
        insta::assert_snapshot!(problems(&long), @"line 262143: the file is larger than one mebibyte. Split it into several programmes.");

        let wrong = format!("# News\n{}", "### Wrong\n".repeat(MAX_PROBLEMS * 2));
        assert_eq!(Rundown::parse(&wrong).unwrap_err().len(), MAX_PROBLEMS);
    }

    #[test]
    fn reads_durations() {
        let cases = [("0:35", Some(35)), ("12:05", Some(725)), ("35 s", Some(35)), ("35s", Some(35)), ("24:60", None)];
        let wrong = ["35", "0:5", "0:005", ":35", "0:00", "0 s", "-1 s", "+1:00", "1:+5", "5000:00", "99999999999 s"];
        for (text, seconds) in cases.into_iter().chain(wrong.map(|text| (text, None))) {
            assert_eq!(duration_seconds(text), seconds, "{text}");
        }
    }

    #[test]
    fn makes_slugs() {
        assert_eq!(made_slug("Harbour bridge: 3 days late!"), "harbour-bridge-3-days-late");
        assert_eq!(made_slug("!?"), "");
        assert!(made_slug(&"long ".repeat(50)).chars().count() <= MAX_SLUG_CHARS);
        assert_eq!(Rundown::parse("# News\n## !?\nText.").unwrap().stories[0].slug, "story-1");
    }

    proptest! {
        #[test]
        fn never_panics(text in r"(#{0,3} ?|slug: |source:|duration: |\PC{0,8}|[\n\r\t\x00é:]){0,60}") {
            let _ = Rundown::parse(&text);
        }

        #[test]
        fn what_it_takes_is_well_formed(headings in proptest::collection::vec("[a-zA-Z é!-]{1,80}", 1..6)) {
            let text: String = headings.iter().map(|heading| format!("## {heading}\nText.\n")).collect();
            if let Ok(rundown) = Rundown::parse(&format!("# News\n{text}")) {
                for story in &rundown.stories {
                    prop_assert!(!story.slug.is_empty() && story.slug.chars().count() <= MAX_SLUG_CHARS);
                    prop_assert_eq!(rundown.story(&story.slug), Some(story));
                }
            }
        }
    }
}
