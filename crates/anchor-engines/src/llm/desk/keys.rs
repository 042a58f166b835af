//! The keys of a language file: what can be asked for, and what is said around the stories.

use serde::Deserialize;

/// An enum whose variants are keys of the language file, and the list of all of them.
macro_rules! keys {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $key:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($(#[$note])* $key,)+ }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$key,)+];
        }
    };
}

keys! {
    /// What somebody can ask for, apart from stories and facts. Where two phrases fit a line equally well, the command
    /// that stands first is meant.
    Command {
        /// "Number three": a place in the last list.
        Choice,
        /// "The other one".
        Other,
        /// Who reported the story.
        Source,
        Identity,
        Wellbeing,
        Help,
        Time,
        Date,
        Repeat,
        Next,
        Previous,
        /// The whole story from its beginning.
        Whole,
        /// "What else": the stories not yet mentioned.
        Rest,
        /// "Go on".
        More,
        Headlines,
        Stop,
        Yes,
        No,
        Goodbye,
        Thanks,
        Greeting,
    }
}

keys! {
    /// What a question is after. Where two phrases fit a line equally well, the one that stands first is meant.
    Question {
        Who,
        When,
        Where,
        /// "How many".
        Count,
        /// "How long".
        Duration,
        /// "How much", "how tall".
        Amount,
        Why,
        /// Anything else: what, which, how, yes or no.
        Open,
    }
}

keys! {
    /// What the desk says around the stories.
    Reply {
        Greeting,
        /// In front of an answer to a line that greeted.
        Hello,
        Thanks,
        Goodbye,
        Stop,
        NothingHeard,
        Identity,
        IdentityNamed,
        Wellbeing,
        Help,
        Time,
        Date,
        Headlines,
        /// Behind a list that had to be cut.
        HeadlinesMore,
        /// Behind a list.
        WhichOne,
        Rest,
        RestNone,
        NoStories,
        Unknown,
        Ambiguous,
        /// A question came before any story.
        WhichStory,
        /// Behind a part of a story.
        GoOn,
        AllTold,
        OfferNext,
        Next,
        Previous,
        AtEnd,
        AtStart,
        NoSuchPlace,
        RepeatNothing,
        NotSaid,
        /// A tool needs something that was not said.
        ToolAsks,
        ToolDone,
        ToolFailed,
        /// The tool did not say why.
        ToolFailedSilently,
        /// The tool gave an empty list.
        ToolNothing,
        /// The tool has not given anything yet.
        ToolWaits,
        /// Takes the place of the full stop behind what a story says.
        Reported,
        Source,
        SourceNone,
    }
}

impl Reply {
    /// The name that its text has to fill in, if any.
    pub(super) fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::Greeting => Some("title"),
            Self::IdentityNamed => Some("name"),
            Self::Time => Some("time"),
            Self::Date => Some("date"),
            Self::HeadlinesMore | Self::NoSuchPlace => Some("count"),
            Self::Reported | Self::Source => Some("source"),
            Self::ToolAsks => Some("parameter"),
            Self::ToolFailed => Some("reason"),
            _ => None,
        }
    }
}
