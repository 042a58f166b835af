//! The rundown: the stories of a programme, in the order they go on air.

use std::sync::Arc;

mod parse;

pub use parse::{MAX_BYTES, MAX_PROBLEMS, MAX_SLUG_CHARS, MAX_STORIES, Problem};

/// The stories of a programme, read from one Markdown file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rundown {
    /// Name of the programme.
    pub title: String,
    /// The stories in running order. Slugs are unique.
    pub stories: Vec<Story>,
}

impl Rundown {
    /// Reads a rundown from Markdown: `# Title`, then for each story `## Heading`, lines such as `source: Harbour
    /// Office`, and the script. Reports everything that is wrong at once, in the order of the lines, at most
    /// [`MAX_PROBLEMS`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        parse::parse(text)
    }

    /// The story of this slug.
    pub fn story(&self, slug: &str) -> Option<&Story> {
        self.stories.iter().find(|story| story.slug == slug)
    }
}

/// One story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Short unique name: lower case letters, digits and hyphens.
    pub slug: String,
    /// The headline as it is read.
    pub heading: String,
    /// The script as it is read, paragraphs separated by an empty line.
    pub script: String,
    /// Who reported it.
    pub source: Option<String>,
    /// Time it takes on air, in seconds.
    pub duration_seconds: Option<u32>,
    /// Line of its heading in the file, counted from 1.
    pub line: usize,
}

/// The rundown that is on air, and what is wrong with a newer edit of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnAir {
    /// The last good rundown.
    pub rundown: Arc<Rundown>,
    /// Counts the good rundowns so far; a change means: read it again.
    pub version: u64,
    /// Why the file as it is now was not taken over.
    pub problem: Option<String>,
}
